import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax.networks import Critic, init_ensemble
from smac_jax.speed.penalty_forms import FORMS, PenaltyPoints

POINTS = 6


@pytest.fixture(scope="module")
def problem():
    critic = Critic((12, 12), "silu")
    rng = np.random.default_rng(0)
    observations, actions, scores = (jnp.asarray(rng.normal(size=(POINTS, d)), jnp.float32) for d in (4, 3, 3))
    params = init_ensemble(critic, jax.random.key(0), 2, observations, actions)
    weights = jnp.asarray(rng.uniform(0.2, 1.0, POINTS), jnp.float32)
    return critic.apply, params, PenaltyPoints(observations, actions, scores, weights, jnp.float32(0.7))


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("forward over reverse", 1e-5), ("reverse over forward", 1e-5), ("finite difference", 2e-2)],
)
def test_form_gives_the_gradient_of_training(problem, name, tolerance):
    expected = flat(FORMS["reverse over reverse"](*problem, jax.random.key(1)))
    got = flat(jax.jit(FORMS[name], static_argnums=0)(*problem, jax.random.key(1)))
    assert np.linalg.norm(got - expected) < tolerance * np.linalg.norm(expected)


def test_sliced_form_is_the_gradient_of_training_on_average(problem):
    expected = flat(FORMS["reverse over reverse"](*problem, jax.random.key(1)))
    keys = jax.random.split(jax.random.key(2), 4000)
    apply_fn, *rest = problem
    samples = jax.lax.map(lambda key: FORMS["sliced"](apply_fn, *rest, key), keys, batch_size=500)
    samples = np.concatenate([np.reshape(leaf, (len(keys), -1)) for leaf in jax.tree.leaves(samples)], axis=1)
    error = np.linalg.norm(samples.mean(0) - expected)
    assert error < 0.1 * np.linalg.norm(expected)
    # And it is an estimate: a single one is off by more than its mean.
    assert np.median(np.linalg.norm(samples - expected, axis=1)) > 5 * error
