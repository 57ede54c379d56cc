import csv
import fcntl
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from configs import finetune, suites
from configs.suites import cpu, other_data, paper, recipe, smoke
from launch.cells import DONE, FAILED, SKIPPED, blocked, make_cells, recorded_runs
from smac_jax.errors import InputError
from smac_jax.io.workdir import git_commit

COLUMNS = (
    "task,dataset,offline_algorithm,online_algorithm,seed,offline_score,drop,drop_noise,final_score,regret,train_regret,"
    "status,wall_time"
)
SUITE = """
from ml_collections import ConfigDict
from configs import suites

def get_config():
    suite = suites.empty()
    suite.seeds, suite.offline, suite.online = (0, 3), ("smac",), ("sac", "td3")
    suite.pairs = (("smac", "sac"), ("smac", "td3"))
    records = {"eval": {"episodes": 2, "every": 50}, "log_every": 50, "checkpoint_every": 50}
    suite.pretrain = ConfigDict({"network": {"hidden_dims": (16, 16)}, "batch_size": 8, "offline": {"steps": 100}})
    suite.finetune = ConfigDict({"online": {"steps": 100, "warmup_steps": 40}})
    suite.pretrain.update(records)
    suite.finetune.update(records)
"""
MAZE = """
    suite.tasks.maze = suites.task("pointmaze-small", "pointmaze/tiny-v0")
    return suite
"""
LATE = """
    recipe = {"recipe": "pointmaze", "episodes": 0}
    suite.tasks.late = suites.task("pointmaze-small", "pointmaze/late-v0", recipe)
"""


def small_suite():
    suite = suites.empty()
    suite.offline, suite.online, suite.scratch = ("smac", "bc"), ("sac",), ("rlpd",)
    suite.pairs = (("smac", "sac"), ("smac", "td3"), ("iql", "sac"))
    suite.pretrain.update({"offline": {"steps": 5}, "batch_size": 8})
    suite.tasks.b = suites.task("kitchen-small", "kitchen/b-v0", {"recipe": "r"}, pretrain={"offline": {"steps": 7}})
    suite.tasks.a = suites.task("pointmaze", "pointmaze/a-v0", finetune={"online": {"steps": 9}})
    return suite


@pytest.fixture
def cells(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return {cell.name: cell for cell in make_cells(small_suite(), tmp_path)}


def test_cells_come_in_the_order_of_the_suite_each_after_those_it_needs(cells):
    assert list(cells) == [
        *("datasets/kitchen/b-v0", "b/smac/pretrain", "b/smac/sac", "b/bc/pretrain", "b/scratch/rlpd"),
        *("datasets/pointmaze/a-v0", "a/smac/pretrain", "a/smac/sac", "a/bc/pretrain", "a/scratch/rlpd"),
    ]
    for position, cell in enumerate(cells.values()):
        assert set(cell.needs) <= set(list(cells)[:position])
    assert cells["a/smac/sac"].needs == ("datasets/pointmaze/a-v0", "a/smac/pretrain")
    assert cells["a/scratch/rlpd"].needs == ("datasets/pointmaze/a-v0",)


def test_commands_name_what_the_suite_names(cells, tmp_path):
    commands = {name: " ".join(cell.command) for name, cell in cells.items()}
    assert commands["datasets/kitchen/b-v0"] == "-m launch.make_dataset --recipe=r --output=kitchen/b-v0"
    assert commands["datasets/pointmaze/a-v0"] == "-m launch.make_dataset --describe=pointmaze/a-v0"
    assert commands["b/smac/pretrain"] == (
        "-m launch.pretrain --config=configs/smac.py:kitchen-small --dataset=kitchen/b-v0 --seeds=0 "
        f"--config.batch_size=8 --config.offline.steps=7 --workdir={tmp_path}/b/smac/pretrain"
    )
    assert commands["a/smac/sac"] == (
        f"-m launch.finetune --algorithm=sac --config.online.steps=9 --workdir={tmp_path}/a/smac/sac "
        f"--checkpoint={tmp_path}/a/smac/pretrain"
    )
    assert commands["b/scratch/rlpd"] == (
        "-m launch.finetune --algorithm=rlpd --config=configs/rlpd.py:kitchen-small --dataset=kitchen/b-v0 --seeds=0 "
        f"--workdir={tmp_path}/b/scratch/rlpd"
    )


def test_two_tasks_share_a_dataset(tmp_path):
    suite = small_suite()
    suite.tasks.a.dataset = "kitchen/b-v0"
    assert [cell.name for cell in make_cells(suite, tmp_path) if not cell.seeds] == ["datasets/kitchen/b-v0"]


def test_a_cell_is_skipped_if_one_it_needs_failed(cells):
    cell = cells["a/smac/sac"]
    assert blocked(cell, {}) is None
    assert blocked(cell, {"a/smac/pretrain": DONE}) is None
    assert blocked(cell, {"a/smac/pretrain": f"{FAILED}why"}) == f"{SKIPPED}a/smac/pretrain failed"
    assert blocked(cell, {"a/smac/pretrain": f"{SKIPPED}d failed"}) == f"{SKIPPED}d failed"


def test_a_suite_may_grow_but_what_has_begun_must_stay(cells, tmp_path):
    record, some = tmp_path / "suite.json", list(cells.values())[:4]
    record.write_text(json.dumps({"runs": recorded_runs(record, some)}))
    begun = tmp_path / "b" / "smac" / "pretrain"
    begun.mkdir(parents=True)
    (begun / "config.json").touch()
    assert recorded_runs(record, list(cells.values())).keys() == {name for name, cell in cells.items() if cell.seeds}
    assert list(recorded_runs(record, [])) == ["b/smac/pretrain"], "what is left out for now is remembered"
    changed = small_suite()
    changed.tasks.a.pretrain.update({"offline": {"steps": 6}})
    recorded_runs(record, make_cells(changed, tmp_path))
    changed.tasks.b.pretrain.offline.steps = 6
    with pytest.raises(InputError, match=r"b/smac/pretrain was begun with --config.offline.steps=7, not .*steps=6; "):
        recorded_runs(record, make_cells(changed, tmp_path))


@pytest.mark.parametrize("record", ["{}", '{"runs": [1]}', '{"runs": {"b/smac/pretrain": 3}}'])
def test_a_record_that_no_benchmark_wrote_is_refused(cells, tmp_path, record):
    (tmp_path / "suite.json").write_text(record)
    with pytest.raises(InputError, match=r"suite\.json was not written by a benchmark; choose another --workdir"):
        recorded_runs(tmp_path / "suite.json", list(cells.values()))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("seeds", (0, 0), "different non-negative integers"),
        ("pairs", ("smac", "sac"), "must look like"),
        ("online", ("sac", "tdd3"), "'tdd3'"),
        ("only", ("c",), "no task 'c'; use some of b, a"),
        ("offline", ("nope",), "unknown method 'nope' in the suite's offline; use some of bc, calql, cql, iql, smac, "),
        ("offline", ("rlpd",), "unknown method 'rlpd' in the suite's offline"),
        ("offline", ("common",), "unknown method 'common' in the suite's offline"),
        ("scratch", ("smac",), "unknown method 'smac' in the suite's scratch; use some of rlpd"),
        (
            "pretrain",
            {"batchsize": 8},
            "the suite's pretrain sets batchsize, which configs/smac.py:kitchen-small has not",
        ),
        ("pretrain", {"batch_size": "many"}, "the suite's pretrain does not fit configs/smac.py:kitchen-small: "),
        ("pretrain", {"offline": 8}, "the suite's pretrain sets offline, which"),
        (
            "finetune",
            {"online": {"step": 8}},
            "the suite's finetune sets online.step, which smac followed by sac has not",
        ),
        (
            "finetune",
            {"network": {"critics": 3}},
            "the suite's finetune sets network.critics, which smac followed by sac takes from its checkpoint",
        ),
        ("tasks.a", suites.task("pointmaze", "a/b-v0", pretrain={"kapa": 1}), "pretrain sets kapa, which"),
        ("tasks.a", suites.task("maze", "a/b-v0"), "unknown task 'maze'"),
        ("tasks.a.dataset", None, "task 'a' of the suite lacks fields"),
    ],
)
def test_a_suite_that_cannot_work_is_refused(tmp_path, field, value, message):
    suite = small_suite()
    if value is None:
        del suite.tasks.a.dataset
    else:
        suite.update_from_flattened_dict({field: value})
    with pytest.raises(InputError, match=message):
        make_cells(suite, tmp_path)


@pytest.mark.parametrize("suite", [smoke, cpu, paper, recipe, other_data])
def test_suites_name_methods_that_exist(suite, tmp_path):
    config = suite.get_config()
    assert make_cells(config, tmp_path)
    for method in (*config.offline, *config.scratch):
        assert (REPOSITORY / "configs" / f"{method}.py").exists()
    assert set(config.online) <= set(finetune.ALGORITHMS)


# Each program is run several times, and compiling takes most of its time.
CACHE_EVERYTHING = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def start(suite: Path, workdir: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "launch.benchmark", f"--suite={suite}", f"--workdir={workdir}", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **CACHE_EVERYTHING, "MINARI_DATASETS_PATH": str(suite.parent / "minari")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def execute(suite: Path, workdir: Path, *arguments: str, code: int = 0) -> str:
    process = start(suite, workdir, *arguments)
    try:
        output = process.communicate(timeout=300)[0]
    finally:
        process.kill()
    logs = "".join(path.read_text() for path in workdir.rglob("*.log")) if process.returncode != code else ""
    assert process.returncode == code, output + logs
    assert "Traceback" not in output
    return output


def results(workdir: Path) -> list[dict[str, str]]:
    with (workdir / "results.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name != "wall_time"} for row in csv.DictReader(file)]


def running_below(workdir: Path) -> list[str]:
    """Command lines of processes that work in a directory."""
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(path.read_bytes().decode().replace("\0", " "))
        except OSError:
            continue
    return [command for command in commands if str(workdir) in command]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(tiny_pointmaze, tmp_path_factory):
    """The suite, a directory where all of it was run, and how long that took."""
    folder = tmp_path_factory.mktemp("benchmark")
    shutil.copytree(tiny_pointmaze[1], folder / "minari")
    suite = folder / "tiny.py"
    suite.write_text(SUITE + MAZE)
    begun = time.monotonic()
    output = execute(suite, folder / "run", "--jobs=2")
    assert "python -m launch.report" in output
    return suite, folder / "run", time.monotonic() - begun


def test_results_have_a_row_for_each_run_and_seed(undisturbed):
    _, workdir, _ = undisturbed
    assert (workdir / "results.csv").read_text().splitlines()[0] == COLUMNS
    rows = results(workdir)
    assert [(row["offline_algorithm"], row["online_algorithm"], row["seed"]) for row in rows] == [
        ("smac", online, seed) for online in ("", "sac", "td3") for seed in ("0", "3")
    ]
    assert {(row["task"], row["dataset"], row["status"]) for row in rows} == {("pointmaze", "pointmaze/tiny-v0", DONE)}
    assert rows[0]["drop"] == rows[0]["regret"] == ""
    summary = json.loads((workdir / "maze" / "smac" / "td3" / "summary.json").read_text())
    for name in ("offline_score", "drop", "drop_noise", "final_score", "regret"):
        assert float(rows[-1][name]) == pytest.approx(summary[name][1], abs=1e-6)


def test_finished_runs_are_left_alone_and_tabulated_again(undisturbed):
    suite, workdir, _ = undisturbed
    before = (workdir / "results.csv").read_bytes()
    summaries = {path: path.stat().st_mtime_ns for path in workdir.rglob("summary.json")}
    (workdir / "results.csv").unlink()
    execute(suite, workdir)
    assert (workdir / "results.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in workdir.rglob("summary.json")} == summaries
    assert execute(suite, workdir, "--dry_run").count("done ") == 4
    record = json.loads((workdir / "suite.json").read_text())
    assert {"jax", "smac-jax"} <= record["versions"].keys()
    assert record["git_commit"] == git_commit()
    assert "resumed" not in record


def test_results_of_a_part_keep_those_of_the_rest(undisturbed):
    suite, workdir, _ = undisturbed
    before = results(workdir)
    execute(suite, workdir, "--suite.online=('td3',)")
    assert sorted(results(workdir), key=str) == sorted(before, key=str)
    execute(suite, workdir)
    assert results(workdir) == before, "in the suite's order again"


def test_results_of_the_rest_are_those_of_the_runs_that_are_there(undisturbed):
    suite, reference, _ = undisturbed
    workdir = suite.parent / "twins"
    shutil.copytree(reference, workdir)
    shutil.copytree(workdir / "maze", workdir / "twin")
    record = json.loads((workdir / "suite.json").read_text())
    record["runs"] |= {name.replace("maze", "twin"): arguments for name, arguments in record["runs"].items()}
    (workdir / "suite.json").write_text(json.dumps(record))
    one = results(reference)
    execute(suite, workdir)
    assert results(workdir) == one + one, "another task on the same dataset"
    shutil.rmtree(workdir / "twin" / "smac" / "td3")
    execute(suite, workdir)
    assert results(workdir) == one + one[:4], "a deleted run has no results"


def test_what_failed_as_another_task_on_the_same_dataset_stays(undisturbed):
    suite, reference, _ = undisturbed
    workdir = suite.parent / "families"
    shutil.copytree(reference, workdir)
    failed = results(workdir)[0] | {"task": "generic", "offline_score": "", "status": f"{FAILED}why"}
    with (workdir / "results.csv").open("a", newline="") as file:
        csv.DictWriter(file, COLUMNS.split(","), lineterminator="\n").writerow(failed)
    before = results(workdir)
    execute(suite, workdir)
    assert [row["status"] for row in results(workdir) if row["task"] == "generic"] == [failed["status"]]
    assert len(results(workdir)) == len(before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed benchmark's runs end by themselves")
def test_killed_twice_it_ends_with_the_same_results(undisturbed):
    suite, reference, seconds = undisturbed
    workdir = suite.parent / "killed"
    for _ in range(2):
        process = start(suite, workdir, "--jobs=2")
        time.sleep(random.uniform(0.1, 0.5) * seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        wait_until(lambda: not running_below(workdir))
    execute(suite, workdir, "--jobs=2")
    assert results(workdir) == results(reference)
    for path in reference.rglob("metrics.csv"):
        rows = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
        again = (workdir / path.relative_to(reference)).read_text().splitlines()
        assert [line.rpartition(",")[0] for line in again] == rows


def test_sigterm_ends_the_runs_and_says_how_to_go_on(undisturbed):
    suite, _, _ = undisturbed
    workdir = suite.parent / "stopped"
    process = start(suite, workdir, "--jobs=1")
    wait_until(lambda: list(workdir.rglob("pretrain.log")))
    process.terminate()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "interrupted; the same command goes on" in output
    assert "Traceback" not in output
    assert not running_below(workdir)


def test_a_failure_is_recorded_and_tried_again_while_the_rest_goes_on(undisturbed):
    suite, reference, _ = undisturbed
    workdir = suite.parent / "failing"
    shutil.copytree(reference, workdir)
    (workdir / "maze" / "smac" / "sac" / "summary.json").unlink()
    extended = suite.with_name("extended.py")
    extended.write_text(SUITE + LATE + MAZE)
    command = (extended, workdir, "--jobs=1", "--suite.online=('sac',)")
    output = execute(*command, code=1)
    assert "3 failed or were skipped; the same command tries again" in output
    assert str(workdir / "datasets" / "pointmaze" / "late-v0.log") in output
    rows = results(workdir)
    assert {row["status"] for row in rows[:4]} == {"skipped: datasets/pointmaze/late-v0 failed"}
    assert rows[4:] == results(reference)
    mended = ("--suite.tasks.late.recipe.episodes=4", "--suite.only=('late',)", "--suite.pretrain.batch_size=-1")
    execute(*command, *mended, code=1)
    rows = [row for row in results(workdir) if row["dataset"] == "pointmaze/late-v0"]
    assert {row["online_algorithm"]: row["status"] for row in rows} == {
        "": "failed: --config.batch_size=-1 must be positive",
        "sac": "skipped: late/smac/pretrain failed",
    }


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is an optional extra: pip install -e '.[cluster]'"
)
def test_ray_gives_the_same_results(undisturbed, monkeypatch):
    suite, reference, _ = undisturbed
    workdir = suite.parent / "ray"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert "error: no Ray cluster answers" in execute(suite, workdir, "--backend=ray", code=2)
    monkeypatch.delenv("RAY_ADDRESS")
    execute(suite, workdir, "--backend=ray", "--jobs=2", "--suite.online=('sac',)")
    assert results(workdir) == results(reference)[:4]


def test_bad_input_is_one_line_and_exit_code_two(undisturbed):
    suite, workdir, _ = undisturbed
    with (workdir / "benchmark.lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        cases = {
            "no suite file configs/suites/none.py; run": (Path("configs/suites/none.py"), workdir),
            "<local|ray>": (suite, workdir, "--backend=slurm"),
            "--jobs=0 must be positive": (suite, workdir, "--jobs=0"),
            "was begun with --seeds=0,3, not --seeds=0; choose": (suite, workdir, "--suite.seeds=(0,)"),
            "another benchmark is at work": (suite, workdir),
        }
        foreign = workdir.parent / "foreign"
        foreign.mkdir()
        (foreign / "results.csv").write_text("task,score\nmaze,1\n")
        cases["results.csv has other columns than task, dataset,"] = (suite, foreign)
        for message, arguments in cases.items():
            output = execute(*arguments, code=2)
            errors = [line for line in output.splitlines() if line.startswith("error:")]
            assert len(errors) == 1
            assert message in errors[0], errors
