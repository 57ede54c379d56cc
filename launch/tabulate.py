"""One CSV of all finished fine-tunings below a directory, a row a seed, with the commands that made each.

Prints its means over seeds as a Markdown table.

    python -m launch.tabulate --workdir=DIR --output=FILE.csv

The pre-training in DIR/NAME and its fine-tunings in DIR/NAME-ANYTHING; the setting of a row is the latter's name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from launch import program
from launch.reproduce import checkpoint, command
from smac_jax.errors import InputError
from smac_jax.io.records import replace_rows
from smac_jax.report.collect import Run, find_runs

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory that holds the runs.")
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write; an older one is replaced.")

_MEASURES = ("offline_score", "drop", "drop_noise", "final_score", "regret")


def rows(run: Run, directory: Path) -> list[dict[str, Any]]:
    """Rows of a fine-tuning, one a seed."""
    made = [command(workdir, directory) for workdir in (checkpoint(run.workdir, directory), run.workdir)]
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


def markdown(made: Sequence[Mapping[str, Any]]) -> str:
    """Means over seeds by setting."""
    settings: dict[str, list[Mapping[str, Any]]] = {}
    for row in made:
        settings.setdefault(row["setting"], []).append(row)
    lines = ["| setting | seeds | offline | drop | drop - noise | final | regret |", "|---|" + "---:|" * 6]
    for name, members in settings.items():
        mean = {measure: sum(float(row[measure]) for row in members) / len(members) for measure in _MEASURES}
        net = mean["drop"] - mean["drop_noise"]
        numbers = (mean["offline_score"], mean["drop"], net, mean["final_score"], mean["regret"])
        lines.append(f"| {name} | {len(members)} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    directory, output = Path(program.required(_WORKDIR)), Path(program.required(_OUTPUT))
    runs = [run for run in find_runs(directory) if run.online_algorithm]
    made = [row for run in runs for row in rows(run, directory)]
    if not made:
        raise InputError(f"{directory} holds no finished fine-tuning; run finetune with a --workdir below it")
    replace_rows(output, made, list(made[0]))
    print(markdown(made))
    print(f"wrote {output}: {len(runs)} runs")


if __name__ == "__main__":
    program.run(main)
