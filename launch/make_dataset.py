"""Build a Minari dataset by a recipe.

    python -m launch.make_dataset --recipe=pointmaze --output=MINARI_ID [--episodes=N] [--steps=N] [--seed=0]

The dataset is written below MINARI_DATASETS_PATH, as Minari does. Recipes: pointmaze (a noisy waypoint controller in
PointMaze_UMaze-v3).
"""

import os
import warnings

import numpy as np
from absl import flags

from launch import program
from launch.session import progress_bar
from smac_jax.data.recipes.pointmaze import record_pointmaze
from smac_jax.errors import InputError

_RECIPE = flags.DEFINE_enum("recipe", None, ["pointmaze"], "How the data is made.")
_OUTPUT = flags.DEFINE_string("output", None, "Id of the Minari dataset to create, such as pointmaze/umaze-v0.")
_EPISODES = flags.DEFINE_integer("episodes", 600, "Episodes to record.")
_STEPS = flags.DEFINE_integer("steps", None, "End with the episode that reaches this many steps, if that is earlier.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of resets and noise.")


def main() -> None:
    """Entry point."""
    program.required(_RECIPE)
    output = program.required(_OUTPUT)
    if _EPISODES.value < 1:
        raise InputError(f"--episodes={_EPISODES.value} must be positive")
    if _STEPS.value is not None and _STEPS.value < 1:
        raise InputError(f"--steps={_STEPS.value} must be positive")
    if _SEED.value < 0:
        raise InputError(f"--seed={_SEED.value} must not be negative")
    if path := os.environ.get("MINARI_DATASETS_PATH"):
        # Minari's writer loses its way with a relative path.
        os.environ["MINARI_DATASETS_PATH"] = os.path.abspath(path)
    with warnings.catch_warnings():
        # Minari asks for authors and links, which a locally built dataset does not need.
        warnings.simplefilter("ignore", UserWarning)
        with progress_bar(_EPISODES.value, 0, "episodes", f"record {output}") as bar:
            dataset = record_pointmaze(output, _EPISODES.value, _SEED.value, _STEPS.value, bar.update)
    success = np.mean([np.any(episode.infos["success"]) for episode in dataset.iterate_episodes()])
    print(f"{output}: {dataset.total_episodes} episodes, {dataset.total_steps} steps, success rate {success:.3f}")


if __name__ == "__main__":
    program.run(main)
