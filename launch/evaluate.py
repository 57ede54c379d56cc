"""Evaluate the newest checkpoint of a pretrain or finetune run.

    python -m launch.evaluate --checkpoint=DIR [--episodes=100]

Acts by the mode of the policy. Prints score, return and length by seed, and writes DIR/evaluation.csv.
"""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from absl import flags
from gymnasium.envs.registration import EnvSpec

from launch import program, session
from smac_jax.agent import Standardizer
from smac_jax.envs.tasks import get_task
from smac_jax.errors import InputError
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import evaluation_rows
from smac_jax.io.records import METRICS_FIELDS, append_rows
from smac_jax.io.workdir import read_run

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Working directory of a pretrain or finetune run.")
_EPISODES = flags.DEFINE_integer("episodes", 100, "Episodes of each seed.")


def main() -> None:
    """Entry point."""
    if _EPISODES.value < 1:
        raise InputError(f"--episodes={_EPISODES.value} must be positive")
    workdir = Path(program.required(_CHECKPOINT))
    run = read_run(workdir)
    config, seeds, dims = session.stored_config(run), run["seeds"], (run["dims"][0], run["dims"][1])
    spec = EnvSpec.from_json(run["env_spec"])
    checkpoints = Checkpoints(workdir, create=False)
    evaluate = session.make_evaluator(spec, get_task(config.task, spec), seeds, _EPISODES.value, dims)
    # The restored state brings the real statistics.
    placeholder = Standardizer(jnp.zeros(dims[0], jnp.float32), jnp.ones(dims[0], jnp.float32))
    state = checkpoints.restore("agent", session.make_agents(config, seeds, dims, placeholder))
    step = checkpoints.newest_step()

    phase = "offline" if run["program"] == "pretrain" else "online"
    watch = session.Stopwatch()
    results = evaluate(state, step)
    rows = evaluation_rows(phase, step, seeds, results, watch.wall)
    for row in rows:
        print(
            f"seed {row['seed']}: score {row['score']:.3f}, return {row['return']:.1f}, "
            f"mean length {row['length']:.1f} over {row['episodes']} episodes"
        )
    print(f"mean score {np.mean([row['score'] for row in rows]):.3f} at {phase} step {step}")
    path = workdir / "evaluation.csv"
    path.unlink(missing_ok=True)
    append_rows(path, rows, METRICS_FIELDS)


if __name__ == "__main__":
    program.run(main)
