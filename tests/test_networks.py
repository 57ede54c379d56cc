import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax import losses
from smac_jax.networks import Critic, Denoiser, TanhGaussianActor, Value, init_ensemble, tanh_normal

OBSERVATIONS = jax.random.normal(jax.random.key(10), (5, 3))
ACTIONS = jax.random.uniform(jax.random.key(11), (5, 2), minval=-1.0, maxval=1.0)
LOG_SNR = jnp.linspace(-1.0, 6.0, 5)


def shape_of(function, *arguments):
    return jax.tree.map(jnp.shape, jax.eval_shape(function, *arguments))


def ensemble_shapes(size):
    return shape_of(lambda: init_ensemble(Critic((16, 16)), jax.random.key(0), size, OBSERVATIONS, ACTIONS))["params"]


@pytest.fixture(scope="module")
def ensemble():
    critic = Critic((16, 16))
    make = jax.jit(lambda key: init_ensemble(critic, key, 3, OBSERVATIONS, ACTIONS))
    return critic, make(jax.random.key(0))


@pytest.fixture(scope="module")
def actor():
    actor = TanhGaussianActor(2, (16, 16))
    return actor, jax.jit(actor.init)(jax.random.key(0), OBSERVATIONS)


@pytest.mark.parametrize("leading", [(), (5,), (4, 5)])
def test_outputs_keep_leading_axes(leading):
    key = jax.random.key(0)
    observations, actions, log_snr = (jnp.zeros((*leading, *rest)) for rest in [(3,), (2,), ()])
    for network, inputs, expected in [
        (TanhGaussianActor(2, (16,)), (observations,), ((*leading, 2), (*leading, 2))),
        (Critic((16,)), (observations, actions), leading),
        (Value((16,)), (observations,), leading),
        (Denoiser(2, (16,)), (actions, observations, log_snr), (*leading, 2)),
    ]:
        assert shape_of(lambda *inputs, net=network: net.apply(net.init(key, *inputs), *inputs), *inputs) == expected


@pytest.mark.parametrize("layer_norm", [False, True])
def test_layer_norm_is_a_choice(layer_norm):
    actor = TanhGaussianActor(2, (16, 16), layer_norm=layer_norm)
    assert ("norm_1" in shape_of(actor.init, jax.random.key(0), OBSERVATIONS)["params"]["mlp"]) == layer_norm


@pytest.mark.parametrize("detached", [False, True])
def test_detached_spread_reads_the_hidden_layers_and_does_not_shape_them(actor, detached):
    plain, params = actor
    network = TanhGaussianActor(2, (16, 16), detached_spread=detached)
    np.testing.assert_array_equal(network.apply(params, OBSERVATIONS), plain.apply(params, OBSERVATIONS))
    gradients = jax.grad(lambda params: network.apply(params, OBSERVATIONS)[1].sum())(params)["params"]
    assert any(leaf.any() for leaf in jax.tree.leaves(gradients["mlp"])) is not detached
    assert gradients["log_std"]["kernel"].any()
    gradients = jax.grad(lambda params: network.apply(params, OBSERVATIONS)[0].sum())(params)["params"]
    assert all(gradients["mlp"][f"hidden_{layer}"]["kernel"].any() for layer in (0, 1))


def test_state_value_sees_the_observation_alone():
    shapes = shape_of(Value((16, 8)).init, jax.random.key(0), OBSERVATIONS)["params"]
    assert shapes["mlp"]["hidden_0"] == {"kernel": (3, 16), "bias": (16,)}
    assert shapes["mlp"]["norm_1"] == {"scale": (8,), "bias": (8,)}
    assert shapes["value"] == {"kernel": (8, 1), "bias": (1,)}
    assert (
        "norm_1"
        not in shape_of(Value((16, 8), layer_norm=False).init, jax.random.key(0), OBSERVATIONS)["params"]["mlp"]
    )


def test_dueling_critic_is_a_value_of_the_state_and_one_of_the_action():
    critic = Critic((16, 16), dueling=True)
    params = jax.jit(critic.init)(jax.random.key(0), OBSERVATIONS, ACTIONS)["params"]
    assert params["state_mlp"]["hidden_0"]["kernel"].shape == (3, 16)
    together = critic.apply({"params": params}, OBSERVATIONS, ACTIONS)
    plain = {name: params[name] for name in ("mlp", "value")}
    state = {"mlp": params["state_mlp"], "value": params["state_value"]}
    advantages = Critic((16, 16)).apply({"params": plain}, OBSERVATIONS, ACTIONS)
    np.testing.assert_allclose(together, advantages + Value((16, 16)).apply({"params": state}, OBSERVATIONS), atol=1e-5)


def test_advantages_may_have_narrower_layers_than_values_of_states():
    critic = Critic((16, 5), dueling=True, advantage_width=0.5)
    params = shape_of(critic.init, jax.random.key(0), OBSERVATIONS, ACTIONS)["params"]
    assert params["mlp"]["hidden_0"]["kernel"] == (5, 8)
    assert params["mlp"]["hidden_1"]["kernel"] == (8, 2)
    assert params["state_mlp"]["hidden_1"]["kernel"] == (16, 5)
    # Without values of states there is nothing that they could be narrower than.
    single = shape_of(Critic((16, 5), advantage_width=0.5).init, jax.random.key(0), OBSERVATIONS, ACTIONS)["params"]
    assert single["mlp"]["hidden_1"]["kernel"] == (16, 5)


def test_action_gradient_of_a_dueling_critic_is_not_moved_by_the_values_of_states():
    critic = Critic((16, 16), dueling=True)
    ensemble = init_ensemble(critic, jax.random.key(0), 2, OBSERVATIONS, ACTIONS)
    moved = {"params": dict(ensemble["params"])}
    moved["params"]["state_value"] = jax.tree.map(lambda leaf: 100.0 * leaf + 7.0, ensemble["params"]["state_value"])
    gradients = [losses.action_gradient(critic.apply, params, OBSERVATIONS, ACTIONS) for params in (ensemble, moved)]
    np.testing.assert_array_equal(*gradients)


def test_every_leaf_of_an_ensemble_has_a_member_axis(ensemble):
    shapes = ensemble_shapes(4)
    assert shapes["mlp"]["hidden_0"] == {"kernel": (4, 5, 16), "bias": (4, 16)}
    assert shapes["mlp"]["norm_1"] == {"scale": (4, 16), "bias": (4, 16)}
    assert shapes["value"] == {"kernel": (4, 16, 1), "bias": (4, 1)}
    assert ensemble_shapes(1)["value"] == {"kernel": (1, 16, 1), "bias": (1, 1)}
    critic, params = ensemble
    assert losses.ensemble_values(critic.apply, params, OBSERVATIONS, ACTIONS).shape == (3, 5)


def test_ensemble_members_differ(ensemble):
    critic, params = ensemble
    values = np.asarray(losses.ensemble_values(critic.apply, params, OBSERVATIONS, ACTIONS))
    for first, second in [(0, 1), (0, 2), (1, 2)]:
        assert np.abs(values[first] - values[second]).min() > 1e-4


def test_each_member_is_the_single_critic_with_its_parameters(ensemble):
    critic, params = ensemble
    values = losses.ensemble_values(critic.apply, params, OBSERVATIONS, ACTIONS)
    gradients = losses.action_gradient(critic.apply, params, OBSERVATIONS, ACTIONS)
    alone = jax.jit(jax.vmap(jax.value_and_grad(critic.apply, argnums=2), in_axes=(None, 0, 0)))
    for member in range(3):
        single = jax.tree.map(lambda leaf, member=member: leaf[member], params)
        value, gradient = alone(single, OBSERVATIONS, ACTIONS)
        np.testing.assert_allclose(values[member], value, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradients[member], gradient, rtol=1e-4, atol=1e-5)


def test_layer_norm_bounds_the_critic_far_away(ensemble):
    critic, params = ensemble
    far = jnp.full((5, 2), 1e6)
    assert np.abs(losses.ensemble_values(critic.apply, params, OBSERVATIONS, far)).max() < 50.0
    # The same parameters without the normalisation grow with the action.
    bare = critic.clone(layer_norm=False)
    assert np.abs(losses.ensemble_values(bare.apply, params, OBSERVATIONS, far)).max() > 1e4


def test_policy_starts_near_the_middle_and_its_mode_is_the_tanh(actor):
    actor, params = actor
    mean, log_std = actor.apply(params, OBSERVATIONS)
    assert np.abs(mean).max() < 0.2
    assert np.abs(log_std).max() < 0.2
    points = jnp.array([[-20.0, 0.0], [0.5, 20.0]])
    np.testing.assert_allclose(tanh_normal.mode(points), [[-1.0, 0.0], [0.46211716, 1.0]], rtol=1e-6)
    sampled, _ = tanh_normal.sample_and_log_prob(mean, jnp.full_like(mean, -10.0), jax.random.key(0))
    np.testing.assert_allclose(sampled, tanh_normal.mode(mean), atol=1e-3)


def test_log_spread_is_clipped(actor):
    actor, params = actor
    for bias, expected in [(100.0, 2.0), (-100.0, -10.0)]:
        head = params["params"]["log_std"] | {"bias": jnp.full((2,), bias)}
        moved = {"params": params["params"] | {"log_std": head}}
        np.testing.assert_array_equal(actor.apply(moved, OBSERVATIONS)[1], expected)


def test_denoiser_starts_at_zero_and_tells_levels_apart_once_it_moves():
    denoiser = Denoiser(2, (16, 16))
    params = jax.jit(denoiser.init)(jax.random.key(0), ACTIONS, OBSERVATIONS, LOG_SNR)
    np.testing.assert_array_equal(denoiser.apply(params, ACTIONS, OBSERVATIONS, LOG_SNR), 0.0)
    params["params"]["noise"]["kernel"] = jnp.ones((16, 2))
    levels = jnp.linspace(-1.0, 6.0, 8)
    same = jnp.ones((8, 2)), jnp.ones((8, 3))
    predicted = np.asarray(denoiser.apply(params, *same, levels))[:, 0]
    assert np.abs(np.subtract.outer(predicted, predicted))[~np.eye(8, dtype=bool)].min() > 1e-3


def linear_actor(params, observations):
    return observations @ params, jnp.zeros((*observations.shape[:-1], params.shape[-1]))


def linear_critic(params, observations, actions):
    return actions @ params


def linear_value(params, observations):
    return observations @ params


def no_noise(params, points, observations, log_snr):
    return jnp.zeros_like(points)


KEY = jax.random.key(0)
VECTOR, MATRIX = jnp.zeros(5), jnp.zeros((5, 2))
ENSEMBLE, POLICY = jnp.zeros((2, 2)), jnp.zeros((3, 2))
PROPOSALS = losses.Proposals(*(jnp.zeros(shape) for shape in ((5, 4, 2), (5, 4, 2), (5, 4), (5, 4, 2), (5, 4))))
WRONG_RANKS = {
    "td_error: targets of shape (B, 1) would broadcast": lambda: losses.td_error(
        linear_critic, ENSEMBLE, OBSERVATIONS, ACTIONS, VECTOR[:, None]
    ),
    "td_error: targets by member": lambda: losses.td_error(
        linear_critic, ENSEMBLE, OBSERVATIONS, ACTIONS, jnp.zeros((2, 5))
    ),
    "td_error: targets of another batch": lambda: losses.td_error(
        linear_critic, ENSEMBLE, OBSERVATIONS, ACTIONS, jnp.zeros(1)
    ),
    "td_target: values without a member axis": lambda: losses.td_target(VECTOR, VECTOR, VECTOR, 0.9),
    "td_target: rewards of shape (B, 1)": lambda: losses.td_target(VECTOR[:, None], VECTOR, jnp.zeros((2, 5)), 0.9),
    "td_target: log-probabilities by dimension": lambda: losses.td_target(
        VECTOR, VECTOR, jnp.zeros((2, 5)), 0.9, next_log_probs=MATRIX
    ),
    "penalty: weights of shape (B, 1)": lambda: losses.score_matching_penalty(
        linear_critic, ENSEMBLE, OBSERVATIONS, MATRIX, MATRIX, VECTOR[:, None], jnp.asarray(1.0)
    ),
    "penalty: scores of another dimension": lambda: losses.score_matching_penalty(
        linear_critic, ENSEMBLE, OBSERVATIONS, MATRIX, MATRIX[:, :1], VECTOR, jnp.asarray(1.0)
    ),
    "add_noise: levels of shape (B, 1)": lambda: losses.add_noise(MATRIX, MATRIX, VECTOR[:, None]),
    "denoising: one action without a batch": lambda: losses.denoising_score_matching(
        no_noise, {}, OBSERVATIONS, ACTIONS[0], KEY
    ),
    "cloning: actions of another dimension": lambda: losses.behavior_cloning(
        linear_actor, POLICY, OBSERVATIONS, ACTIONS[:, :1]
    ),
    "actor: one observation without a batch": lambda: losses.td3_actor(
        linear_actor, POLICY, linear_critic, ENSEMBLE, OBSERVATIONS[0]
    ),
    "value: action values of shape (B, 1)": lambda: losses.expectile_value(
        linear_value, jnp.zeros(3), OBSERVATIONS, VECTOR[:, None]
    ),
    "value: action values by member": lambda: losses.expectile_value(linear_value, jnp.zeros(3), OBSERVATIONS, MATRIX),
    "weighted imitation: advantages of shape (B, 1)": lambda: losses.advantage_weighted_actor(
        linear_actor, POLICY, OBSERVATIONS, ACTIONS, VECTOR[:, None]
    ),
    "conservative: proposals of unequal number": lambda: losses.cql_penalty(
        linear_critic, ENSEMBLE, OBSERVATIONS, ACTIONS, PROPOSALS._replace(random=jnp.zeros((5, 3, 2)))
    ),
    "conservative: densities by dimension": lambda: losses.cql_penalty(
        linear_critic,
        ENSEMBLE,
        OBSERVATIONS,
        ACTIONS,
        PROPOSALS._replace(policy_log_probs=PROPOSALS.policy),
    ),
    "conservative: bounds of shape (B, 1)": lambda: losses.cql_penalty(
        linear_critic, ENSEMBLE, OBSERVATIONS, ACTIONS, PROPOSALS, lower_bounds=VECTOR[:, None]
    ),
    "multiplier: gap by row": lambda: losses.gap_multiplier(jnp.asarray(0.0), VECTOR, 1.0),
    "temperature: entropy by row": lambda: losses.temperature(jnp.asarray(0.0), VECTOR, -1.0),
}


@pytest.mark.parametrize("name", WRONG_RANKS)
def test_losses_refuse_wrong_shapes(name):
    with pytest.raises(AssertionError):
        WRONG_RANKS[name]()
