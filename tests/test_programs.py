import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from smac_jax.measures import drop, regret

TINY = (
    "--config.network.hidden_dims=(16,16)",
    "--config.batch_size=8",
    "--config.eval.episodes=2",
    "--config.eval.every=100",
    "--config.log_every=50",
    "--config.checkpoint_every=50",
)
PRETRAIN = ("pretrain", "--config=configs/smac.py:pointmaze-small", "--seeds=0,3", "--config.offline.steps=200", *TINY)
FINETUNE = ("finetune", "--config.online.steps=200", "--config.online.warmup_steps=60", *TINY[2:])


def start(minari: Path, program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", f"launch.{program}", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, "MINARI_DATASETS_PATH": str(minari)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(minari: Path, program: str, *arguments: object) -> str:
    process = start(minari, program, *arguments)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def kill_after_checkpoint(process: subprocess.Popen[str], checkpoint: Path) -> None:
    deadline = time.monotonic() + 240
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "wall_time"} for row in csv.DictReader(file)]


def checkpoint_bytes(workdir: Path, step: int) -> dict[str, object]:
    """All arrays of a checkpoint, compared through a fresh read by orbax."""
    import orbax.checkpoint as ocp

    directory = workdir / "checkpoints" / str(step)
    items = [path.name for path in directory.iterdir() if path.is_dir() and path.name != "counters"]
    content: dict[str, object] = {}
    for item in items:
        tree = ocp.PyTreeCheckpointer().restore(directory.absolute() / item)
        import jax

        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            content[item + jax.tree_util.keystr(path)] = bytes(memoryview(leaf).cast("B")) if leaf.size else b""
    return content


@pytest.fixture(scope="module")
def pretrained(tiny_pointmaze, tmp_path_factory):
    dataset, minari = tiny_pointmaze
    workdir = tmp_path_factory.mktemp("runs") / "pretrain"
    output = run(minari, *PRETRAIN, f"--dataset={dataset}", f"--workdir={workdir}")
    return minari, workdir, output


@pytest.fixture(scope="module")
def finetuned(pretrained):
    minari, checkpoint, _ = pretrained
    workdir = checkpoint.parent / "finetune"
    output = run(minari, *FINETUNE, f"--checkpoint={checkpoint}", "--algorithm=sac", f"--workdir={workdir}")
    return minari, workdir, output


def test_make_dataset_writes_below_a_relative_path(tmp_path):
    relative = Path(os.path.relpath(tmp_path, REPOSITORY))
    output = run(relative, "make_dataset", "--recipe=pointmaze", "--output=pointmaze/new-v0", "--steps=1")
    assert "episodes:    1 (" in output
    assert (tmp_path / "pointmaze" / "new-v0" / "data" / "main_data.hdf5").exists()


def test_make_dataset_describes_datasets_as_text_and_as_a_page(tiny_pointmaze, tmp_path):
    dataset, minari = tiny_pointmaze
    before = sorted(minari.rglob("*"))
    output = run(minari, "make_dataset", "--describe=pointmaze/*", f"--page={tmp_path / 'tasks.md'}")
    facts = dict(re.findall(r"^([a-z]+): +(.*)$", output, re.MULTILINE))
    assert facts["dataset"] == dataset
    assert facts["task"] == "pointmaze"
    assert facts["episodes"].startswith("6 (")
    assert facts["problem"] == "none found"
    page = (tmp_path / "tasks.md").read_text()
    assert f"| `{dataset}` | 6 |" in page
    assert "--describe='pointmaze/*'" in page
    assert sorted(minari.rglob("*")) == before


def test_make_dataset_rolls_out_a_checkpoint(pretrained, tmp_path):
    _, workdir, _ = pretrained
    output = run(
        *(tmp_path, "make_dataset", "--recipe=rollout", "--output=pointmaze/rolled-v0"),
        *(f"--checkpoint={workdir}", "--episodes=2", "--seed=3"),
    )
    facts = dict(re.findall(r"^([a-z]+): +(.*)$", output, re.MULTILINE))
    assert facts["episodes"].startswith("2 (")
    assert facts["source"] == "smac, 2 seed(s), offline step 200"
    assert facts["problem"] == "none found"
    assert (tmp_path / "pointmaze" / "rolled-v0" / "data" / "main_data.hdf5").exists()


def test_pretrain_writes_the_files_of_the_contract(pretrained):
    _, workdir, output = pretrained
    metrics = rows(workdir / "metrics.csv")
    assert [(row["phase"], row["step"], row["seed"]) for row in metrics] == [
        ("offline", step, seed) for step in ("0", "100", "200") for seed in ("0", "3")
    ]
    assert all(row["episodes"] == "2" for row in metrics)
    train = rows(workdir / "train.csv")
    assert [row["step"] for row in train] == ["50", "50", "100", "100", "150", "150", "200", "200"]
    assert {"td_loss", "score_penalty", "score_explained", "denoiser_loss", "kappa", "temperature"} <= set(train[0])
    config = json.loads((workdir / "config.json").read_text())
    assert config["run"]["config"]["terms"]["score_penalty"]["weight"] > 0
    assert len(config["run"]["dataset_sha256"]) == 64
    assert {"jax", "flax", "optax", "gymnasium", "minari"} <= set(config["versions"])
    assert {"git_commit", "device", "command_line"} <= set(config)
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["offline_score"] == [float(row["score"]) for row in metrics[-2:]]
    assert summary["updates_per_second"] > 0
    assert any((workdir / "tb").rglob("events*"))
    assert "updates/s" in output


def test_nothing_in_a_run_is_a_pickle(finetuned):
    _, workdir, _ = finetuned
    files = [path for path in workdir.parent.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if path.suffix in (".pkl", ".pickle") or path.read_bytes()[:2] == b"\x80\x04"]


def test_finetune_starts_at_step_0_with_the_pretrained_policy_and_measures_itself(finetuned):
    _, workdir, _ = finetuned
    metrics = [row for row in rows(workdir / "metrics.csv") if row["seed"] == "0"]
    assert [(row["phase"], row["step"]) for row in metrics] == [("online", step) for step in ("0", "100", "200")]
    summary = json.loads((workdir / "summary.json").read_text())
    scores = [float(row["score"]) for row in metrics]
    assert summary["online_algorithm"] == "sac"
    assert summary["offline_score"][0] == scores[0]
    assert summary["drop"][0] == drop(scores)
    assert summary["regret"][0] == regret(scores)
    assert summary["min_score"][0] == min(scores)
    assert len(summary["drop_noise"]) == len(summary["train_regret"]) == 2
    steps = {row["step"] for row in rows(workdir / "train.csv")}
    assert steps == {"100", "150", "200"}, "no updates during the warm-up"


def test_a_finished_run_is_left_alone(pretrained, tiny_pointmaze):
    minari, workdir, _ = pretrained
    before = {path: path.stat().st_mtime_ns for path in workdir.iterdir()}
    output = run(minari, *PRETRAIN, f"--dataset={tiny_pointmaze[0]}", f"--workdir={workdir}")
    assert "complete" in output
    assert {path: path.stat().st_mtime_ns for path in workdir.iterdir()} == before


def test_killed_pretrain_resumes_bit_identically(pretrained, tiny_pointmaze, tmp_path):
    minari, undisturbed, _ = pretrained
    command = (*PRETRAIN, f"--dataset={tiny_pointmaze[0]}", f"--workdir={tmp_path / 'run'}")
    kill_after_checkpoint(start(minari, *command), tmp_path / "run" / "checkpoints" / "50")
    assert not (tmp_path / "run" / "summary.json").exists()
    # As a version wrote it that had no such field.
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    del record["run"]["config"]["optimizer"]["advantage"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    run(minari, *command)
    for name in ("metrics.csv", "episodes.csv", "train.csv"):
        assert rows(tmp_path / "run" / name) == rows(undisturbed / name)
    assert checkpoint_bytes(tmp_path / "run", 200) == checkpoint_bytes(undisturbed, 200)


def test_killed_finetune_resumes_bit_identically(finetuned, pretrained, tmp_path):
    minari, undisturbed, _ = finetuned
    command = (*FINETUNE, f"--checkpoint={pretrained[1]}", "--algorithm=sac", f"--workdir={tmp_path / 'run'}")
    kill_after_checkpoint(start(minari, *command), tmp_path / "run" / "checkpoints" / "100")
    assert not (tmp_path / "run" / "summary.json").exists()
    run(minari, *command)
    for name in ("metrics.csv", "episodes.csv", "train.csv", "train_episodes.csv"):
        assert rows(tmp_path / "run" / name) == rows(undisturbed / name)
    assert checkpoint_bytes(tmp_path / "run", 200) == checkpoint_bytes(undisturbed, 200)


def test_evaluate_reproduces_the_recorded_evaluation(finetuned):
    minari, workdir, _ = finetuned
    output = run(minari, "evaluate", f"--checkpoint={workdir}", "--episodes=2")
    recorded = [row for row in rows(workdir / "metrics.csv") if row["step"] == "200"]
    assert rows(workdir / "evaluation.csv") == recorded
    assert f"score {float(recorded[0]['score']):.3f}" in output


def test_landscape_begins_at_the_offline_policy_and_goes_on_where_it_stopped(finetuned, tmp_path):
    minari, online, _ = finetuned
    offline, workdir = online.parent / "pretrain", tmp_path / "landscape"
    command = ("landscape", f"--offline={offline}", f"--online={online}", f"--workdir={workdir}", "--points=3")
    output = run(minari, *command)
    found = rows(workdir / "landscape.csv")
    assert [(row["share"], row["seed"]) for row in found] == [
        (share, seed) for share in ("0.0", "0.5", "1.0") for seed in ("0", "3")
    ]
    # The offline end is the pre-training's own last evaluation: the same policy on the same episodes.
    recorded = [row for row in rows(offline / "metrics.csv") if row["step"] == "200"]
    for row, record in zip(found, recorded, strict=False):
        assert {name: row[name] for name in ("score", "return", "length")} == {
            name: record[name] for name in ("score", "return", "length")
        }
    summary = json.loads((workdir / "summary.json").read_text())
    assert summary["offline_score"] == [float(row["score"]) for row in found[:2]]
    assert f"wrote {workdir / 'landscape.csv'}" in output
    assert (workdir / "landscape.png").read_bytes().startswith(b"\x89PNG")

    lines = (workdir / "landscape.csv").read_text().splitlines(keepends=True)
    (workdir / "landscape.csv").write_text("".join(lines[:4]) + lines[4][:5])
    run(minari, *command)
    assert rows(workdir / "landscape.csv") == found


def test_report_is_one_self_contained_page(finetuned):
    minari, workdir, _ = finetuned
    output = run(minari, "report", f"--workdir={workdir.parent}")
    page = (workdir.parent / "report.html").read_text()
    assert "smac → sac" in page
    assert "data:image/png;base64," in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert 'name="viewport"' in page
    assert (workdir.parent / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    table = (workdir.parent / "report.md").read_text().splitlines()
    assert len({line.count("|") for line in table}) == 1
    summary = json.loads((workdir / "summary.json").read_text())
    assert any("smac → sac" in line and f"{summary['regret'][0]:.3f}" in line for line in table)
    assert f"offline score {sum(summary['offline_score']) / 2:.3f}" in output


def test_rlpd_needs_no_checkpoint(tiny_pointmaze, tmp_path):
    dataset, minari = tiny_pointmaze
    steps = ("--config.online.steps=60", "--config.online.warmup_steps=40", "--config.eval.every=20", *TINY[:3])
    command = ("finetune", "--algorithm=rlpd", "--config=configs/rlpd.py:pointmaze-small", f"--dataset={dataset}")
    early = ("--config.eval.early_every=10", "--config.eval.early_steps=25")
    run(minari, *command, *steps, *early, "--config.log_every=20", "--seeds=5", f"--workdir={tmp_path}")
    assert [row["step"] for row in rows(tmp_path / "metrics.csv")] == ["0", "10", "20", "40", "60"]
    run_record = json.loads((tmp_path / "config.json").read_text())["run"]
    assert run_record["config"]["network"]["critics"] == 10
    assert run_record["checkpoint_step"] is None
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["online_algorithm"], summary["seeds"]) == ("rlpd", [5])
    assert not (tmp_path / "offline_metrics.csv").exists()


def test_calql_goes_on_online_with_its_own_terms(tiny_pointmaze, tmp_path):
    dataset, minari = tiny_pointmaze
    pretrain, finetune = tmp_path / "pretrain", tmp_path / "finetune"
    offline = ("--config.offline.steps=20", "--config.eval.every=20", "--config.log_every=20", *TINY[:3])
    run(minari, "pretrain", "--config=configs/calql.py:pointmaze-small", f"--dataset={dataset}", *offline,
        f"--workdir={pretrain}")  # fmt: skip
    online = ("--config.online.steps=80", "--config.online.warmup_steps=60", "--config.eval.every=40")
    run(minari, "finetune", f"--checkpoint={pretrain}", "--algorithm=calql", *online, "--config.log_every=20",
        f"--workdir={finetune}")  # fmt: skip
    assert {"cql_gap", "calibrated_share"} <= set(rows(finetune / "train.csv")[0])
    assert json.loads((finetune / "summary.json").read_text())["algorithm"] == "calql"


def test_a_dataset_that_no_batch_draws_from_need_not_be_there(pretrained, finetuned, tmp_path):
    (tmp_path / "none").mkdir()
    steps = ("--config.online.steps=80", "--config.online.warmup_steps=40", "--config.eval.every=40")
    run(tmp_path / "none", *FINETUNE, *steps, f"--checkpoint={pretrained[1]}", "--config.online.offline_fraction=0",
        f"--workdir={tmp_path / 'online'}")  # fmt: skip
    begin, beside = (rows(workdir / "metrics.csv")[:2] for workdir in (tmp_path / "online", finetuned[1]))
    assert begin == beside, "what is handed over is the same with and without the dataset"
    assert float(rows(tmp_path / "online" / "train.csv")[-1]["td_loss"]) > 0.0


@pytest.mark.parametrize("algorithm", ["td3", "td3bc"])
def test_the_same_checkpoint_goes_to_td3_and_td3bc(pretrained, tmp_path, algorithm):
    minari, checkpoint, _ = pretrained
    steps = ("--config.online.steps=80", "--config.online.warmup_steps=40", "--config.eval.every=40")
    where = (f"--checkpoint={checkpoint}", f"--algorithm={algorithm}", f"--workdir={tmp_path}")
    run(minari, *FINETUNE, *steps, *where)
    train = rows(tmp_path / "train.csv")
    assert {"td3_actor_loss", "td_loss"} <= set(train[0])
    assert ("bc_loss" in train[0]) == (algorithm == "td3bc")
    assert json.loads((tmp_path / "summary.json").read_text())["online_algorithm"] == algorithm
    before, after = checkpoint_bytes(checkpoint, 200), checkpoint_bytes(tmp_path, 80)
    moved = {
        network: any(before[name] != after[name] for name in before if name.startswith(f"agent['{network}']['params']"))
        for network in ("actor", "critic")
    }
    assert moved == {"actor": True, "critic": True}
