"""Report on all finished runs in a directory and below.

    python -m launch.report --workdir=DIR

Writes learning_curve.png, report.html and its table as report.md into DIR, and prints offline score, drop and regret.
"""

from pathlib import Path

import numpy as np
from absl import flags

from launch import program
from smac_jax.errors import InputError
from smac_jax.report.collect import find_runs
from smac_jax.report.curves import plot_learning_curves
from smac_jax.report.page import write_markdown, write_page

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory that holds the runs; the report is written there.")


def main() -> None:
    """Entry point."""
    directory = Path(program.required(_WORKDIR))
    if not directory.is_dir():
        raise InputError(f"{directory} is not a directory; give the one that holds the runs")
    runs = find_runs(directory)
    picture, page, table = (directory / name for name in ("learning_curve.png", "report.html", "report.md"))
    plot_learning_curves(runs, picture)
    write_page(runs, directory, picture, page)
    write_markdown(runs, directory, table)
    for run in (run for run in runs if run.online):
        means = {name: np.mean(run.summary[name]) for name in ("offline_score", "drop", "final_score", "regret")}
        print(
            f"{run.dataset} {run.label}: offline score {means['offline_score']:.3f}, drop {means['drop']:.3f}, "
            f"final score {means['final_score']:.3f}, regret {means['regret']:.3f}"
        )
    print(f"wrote {page}, {picture} and {table}")


if __name__ == "__main__":
    program.run(main)
