"""Compare methods on tasks: pre-train, fine-tune and tabulate everything that a suite lists.

    python -m launch.benchmark --suite=configs/suites/NAME.py --workdir=DIR [--backend=local|ray] [--jobs=N] [--dry_run]

The suite's fields are set by --suite.a=value: seeds, offline, online, pairs, scratch, and what it names of pretrain,
finetune and tasks; configs/suites/__init__.py explains each. --suite.offline="('smac',)" runs a part of it.

DIR/results.csv has a row for each run and seed that has ended, those of earlier calls included. The runs are
TASK/OFFLINE/pretrain, TASK/OFFLINE/ONLINE and TASK/scratch/ONLINE, each with its output in a .log beside it. The same
command again goes on where it stopped, and tries again what failed. Exit code 1: some failed, the others are done.

--backend=ray connects to the cluster that RAY_ADDRESS names, which must share DIR and the datasets, or else starts it.
"""

import operator
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags

from configs import suites
from launch import program
from launch.backends import default_jobs, run_local, run_on_ray
from launch.cells import DONE, FAILED, Cell, make_cells, recorded_runs, split_name
from launch.session import progress_bar
from smac_jax.cores import ONE_THREAD
from smac_jax.errors import InputError
from smac_jax.io.lock import locked
from smac_jax.io.records import read_rows, replace_rows
from smac_jax.io.workdir import SUMMARY_FILE, make_directory, read_json, resume_record, sources, write_json

_SUITE = config_flags.DEFINE_config_file("suite", None, "Suite file, configs/suites/NAME.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the benchmark; made if missing.")
_BACKEND = flags.DEFINE_enum("backend", "local", ["local", "ray"], "Runs are processes here, or tasks of Ray.")
_JOBS = flags.DEFINE_integer("jobs", None, "Runs at a time here; by default one on each core, or one on a GPU.")
_GPUS = flags.DEFINE_float("gpus", 0.0, "GPUs that a run takes on a Ray cluster, such as 1 or 0.5; 0 hides them.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download datasets that are not local.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the runs with their state and command, and do nothing.")

SUITE_FILE, RESULTS_FILE, LOCK_FILE = "suite.json", "results.csv", "benchmark.lock"
_MEASURES = ("offline_score", "drop", "drop_noise", "final_score", "regret", "train_regret")
_COLUMNS = ("task", "dataset", "offline_algorithm", "online_algorithm", "seed", *_MEASURES, "status", "wall_time")
Row = dict[str, Any]


def _score_rows(labels: Sequence[str], seeds: Sequence[int], status: str, summary: dict[str, Any]) -> list[Row]:
    """Rows of one run, one a seed; `labels` are the first four columns, and an empty summary has no scores."""
    rows = []
    for index, seed in enumerate(seeds):
        values = {name: summary[name][index] for name in _MEASURES if summary} | {"wall_time": summary.get("wall_time")}
        rounded = {name: None if value is None else round(value, 6) for name, value in values.items()}
        rows.append({**dict(zip(_COLUMNS, labels, strict=False)), "seed": seed, "status": status, **rounded})
    return rows


def result_rows(cell: Cell, status: str) -> list[Row]:
    """Rows of results.csv, one a seed; those of a run that is not done have no scores."""
    summary = read_json(cell.workdir / SUMMARY_FILE) if status == DONE and cell.seeds else {}
    return _score_rows((cell.task, cell.dataset, cell.offline, cell.online), cell.seeds, status, summary)


def other_results(path: Path, cells: Sequence[Cell], runs: Iterable[str]) -> list[Row]:
    """Rows of results.csv that are of none of the cells: a part of a suite leaves those of the rest as they are.

    Those of finished runs are read from the runs, so that a run that was deleted has none; that others failed is only
    known from the file.

    Args:
        path: results.csv, in the benchmark's directory.
        cells: those of this call.
        runs: names of all runs that the directory holds, see `recorded_runs`.

    Raises:
        InputError: the file has other columns, or a run's summary cannot be read.
    """
    failed = [row for row in read_rows(path, _COLUMNS) if row["status"] != DONE]
    ours = {(cell.task, cell.dataset, cell.offline, cell.online) for cell in cells}
    rows: list[Row] = []
    for name in sorted(set(runs) - {cell.name for cell in cells}):
        file = path.parent / name / SUMMARY_FILE
        if file.exists():
            summary = read_json(file)
            _, offline, online = split_name(name)
            rows += _score_rows((summary["task"], summary["dataset"], offline, online), summary["seeds"], DONE, summary)
    labels = operator.itemgetter(*_COLUMNS[:4])
    done = ours | set(map(labels, rows))
    return rows + [row for row in failed if labels(row) not in done]


def write_results(path: Path, cells: Sequence[Cell], statuses: dict[str, str], others: Iterable[Row] = ()) -> None:
    """Write the results of all cells that have a status, in the suite's order, and other rows behind them.

    The file that is there is replaced.
    """
    ours = (row for cell in cells if cell.name in statuses for row in result_rows(cell, statuses[cell.name]))
    replace_rows(path, [*ours, *others], _COLUMNS)


def describe(cell: Cell, status: str) -> str:
    """One line on a cell that has ended: means over seeds, or what went wrong and where to read about it."""
    if status != DONE:
        return f"{cell.name:<44} {status}" + (f" (see {cell.log})" if status.startswith(FAILED) else "")
    rows = result_rows(cell, status)
    values = {name: [row[name] for row in rows if row[name] is not None] for name in _MEASURES}
    shown = (f"{name.replace('_', ' ')} {np.mean(found):.3f}" for name, found in values.items() if found)
    return f"{cell.name:<44} {'  '.join(shown) or status}"


def suite_record(path: Path, runs: dict[str, list[str]], goes_on: bool) -> dict[str, Any]:
    """Content of suite.json: the suite as it is now, and what made its results, this call included if it `goes_on`."""
    now = {"suite": _SUITE.value.to_dict(), "runs": runs}
    if not path.exists():
        return now | sources()
    return resume_record(read_json(path) | now, sources()) if goes_on else read_json(path) | now


def benchmark(workdir: Path, cells: Sequence[Cell], todo: Sequence[Cell], runs: Iterable[str]) -> None:
    """Run what is to be done, tabulating as it comes, and exit with code 1 if any of it failed."""
    statuses = {cell.name: DONE for cell in cells if cell.done}
    others = other_results(workdir / RESULTS_FILE, cells, runs)
    write_results(workdir / RESULTS_FILE, cells, statuses, others)
    if _BACKEND.value == "ray":
        outcomes = run_on_ray(todo, _JOBS.value, _GPUS.value)
    else:
        outcomes = run_local(todo, _JOBS.value or (default_jobs() if todo else 1))
    with closing(outcomes), progress_bar(len(cells), len(cells) - len(todo), "runs", "benchmark") as bar:
        for cell, status in outcomes:
            statuses[cell.name] = status
            write_results(workdir / RESULTS_FILE, cells, statuses, others)
            bar.update()
            bar.write(describe(cell, status))
    print("\nmeans over seeds:", *(describe(cell, statuses[cell.name]) for cell in cells if cell.seeds), sep="\n")
    print(f"wrote {workdir / RESULTS_FILE}; for plots and tables: python -m launch.report --workdir={workdir}")
    failed = [cell for cell in cells if statuses.get(cell.name, DONE) != DONE]
    if failed:
        print(f"{len(failed)} failed or were skipped; the same command tries again", file=sys.stderr)
        print(describe(failed[0], statuses[failed[0].name]), file=sys.stderr)
        sys.exit(1)


def main() -> None:
    """Entry point."""
    if _SUITE.value is None:
        raise InputError("--suite is missing; give configs/suites/NAME.py, such as configs/suites/smoke.py")
    if _JOBS.value is not None and _JOBS.value < 1:
        raise InputError(f"--jobs={_JOBS.value} must be positive")
    workdir = Path(program.required(_WORKDIR)).absolute()
    if path := os.environ.get("MINARI_DATASETS_PATH"):
        os.environ["MINARI_DATASETS_PATH"] = os.path.abspath(path)
    cells = make_cells(_SUITE.value, workdir, _DOWNLOAD.value)
    runs = recorded_runs(workdir / SUITE_FILE, cells)
    # Datasets are made only for runs that still need them.
    needed = {name for cell in cells if not cell.done for name in cell.needs}
    todo = [cell for cell in cells if not cell.done and (cell.seeds or cell.name in needed)]
    if _DRY_RUN.value:
        for cell in cells:
            state = "to do" if cell in todo and not cell.log.exists() else "begun" if cell in todo else "done"
            print(f"{state:<6} {cell.name:<44} python {' '.join(cell.command)}")
        return
    if _BACKEND.value == "ray" or _JOBS.value != 1:
        # Several runs share the cores.
        os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *ONE_THREAD]).strip()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    make_directory(workdir)
    with locked(workdir / LOCK_FILE, f"another benchmark is at work in {workdir}; wait for it, or choose another"):
        write_json(workdir / SUITE_FILE, suite_record(workdir / SUITE_FILE, runs, bool(todo)))
        benchmark(workdir, cells, todo, runs)


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parse the command line; raises `InputError` where there is no such suite."""
    suites.check_files(program.flag_values(argv, "suite"))
    return program.parse(argv)


if __name__ == "__main__":
    program.run(main, parse_flags, goes_on=True)
