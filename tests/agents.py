"""Small agents, batches and terms that several tests update."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from smac_jax.agent import AgentSpec, Standardizer, algorithms, create_agent, loss_terms, step
from smac_jax.agent.terms import Terms
from smac_jax.types import Batch

OBSERVATIONS, ACTIONS, BATCH = 3, 2, 16
BC = Terms(behavior_cloning=loss_terms.BehaviorCloningTerm())
IQL = Terms(
    td=loss_terms.TDTerm(bootstrap="value"),
    value=loss_terms.ValueTerm(),
    advantage_weighted=loss_terms.AdvantageWeightedTerm(),
)
CQL = algorithms.sac(td=loss_terms.TDTerm(samples=3, soft=False), conservative=loss_terms.ConservativeTerm(samples=2))
CALQL = dataclasses.replace(CQL, conservative=loss_terms.ConservativeTerm(samples=2, calibrated=True, lagrange=True))


def make_batch(seed: int = 0, rows: int = BATCH) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(
        observations=jnp.asarray(rng.normal(size=(rows, OBSERVATIONS)), jnp.float32),
        actions=jnp.asarray(rng.uniform(-1, 1, (rows, ACTIONS)), jnp.float32),
        rewards=jnp.asarray(rng.normal(size=rows), jnp.float32),
        masks=jnp.asarray(rng.random(rows) > 0.2, jnp.float32),
        next_observations=jnp.asarray(rng.normal(size=(rows, OBSERVATIONS)), jnp.float32),
        mc_returns=jnp.zeros(rows, jnp.float32),
    )


def standardizer() -> Standardizer:
    return Standardizer(jnp.full(OBSERVATIONS, 0.5, jnp.float32), jnp.full(OBSERVATIONS, 2.0, jnp.float32))


@functools.cache
def make_agent(**changes):
    spec = AgentSpec(OBSERVATIONS, ACTIONS, hidden_dims=(16, 16), **{"value": True, "target_actor": True, **changes})
    return jax.jit(lambda key: create_agent(spec, key, standardizer()))(jax.random.key(1))


update = jax.jit(step, static_argnums=3)


def identical(left, right) -> bool:
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def run(terms: Terms, steps: int, mc_return: float = 0.0):
    state = make_agent()
    for index in range(steps):
        batch = make_batch(index)._replace(mc_returns=jnp.full(BATCH, mc_return))
        state, info = update(state, batch, jax.random.key(index), terms)
    return state, info
