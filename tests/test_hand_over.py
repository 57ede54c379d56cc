import jax
import numpy as np
import pytest
from test_step import identical

from configs import smac
from launch.load import hand_over
from smac_jax.agent import AgentSpec, Standardizer, create_agents
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.keys import stream_keys


def make_agents(algorithm, seed):
    spec = AgentSpec(3, 2, hidden_dims=(8, 8), target_actor=algorithm == "td3")
    return create_agents(spec, stream_keys([seed], "init"), Standardizer(np.zeros(3), np.ones(3)))


def apart(state):
    """An agent whose target actor, if it has one, is not its actor."""
    if state.target_actor is None:
        return state
    return state.replace(target_actor=jax.tree.map(lambda leaf: leaf + 0.5, state.actor.params))


@pytest.mark.parametrize(("offline", "online"), [("sac", "td3"), ("td3", "td3"), ("td3", "sac"), ("sac", "sac")])
def test_target_actor_is_handed_over_or_begins_as_the_actor(tmp_path, offline, online):
    before, checkpoints = apart(make_agents(offline, 0)), Checkpoints(tmp_path)
    checkpoints.save(7, {}, agent=before)
    config = smac.get_config("pointmaze-small")
    config.terms.td.next_action = "mode" if offline == "td3" else "sample"
    after = hand_over(checkpoints, {"config": config.to_dict()}, make_agents(online, 1))
    assert identical(after.actor, before.actor)
    if online == "sac":
        assert after.target_actor is None
    else:
        assert identical(after.target_actor, before.target_actor if offline == "td3" else before.actor.params)
