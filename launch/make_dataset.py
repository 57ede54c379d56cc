"""Build a Minari dataset by a recipe, or describe datasets.

    python -m launch.make_dataset --recipe=pointmaze     --output=ID [--env=PointMaze_UMaze-v3] [--episodes=600]
    python -m launch.make_dataset --recipe=adroit_binary --output=ID --source=ID_OF_DEMONSTRATIONS [--episodes=500]
    python -m launch.make_dataset --recipe=replay        --output=ID [--env=HalfCheetah-v5] [--steps=100000]
    python -m launch.make_dataset --recipe=rollout       --output=ID --checkpoint=DIR [--episodes=100]
    python -m launch.make_dataset --describe=ID   # or a pattern, such as 'adroit/*'; --page=FILE.md for a table

Recipes: pointmaze, a noisy controller that follows waypoints through UMaze, Medium or Large; adroit_binary, human
demonstrations and roll-outs of their clone; replay, the replay buffer of SAC from scratch; rollout, sampled or noised
actions of a trained policy. Datasets are written below MINARI_DATASETS_PATH, as Minari does.
"""

import fnmatch
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import minari
from absl import flags
from minari.storage.local import list_local_datasets

from launch import program
from launch.load import load_agent
from launch.session import progress_bar
from smac_jax.data.describe import Description, describe
from smac_jax.data.minari_dataset import open_dataset
from smac_jax.data.recipes.adroit_binary import record_adroit_binary
from smac_jax.data.recipes.pointmaze import record_pointmaze
from smac_jax.data.recipes.replay import record_replay
from smac_jax.data.recipes.rollout import record_rollout
from smac_jax.errors import InputError
from smac_jax.report.datasets import describe_text, tasks_page

# The flags each recipe understands beside --output and --seed.
RECIPES = {
    "pointmaze": ("env", "episodes", "steps"),
    "adroit_binary": ("source", "download", "episodes", "steps"),
    "replay": ("env", "steps"),
    "rollout": ("checkpoint", "episodes", "steps"),
}
# Steps of replay, episodes of the others.
DEFAULT_LENGTHS = {"pointmaze": 600, "adroit_binary": 500, "replay": 100_000, "rollout": 100}

_RECIPE = flags.DEFINE_enum("recipe", None, list(RECIPES), "How the data is made.")
_OUTPUT = flags.DEFINE_string("output", None, "Id of the Minari dataset to create, such as pointmaze/umaze-v0.")
_ENV = flags.DEFINE_string("env", None, "Environment of pointmaze and replay, by gymnasium id; see above for defaults.")
_SOURCE = flags.DEFINE_string("source", None, "Id of the human demonstrations that adroit_binary starts from.")
_DOWNLOAD = flags.DEFINE_bool("download", False, "Download the source, or the described dataset, if it is not local.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Working directory of the run whose policy rollout records.")
_EPISODES = flags.DEFINE_integer("episodes", None, "Episodes to record; see above for defaults.")
_STEPS = flags.DEFINE_integer("steps", None, "End with the episode that reaches this many steps, if that is earlier.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of resets, noise and training.")
_DESCRIBE = flags.DEFINE_string("describe", None, "Describe this dataset, or those that match, instead.")
_PAGE = flags.DEFINE_string(
    "page", None, "With --describe: write the table of tasks and datasets to this Markdown file."
)


def _check_flags(recipe: str) -> None:
    given = {flag.name for flag in (_ENV, _SOURCE, _CHECKPOINT, _EPISODES, _STEPS) if flag.value is not None}
    foreign = sorted(given - set(RECIPES[recipe]))
    if foreign:
        raise InputError(f"--recipe={recipe} has no --{foreign[0]}; see --help")
    for flag in (_EPISODES, _STEPS):
        if flag.value is not None and flag.value < 1:
            raise InputError(f"--{flag.name}={flag.value} must be positive")
    if not 0 <= _SEED.value < 2**32:
        raise InputError(f"--seed={_SEED.value} must not be negative, and below 2**32")


def _record(recipe: str, output: str, options: dict[str, Any], tick: Callable[[], object]) -> minari.MinariDataset:
    if recipe == "pointmaze":
        return record_pointmaze(output, on_episode=tick, **options)
    if recipe == "adroit_binary":
        source = open_dataset(program.required(_SOURCE), _DOWNLOAD.value)
        print("cloning the demonstrations first: about a minute on a CPU core")
        return record_adroit_binary(output, source, on_episode=tick, **options)
    if recipe == "replay":
        return record_replay(output, on_step=tick, **options)
    agent = load_agent(Path(program.required(_CHECKPOINT)))
    options |= {"exploration_noise": agent.exploration_noise, "on_episode": tick}
    return record_rollout(output, agent.state, agent.env_spec, agent.task, agent.origin, **options)


def make(recipe: str, output: str) -> None:
    """Record a dataset and say what is in it."""
    _check_flags(recipe)
    options: dict[str, Any] = {
        name: flag.value
        for name, flag in {"env_id": _ENV, "episodes": _EPISODES, "steps": _STEPS, "seed": _SEED}.items()
        if flag.value is not None
    }
    counts_steps = recipe == "replay"
    total = options.get("steps" if counts_steps else "episodes", DEFAULT_LENGTHS[recipe])
    with progress_bar(total, 0, "steps" if counts_steps else "episodes", f"record {output}") as bar:
        dataset = _record(recipe, output, options, lambda: bar.update())
    print(describe_text(describe(dataset)))


def describe_all(pattern: str) -> None:
    """Describe one dataset, or the local ones that a pattern matches, and write the page if it is wanted."""
    found = sorted(fnmatch.filter(list_local_datasets(), pattern)) or [pattern]
    descriptions: list[Description] = []
    for dataset_id in found:
        descriptions.append(describe(open_dataset(dataset_id, _DOWNLOAD.value)))
        print(describe_text(descriptions[-1]), end="\n\n")
    if _PAGE.value is not None:
        command = f"python -m launch.make_dataset --describe='{pattern}' --page={_PAGE.value}"
        Path(_PAGE.value).write_text(tasks_page(descriptions, command))
        print(f"wrote {_PAGE.value}")


def main() -> None:
    """Entry point."""
    if (_RECIPE.value is None) == (_DESCRIBE.value is None):
        raise InputError("give --recipe with --output, or --describe; see --help")
    if _DESCRIBE.value is None and _PAGE.value is not None:
        raise InputError("--page goes with --describe; describe the dataset once it is made")
    if _DESCRIBE.value is not None and _OUTPUT.value is not None:
        raise InputError("--output goes with --recipe; --describe writes no dataset")
    program.check_page(_PAGE)
    if path := os.environ.get("MINARI_DATASETS_PATH"):
        # Minari's writer loses its way with a relative path.
        os.environ["MINARI_DATASETS_PATH"] = os.path.abspath(path)
    with warnings.catch_warnings():
        # Minari asks for authors and links, which a locally built dataset does not need.
        warnings.simplefilter("ignore", UserWarning)
        if _DESCRIBE.value is not None:
            describe_all(_DESCRIBE.value)
        else:
            make(program.required(_RECIPE), program.required(_OUTPUT))


if __name__ == "__main__":
    program.run(main)
