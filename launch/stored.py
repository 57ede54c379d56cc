"""What a run's record holds, in the types that it was written from; also of a version that had fewer fields."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from smac_jax.losses.anchor import TAIL


def stored_config(run: Mapping[str, Any]) -> ConfigDict:
    """The configuration in a run's record; JSON's lists are tuples again."""
    stored = dict(run["config"])
    stored["network"] = {**stored["network"], "hidden_dims": tuple(stored["network"]["hidden_dims"])}
    # Runs begun before these fields were there.
    added = ("critic_dueling", "critic_anchored", "actor_detached_spread")
    added_numbers = {"critic_advantage_width": 1.0, "anchor_tail": TAIL}
    stored["network"] = {**dict.fromkeys(added, False), **added_numbers, **stored["network"]}
    stored["optimizer"] = {"muon_every": 1, "advantage": 0.0, **stored["optimizer"]}
    added_online = {
        "actor_learning_rate": 0.0, "critic_learning_rate": 0.0, "entropy_backup": True,
        "antithetic": False, "detached_spread": False, "advantage_learning_rate": 0.0,
    }  # fmt: skip
    stored["online"] = {**added_online, **stored["online"]}
    stored["eval"] = {"early_every": 0, "early_steps": 0, **stored["eval"]}
    return ConfigDict(stored)


def completed(run: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record with the fields that its version had not yet; as it is where that holds no configuration."""
    try:
        config = stored_config(run)
    except (KeyError, TypeError):
        return dict(run)
    return {**run, "config": config.to_dict()}


def stored_dims(run: Mapping[str, Any]) -> tuple[int, int]:
    """Observation and action dimension in a run's record, of which JSON makes a list."""
    observation_dim, action_dim = run["dims"]
    return observation_dim, action_dim
