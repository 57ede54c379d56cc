"""One row of d3rlpy: updates on a dataset, sampling from its replay buffer included.

    PYTHONPATH=. DIR/peers/environment/bin/python -m launch.peers.d3rlpy_worker '{"method": "td3bc", ...}'

An update is what `fit` does at each step, without its logging: `sample_transition_batch`, then `update`. Where the
defaults would cost other time than our configuration they are set to it: Cal-QL has a fixed weight and the largest of
10 next actions' values. What is left different: IQL's spread does not depend on the state, and Cal-QL sums the returns
of its batch anew at every update.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any

import d3rlpy
import numpy as np
import torch

from smac_jax.speed.data import ACTION_DIM, OBSERVATION_DIM, TRANSITIONS, synthetic_transitions
from smac_jax.speed.workers import open_channel, serve

_EPISODE_LENGTH = 1_000
_UPDATES_PER_CALL = 10
_WARM_UP = 50


def make_dataset() -> Any:
    """The synthetic transitions as episodes of HalfCheetah's length, which end by time-out."""
    data = synthetic_transitions()
    timeouts = np.arange(1, TRANSITIONS + 1) % _EPISODE_LENGTH == 0
    return d3rlpy.dataset.MDPDataset(
        data["observations"], data["actions"], data["rewards"], np.zeros(TRANSITIONS, np.float32), timeouts
    )


def make_algorithm(row: Mapping[str, Any]) -> Any:
    """The algorithm of a row; Adam and no LayerNorm are d3rlpy's defaults."""
    encoder = d3rlpy.models.VectorEncoderFactory(hidden_units=list(row["hidden_dims"]))
    sizes = {
        "batch_size": row["batch_size"],
        "n_critics": row["critics"],
        "actor_encoder_factory": encoder,
        "critic_encoder_factory": encoder,
    }
    config = {
        "td3bc": lambda: d3rlpy.algos.TD3PlusBCConfig(**sizes),
        "sac": lambda: d3rlpy.algos.SACConfig(**sizes),
        "iql": lambda: d3rlpy.algos.IQLConfig(**sizes, value_encoder_factory=encoder),
        "calql": lambda: d3rlpy.algos.CalQLConfig(
            **sizes, n_action_samples=10, max_q_backup=True, alpha_learning_rate=0.0, alpha_threshold=0.0
        ),
    }[row["method"]]()
    algorithm = config.create(device=torch.cuda.is_available())
    algorithm.create_impl((OBSERVATION_DIM,), ACTION_DIM)
    return algorithm


def main() -> None:
    """Entry point."""
    row = json.loads(sys.argv[1])
    torch.set_num_threads(row["threads"])
    torch.set_num_interop_threads(row["threads"])
    with open_channel() as channel:
        dataset, algorithm = make_dataset(), make_algorithm(row)

        def run(updates: int = _UPDATES_PER_CALL) -> int:
            for _ in range(updates):
                algorithm.update(dataset.sample_transition_batch(row["batch_size"]))
            return updates

        run(_WARM_UP)
        serve(channel, {"compile_seconds": None, "flops_per_update": None}, run)


if __name__ == "__main__":
    main()
