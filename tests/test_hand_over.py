import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_step import identical, make_batch, standardizer, update

from configs import finetune, smac
from launch import session
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


def test_the_critic_takes_up_its_pace_from_the_switch_on():
    offline = smac.get_config("locomotion-small")
    offline.network.hidden_dims, offline.online.critic_ramp = (8, 8), 4
    config = finetune.from_checkpoint(offline, "sac")
    terms = session.make_terms(config)

    def moves(switch, step):
        """How far one update moves the critic from its start, and the networks after it."""
        agents = session.make_agents(config, [0], (3, 2), standardizer(), switch)
        before = jax.tree.map(lambda leaf: leaf[0], agents.replace(step=None)).replace(step=jnp.int32(step))
        after, _ = update(before, make_batch(), jax.random.key(0), terms)
        return jax.tree.map(jnp.subtract, after.critic.params, before.critic.params), after

    whole, unhurried = moves(None, 7)
    for step, share in ((7, 0.25), (9, 0.75), (20, 1.0)):
        change, _ = moves(7, step)
        for part, full in zip(jax.tree.leaves(change), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(part, share * full, rtol=1e-2, atol=1e-7)
    _, slowed = moves(7, 7)
    assert identical(slowed.temperature.params, unhurried.temperature.params)
    assert identical(slowed.critic.opt_state, unhurried.critic.opt_state)
