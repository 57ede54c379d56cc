import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_score_penalty import x64

from smac_jax import losses
from smac_jax.networks import Critic, init_ensemble, tanh_normal

# Critics w (s + a1 + a2) on three states, with two proposals of each kind and two action dimensions.
CRITICS = jnp.array([1.0, -0.5])
OBSERVATIONS = jnp.array([[1.0], [0.0], [-2.0]])
ACTIONS = jnp.array([[0.5, 0.0], [-0.5, 0.25], [1.0, -1.0]])
PROPOSALS = losses.Proposals(
    random=jnp.array([[[0.1, 0.2], [-0.9, 0.3]], [[0.0, 0.5], [0.4, 0.4]], [[-0.2, -0.2], [0.7, 0.6]]]),
    policy=jnp.array([[[0.9, 0.8], [0.7, 0.9]], [[0.3, 0.1], [-0.8, 0.0]], [[0.5, 0.6], [0.2, 0.9]]]),
    policy_log_probs=jnp.log(jnp.array([[0.5, 2.0], [1.0, 0.1], [3.0, 0.8]])),
    next_policy=jnp.array([[[0.6, 0.1], [0.0, 0.0]], [[-0.3, 0.2], [0.9, 0.9]], [[-0.5, 0.5], [0.1, 0.3]]]),
    next_policy_log_probs=jnp.log(jnp.array([[0.4, 1.5], [0.7, 2.5], [0.2, 1.0]])),
)
RANDOM, POLICY = slice(0, 2), slice(2, 6)
# Uniform in [-1, 1]^2, then as above.
DENSITIES = np.exp(
    np.concatenate([np.full((3, 2), np.log(0.25)), PROPOSALS.policy_log_probs, PROPOSALS.next_policy_log_probs], axis=1)
)
CANDIDATES = np.concatenate([PROPOSALS.random, PROPOSALS.policy, PROPOSALS.next_policy], axis=1)


def linear_critic(params, observations, actions):
    return params * (observations[:, 0] + jnp.sum(actions, axis=-1))


def features(actions):
    """Inputs (B, ...) that the critics multiply by their weights."""
    states = np.asarray(OBSERVATIONS)[:, 0]
    return states.reshape(-1, *[1] * (actions.ndim - 2)) + np.asarray(actions).sum(axis=-1)


def candidate_values():
    """Values (E, B, 3 N)."""
    return np.asarray(CRITICS)[:, None, None] * features(CANDIDATES)


def data_values():
    return np.asarray(CRITICS)[:, None] * features(ACTIONS)


def penalty(critics=CRITICS, proposals=PROPOSALS, lower_bounds=None):
    return losses.cql_penalty(linear_critic, critics, OBSERVATIONS, ACTIONS, proposals, lower_bounds=lower_bounds)


def gap_by_hand(values):
    total = np.zeros((2, 3))
    for candidate in range(6):
        total += np.exp(values[:, :, candidate]) / DENSITIES[:, candidate]
    return np.mean(np.log(total) - data_values())


def test_gap_is_the_sum_over_proposals_weighted_by_their_densities():
    gap, info = penalty()
    np.testing.assert_allclose(gap, gap_by_hand(candidate_values()), rtol=1e-5)
    assert info.keys() == {"cql_gap"}
    np.testing.assert_allclose(info["cql_gap"], gap)


def test_gap_gradient_of_linear_critics():
    gradient = jax.grad(lambda critics: penalty(critics)[0])(CRITICS)
    weights = np.exp(candidate_values()) / DENSITIES
    weights /= weights.sum(axis=-1, keepdims=True)
    expected = np.mean(np.sum(weights * features(CANDIDATES), axis=-1) - features(ACTIONS), axis=1) / 2.0
    np.testing.assert_allclose(gradient, expected, rtol=1e-4)


@pytest.mark.parametrize("lower_bounds", [None, jnp.array([0.4, -jnp.inf, 2.0])], ids=["cql", "calql"])
def test_blocks_change_neither_gap_nor_gradient(lower_bounds):
    def run(block):
        def loss(critics):
            return losses.cql_penalty(
                linear_critic, critics, OBSERVATIONS, ACTIONS, PROPOSALS, lower_bounds=lower_bounds, block=block
            )

        return jax.value_and_grad(loss, has_aux=True)(CRITICS)

    ((gap, info), gradient), ((blocked_gap, blocked_info), blocked_gradient) = run(None), run(1)
    np.testing.assert_allclose(blocked_gap, gap, rtol=1e-6)
    np.testing.assert_allclose(blocked_gradient, gradient, rtol=1e-6)
    assert blocked_info.keys() == info.keys()
    for name in info:
        np.testing.assert_allclose(blocked_info[name], info[name], rtol=1e-6)


def test_blocks_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match="3 rows are not divisible into blocks of 2"):
        losses.cql_penalty(linear_critic, CRITICS, OBSERVATIONS, ACTIONS, PROPOSALS, block=2)


def test_proposals_are_constants():
    gradients = jax.grad(lambda proposals: penalty(proposals=proposals)[0])(PROPOSALS)
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, 0.0)


def test_importance_sampling_estimates_the_integral_whatever_the_proposals():
    # The integral of exp(w (s + a1 + a2)) over the square is exp(w s) (2 sinh(w) / w)^2.
    count, weight = 20_000, jnp.array([0.8])
    keys = jax.random.split(jax.random.key(0), 3)

    def sample(key, mean):
        return tanh_normal.sample_and_log_prob(jnp.full((3, count, 2), mean), jnp.full((3, count, 2), 0.3), key)

    random = jax.random.uniform(keys[0], (3, count, 2), minval=-1.0, maxval=1.0)
    gap, _ = penalty(weight, losses.Proposals(random, *sample(keys[1], 0.3), *sample(keys[2], -0.2)))
    weight = 0.8
    log_integral = weight * np.asarray(OBSERVATIONS)[:, 0] + 2.0 * np.log(2.0 * np.sinh(weight) / weight)
    expected = np.mean(log_integral - weight * features(ACTIONS)) + np.log(3 * count)
    np.testing.assert_allclose(gap, expected, atol=0.02)


@pytest.mark.parametrize("block", [None, 1], ids=["whole", "blocks"])
@pytest.mark.parametrize("bounded", [False, True], ids=["cql", "calql"])
def test_gap_gradient_equals_finite_differences(bounded, block):
    step, proposals = 1e-5, 4
    with x64():
        rng = np.random.default_rng(1)
        observations, actions = jnp.asarray(rng.normal(size=(5, 3))), jnp.asarray(rng.uniform(-1, 1, (5, 2)))
        points = [jnp.asarray(rng.uniform(-1, 1, (5, proposals, 2))) for _ in range(3)]
        log_probs = [jnp.asarray(rng.normal(size=(5, proposals))) for _ in range(2)]
        drawn = losses.Proposals(points[0], points[1], log_probs[0], points[2], log_probs[1])
        critic = Critic((8, 8), "tanh", layer_norm=True)
        shapes = jax.eval_shape(lambda: init_ensemble(critic, jax.random.key(0), 2, observations, actions))
        params = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.normal(size=leaf.shape)), shapes)
        bounds = jnp.asarray(rng.normal(size=5)) if bounded else None

        @jax.jit
        def loss(params):
            return losses.cql_penalty(
                critic.apply, params, observations, actions, drawn, lower_bounds=bounds, block=block
            )

        gradient = jax.jit(jax.grad(lambda params: loss(params)[0]))(params)
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(gradient))
        assert jnp.linalg.norm(gradient["params"]["mlp"]["hidden_0"]["kernel"]) > 1e-3
        if bounded:
            assert 0.1 < loss(params)[1]["calibrated_share"] < 0.9
        for _ in range(3):
            direction = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
            above, below = (
                loss(jax.tree.map(lambda leaf, move, h=h: leaf + h * move, params, direction))[0] for h in (step, -step)
            )
            along = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), gradient, direction)))
            np.testing.assert_allclose(along, (above - below) / (2 * step), rtol=1e-6, atol=1e-8)


def test_unknown_returns_give_cql_bit_for_bit():
    unbounded, gradient = jax.value_and_grad(lambda critics: penalty(critics)[0])(CRITICS)
    unknown = jnp.full(3, -jnp.inf)
    (bounded, info), bounded_gradient = jax.value_and_grad(
        lambda critics: penalty(critics, lower_bounds=unknown), has_aux=True
    )(CRITICS)
    assert unbounded == bounded
    np.testing.assert_array_equal(gradient, bounded_gradient)
    assert info["calibrated_share"] == 0.0


def test_returns_bound_the_policies_values_alone():
    # Above all values at the first state, unknown at the second, among the values at the third.
    bounds = np.array([3.0, -np.inf, -0.9])
    values, raised = candidate_values(), candidate_values()
    raised[:, :, POLICY] = np.maximum(raised[:, :, POLICY], bounds[:, None])
    assert np.any(values[:, :, RANDOM] < bounds[:, None]), "bounds on random actions would show"
    gap, info = penalty(lower_bounds=jnp.asarray(bounds))
    np.testing.assert_allclose(gap, gap_by_hand(raised), rtol=1e-5)
    assert gap > penalty()[0]
    share = np.mean(values[:, :, POLICY] < bounds[:, None])
    assert 1 / 3 < share < 2 / 3
    np.testing.assert_allclose(info["calibrated_share"], share, rtol=1e-6)


def test_values_below_their_bound_are_not_pushed_down():
    bounds = jnp.full(3, 3.0)
    gradient = jax.grad(lambda critics: penalty(critics, lower_bounds=bounds)[0])(CRITICS)
    raised = candidate_values()
    raised[:, :, POLICY] = 3.0
    weights = np.exp(raised) / DENSITIES
    weights /= weights.sum(axis=-1, keepdims=True)
    pushed = np.sum((weights * features(CANDIDATES))[:, :, RANDOM], axis=-1)
    np.testing.assert_allclose(gradient, np.mean(pushed - features(ACTIONS), axis=1) / 2.0, rtol=1e-4)


@pytest.mark.parametrize(("gap", "sign"), [(7.0, -1), (2.0, 1)])
def test_multiplier_rises_while_the_gap_exceeds_its_target(gap, sign):
    gradient, info = jax.grad(losses.gap_multiplier, has_aux=True)(jnp.log(0.4), jnp.asarray(gap), 5.0)
    assert np.sign(gradient) == sign
    np.testing.assert_allclose(gradient, -0.4 * (gap - 5.0), rtol=1e-5)
    np.testing.assert_allclose(info["cql_multiplier"], 0.4, rtol=1e-6)
    held = jax.grad(lambda gap: losses.gap_multiplier(jnp.log(0.4), gap, 5.0)[0])(jnp.asarray(gap))
    assert held == 0.0
