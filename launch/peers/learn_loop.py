"""What stable-baselines3 and sbx, which builds on it, are measured by: their `learn` on a live environment."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.noise import NormalActionNoise

from launch.peers.conditions import ENVIRONMENT, EXPLORATION_NOISE, REPLAY_CAPACITY, STEPS_PER_CALL, WARM_UP
from smac_jax.speed.data import ACTION_DIM
from smac_jax.speed.workers import open_channel, serve


def model_arguments(row: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a model by row: one environment, one update a step, the rest the library's defaults."""
    arguments = {
        "policy": "MlpPolicy",
        "env": ENVIRONMENT,
        "batch_size": row["batch_size"],
        "buffer_size": REPLAY_CAPACITY,
        "learning_starts": WARM_UP,
        "train_freq": 1,
        "gradient_steps": 1,
        "policy_kwargs": {"net_arch": list(row["hidden_dims"]), "n_critics": row["critics"]},
    }
    if row["method"] == "online-td3":
        arguments["action_noise"] = NormalActionNoise(np.zeros(ACTION_DIM), EXPLORATION_NOISE * np.ones(ACTION_DIM))
    return arguments


def serve_model(models: Mapping[str, Callable[..., Any]], compiles: bool) -> None:
    """Speak for the model that the command line's row asks for.

    Args:
        models: class of the model by method.
        compiles: whether its first update compiles.
    """
    row = json.loads(sys.argv[1])
    torch.set_num_threads(row["threads"])
    torch.set_num_interop_threads(row["threads"])
    with open_channel() as channel:
        model = models[row["method"]](**model_arguments(row))

        def learn(steps: int = STEPS_PER_CALL) -> int:
            model.learn(steps, reset_num_timesteps=False, log_interval=None)
            return steps

        learn(WARM_UP)
        start = time.perf_counter()
        # Two: the steps that update TD3's actor and those that do not are compiled one by one.
        learn(2)
        compile_seconds = time.perf_counter() - start if compiles else None
        learn()
        serve(channel, {"compile_seconds": compile_seconds, "flops_per_update": None}, learn)
