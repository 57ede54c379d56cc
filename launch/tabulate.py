"""One CSV of all finished fine-tunings below a directory, a row a seed, with the commands that made each.

    python -m launch.tabulate --workdir=DIR --output=FILE.csv

The setting of a run is the name of its directory.
"""

import shlex
from pathlib import Path
from typing import Any

from absl import flags

from launch import program
from smac_jax.io.records import append_rows
from smac_jax.io.workdir import CONFIG_FILE, SUMMARY_FILE, read_json
from smac_jax.report.collect import Run, find_runs

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory that holds the runs.")
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write; an older one is replaced.")

_MEASURES = ("offline_score", "drop", "drop_noise", "final_score", "regret")
# Where the commands put the directory.
_ROOT = "runs"


def command(workdir: Path, directory: Path) -> str:
    """The command line of a run in `directory`, as it is given from the project's root with runs in `runs`."""
    name, *arguments = read_json(workdir / CONFIG_FILE)["command_line"]
    shown = [argument.replace(str(directory), _ROOT) for argument in arguments]
    return shlex.join(["python", "-m", f"launch.{Path(name).stem}", *shown])


def rows(run: Run, directory: Path) -> list[dict[str, Any]]:
    """Rows of a fine-tuning, one a seed."""
    made = [command(run.workdir, directory)]
    checkpoint = next((part.partition("=")[2] for part in shlex.split(made[0]) if part.startswith("--checkpoint=")), "")
    pretrained = directory / checkpoint.removeprefix(f"{_ROOT}/")
    if checkpoint and (pretrained / SUMMARY_FILE).exists():
        made.insert(0, command(pretrained, directory))
    return [
        {
            "setting": run.workdir.relative_to(directory).as_posix(),
            "task": run.dataset,
            "offline_algorithm": run.algorithm,
            "online_algorithm": run.online_algorithm,
            "seed": seed,
            **{measure: f"{run.summary[measure][index]:.4g}" for measure in _MEASURES},
            "commands": " && ".join(made),
        }
        for index, seed in enumerate(run.summary["seeds"])
    ]


def main() -> None:
    """Entry point."""
    directory, output = Path(program.required(_WORKDIR)), Path(program.required(_OUTPUT))
    runs = [run for run in find_runs(directory) if run.online_algorithm]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    append_rows(output, [row for run in runs for row in rows(run, directory)])
    print(f"wrote {output}: {len(runs)} runs")


if __name__ == "__main__":
    program.run(main)
