"""Evaluate the newest checkpoint of a pretrain or finetune run.

    python -m launch.evaluate --checkpoint=DIR [--episodes=100]

Acts by the mode of the policy. Prints score, return and length by seed, and writes DIR/evaluation.csv.
"""

from pathlib import Path

import numpy as np
from absl import flags

from launch import program, session
from launch.load import load_agent
from smac_jax.errors import InputError
from smac_jax.io.logger import evaluation_rows
from smac_jax.io.records import METRICS_FIELDS, replace_rows

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Working directory of a pretrain or finetune run.")
_EPISODES = flags.DEFINE_integer("episodes", 100, "Episodes of each seed.")


def main() -> None:
    """Entry point."""
    if _EPISODES.value < 1:
        raise InputError(f"--episodes={_EPISODES.value} must be positive")
    workdir = Path(program.required(_CHECKPOINT))
    agent = load_agent(workdir)
    evaluate = session.make_evaluator(agent.env_spec, agent.task, agent.seeds, _EPISODES.value, agent.dims)
    watch = session.Stopwatch()
    results = evaluate(agent.state, agent.step)
    rows = evaluation_rows(agent.phase, agent.step, agent.seeds, results, watch.wall)
    for row in rows:
        print(
            f"seed {row['seed']}: score {row['score']:.3f}, return {row['return']:.1f}, "
            f"mean length {row['length']:.1f} over {row['episodes']} episodes"
        )
    print(f"mean score {np.mean([row['score'] for row in rows]):.3f} at {agent.phase} step {agent.step}")
    replace_rows(workdir / "evaluation.csv", rows, METRICS_FIELDS)


if __name__ == "__main__":
    program.run(main)
