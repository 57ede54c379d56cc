"""Fixtures that several test files share, and settings that must stand before JAX is imported."""

import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

# Tests compile many small programs and run each briefly; the programs they start inherit these settings.
_compilation_cache = tempfile.TemporaryDirectory(prefix="smac_jax-tests-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = _compilation_cache.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
# Level 0 would be faster still, but jaxlib 0.10.2's has been seen to give NaN for gradients that are finite at level 1.
_quick = "--xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
# A third of the compilation; named where it is known, as XLA ends at a flag that it does not know.
if version("jaxlib").startswith("0.10."):
    _quick = f"{_quick} --xla_cpu_use_fusion_emitters=false"
# The user's own are left out: they decide whether seeds are divided between cores.
os.environ["XLA_FLAGS"] = _quick

import pytest  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
_TINY_POINTMAZE = "pointmaze/tiny-v0"


@pytest.fixture(scope="session")
def tiny_pointmaze(tmp_path_factory):
    """Id of a small recorded PointMaze dataset, and the MINARI_DATASETS_PATH that holds it."""
    from smac_jax.data.recipes.pointmaze import record_pointmaze

    path = tmp_path_factory.mktemp("minari")
    # Set while recording only: a test that forgets to set it must not pass in some orders alone.
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        patch.setenv("MINARI_DATASETS_PATH", str(path))
        record_pointmaze(_TINY_POINTMAZE, episodes=6, seed=0)
    return _TINY_POINTMAZE, path


@pytest.fixture
def shared_minari(monkeypatch):
    """Folder of the shared datasets, which MINARI_DATASETS_PATH names during the test."""
    path = Path(os.environ.get("SMAC_JAX_SHARED_MINARI", REPOSITORY.parent / "shared" / "minari"))
    if not path.exists():
        pytest.skip(f"the shared datasets are absent: {path}")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(path))
    return path


@pytest.fixture
def minari_path(tmp_path, monkeypatch):
    """Empty folder that MINARI_DATASETS_PATH names during the test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path
