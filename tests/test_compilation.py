import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jax
import pytest
from conftest import REPOSITORY

from launch import program

# By the name of the compiled function: training, acting, evaluating, inserting, copying what is recorded.
OFFLINE_CALLS = ("run", "act_seeds", "_copy")
ONLINE_CALLS = (*OFFLINE_CALLS, "explore", "insert")
TINY = (
    *("--config.batch_size=4", "--config.eval.episodes=1"),
    *("--config.eval.every=20", "--config.log_every=10", "--config.checkpoint_every=10"),
)


@pytest.fixture
def no_cache_folder(monkeypatch):
    """JAX as it is before it is told of a folder."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_compiled_programs_are_kept_in_the_users_cache(no_cache_folder, monkeypatch, tmp_path, variable):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    program.use_compilation_cache()
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert folder == tmp_path / (".cache" if variable == "HOME" else "") / "smac_jax" / "compiled"
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_jax_was_told_of_is_kept(no_cache_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    program.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None, "JAX has read the variable itself when it was imported"
    assert not list(tmp_path.iterdir())


def test_without_a_cache_folder_programs_compile(no_cache_folder, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    program.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    program.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    program.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


def run(minari, name, *arguments):
    """Output of a program that reports what it compiles."""
    result = subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *arguments, *TINY],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "MINARI_DATASETS_PATH": str(minari),
            "JAX_LOG_COMPILES": "1",
            "JAX_ENABLE_COMPILATION_CACHE": "false",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def compilations(output):
    return Counter(re.findall(r"Compiling jit\((\w+)\)", output))


@pytest.mark.alone
def test_each_call_of_a_run_compiles_once(tiny_pointmaze, tmp_path):
    dataset, minari = tiny_pointmaze
    pretrain, finetune = tmp_path / "pretrain", tmp_path / "finetune"
    output = run(
        *(minari, "pretrain", "--config=configs/smac.py:pointmaze-small", f"--dataset={dataset}", "--seeds=0,1"),
        *(f"--workdir={pretrain}", "--config.offline.steps=40", "--config.network.hidden_dims=(8,8)"),
    )
    assert {name: compilations(output)[name] for name in OFFLINE_CALLS} == dict.fromkeys(OFFLINE_CALLS, 1)
    output = run(
        *(minari, "finetune", f"--checkpoint={pretrain}", "--algorithm=sac", f"--workdir={finetune}"),
        *("--config.online.steps=40", "--config.online.warmup_steps=15"),
    )
    assert {name: compilations(output)[name] for name in ONLINE_CALLS} == dict.fromkeys(ONLINE_CALLS, 1)
    # Widths aside, these are the quickstart's programs; without a cache they are to compile in 20 s.
    summaries = [json.loads((workdir / "summary.json").read_text()) for workdir in (pretrain, finetune)]
    assert 0 < sum(summary["compile_seconds"] for summary in summaries) <= 20
