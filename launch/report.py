"""Report on all finished runs in a directory and below.

    python -m launch.report --workdir=DIR

Writes report.html, one page with all pictures inside, its tables as report.md, and learning_curve.png into DIR; with
several tasks that is an overview, and DIR/figures holds a picture of each. Prints offline score, drop and regret.
"""

from pathlib import Path

import numpy as np
from absl import flags

from launch import program
from smac_jax.errors import InputError
from smac_jax.report.collect import find_runs, find_unfinished
from smac_jax.report.content import make_content
from smac_jax.report.tables import NOTHING, number
from smac_jax.report.write import write_report

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory that holds the runs; the report is written there.")

_PRINTED = {"offline score": "offline_score", "drop": "drop", "final score": "final_score", "regret": "regret"}


def _mean(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    return number(known.mean()) if len(known) else NOTHING


def main() -> None:
    """Entry point."""
    directory = Path(program.required(_WORKDIR))
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give the one that holds the runs")
    content = make_content(find_runs(directory), find_unfinished(directory), directory)
    files = write_report(content, directory)
    for task in content.tasks:
        for pair in (pair for pair in task.pairs if pair.online):
            means = ", ".join(f"{title} {_mean(pair.measures[name])}" for title, name in _PRINTED.items())
            print(f"{task.dataset} {pair.label}: {means}")
    if content.unfinished:
        print(f"not finished, and left out: {', '.join(content.unfinished)}")
    page, table, *pictures = files
    shown = str(pictures[0]) if len(pictures) == 1 else f"{len(pictures)} pictures"
    print(f"wrote {page}, {table} and {shown}")


if __name__ == "__main__":
    program.run(main)
