import jax
import jax.numpy as jnp
import numpy as np
import pytest

from smac_jax import losses
from smac_jax.networks import tanh_normal

ACTOR = {"weight": jnp.array([[0.5, -0.2], [0.1, 0.3]]), "log_std": jnp.array([-0.5, -1.0])}
OBSERVATIONS = jnp.array([[1.0, 0.5], [-1.0, 2.0], [0.2, -0.7]])
# Two critics o . w + a . v; the first is lower at some of the rows only, so that min, mean and first all differ.
CRITICS = {"w": jnp.array([[2.0, 1.0], [-1.0, 1.0]]), "v": jnp.array([[1.0, -1.0], [0.5, 2.0]])}
TEMPERATURE = jnp.asarray(0.3)
REDUCTIONS = {
    "min": lambda values: values.min(axis=0),
    "mean": lambda values: values.mean(axis=0),
    "first": lambda values: values[0],
}


def actor(params, observations):
    mean = observations @ params["weight"]
    return mean, jnp.broadcast_to(params["log_std"], mean.shape)


def critic(params, observations, actions):
    return observations @ params["w"] + actions @ params["v"]


def critic_values(actions):
    return np.stack(
        [np.asarray(OBSERVATIONS) @ w + actions @ v for w, v in zip(CRITICS["w"], CRITICS["v"], strict=True)]
    )


def closed_form_log_prob(mean, log_std, actions):
    mean, log_std, actions = (np.asarray(array, np.float64) for array in (mean, log_std, actions))
    x = np.arctanh(actions)
    gaussian = -0.5 * ((x - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    return np.sum(gaussian - np.log(1.0 - actions**2), axis=-1)


def sampled_by_hand(key, sign=1.0):
    mean, log_std = (np.asarray(array, np.float64) for array in actor(ACTOR, OBSERVATIONS))
    x = mean + sign * np.exp(log_std) * np.asarray(jax.random.normal(key, mean.shape))
    return np.tanh(x), closed_form_log_prob(mean, log_std, np.tanh(x))


@pytest.mark.parametrize(("mean", "log_std"), [(0.3, -0.5), (-0.8, -1.5), (0.0, 0.0), (0.5, -2.5)])
def test_density_integrates_to_one(mean, log_std):
    grid = np.linspace(-1.0, 1.0, 40001)[1:-1]
    actions = jnp.asarray(grid, jnp.float32)[:, None]
    density = np.exp(tanh_normal.log_prob(jnp.full_like(actions, mean), jnp.full_like(actions, log_std), actions))
    np.testing.assert_allclose(np.trapezoid(density, grid), 1.0, atol=2e-3)


def test_log_prob_equals_the_change_of_variables():
    rng = np.random.default_rng(0)
    mean, log_std = rng.normal(size=(50, 3)), rng.uniform(-2.0, 0.5, size=(50, 3))
    actions = rng.uniform(-0.99, 0.99, size=(50, 3))
    result = tanh_normal.log_prob(*(jnp.asarray(array, jnp.float32) for array in (mean, log_std, actions)))
    assert result.shape == (50,)
    np.testing.assert_allclose(result, closed_form_log_prob(mean, log_std, actions), rtol=1e-3, atol=1e-3)


def test_sample_and_log_prob_agree_with_log_prob():
    mean = jnp.array([[0.2, -0.5], [0.0, 0.8]])
    log_std = jnp.array([[-1.0, -0.3], [0.2, -2.0]])
    actions, log_probs = tanh_normal.sample_and_log_prob(mean, log_std, jax.random.key(0))
    assert np.abs(actions).max() < 1.0
    np.testing.assert_allclose(log_probs, tanh_normal.log_prob(mean, log_std, actions), rtol=1e-3, atol=1e-3)


def test_samples_have_the_gaussian_before_the_tanh():
    mean, log_std = jnp.full((20000, 2), 0.4), jnp.broadcast_to(jnp.array([-1.0, -0.5]), (20000, 2))
    actions, log_probs = tanh_normal.sample_and_log_prob(mean, log_std, jax.random.key(0))
    x = np.arctanh(np.asarray(actions))
    np.testing.assert_allclose(x.mean(axis=0), 0.4, atol=0.02)
    np.testing.assert_allclose(x.std(axis=0), np.exp([-1.0, -0.5]), rtol=0.03)
    # Entropy of tanh(x) is that of x plus E log(1 - tanh(x)^2).
    entropy = np.sum(0.5 * np.log(2 * np.pi * np.e) + np.array([-1.0, -0.5]) + np.log(1 - np.tanh(x) ** 2).mean(axis=0))
    np.testing.assert_allclose(-log_probs.mean(), entropy, atol=0.03)


def test_log_prob_is_finite_where_the_tanh_saturates():
    edge = jnp.array([[1.0, -1.0]])
    assert np.isfinite(tanh_normal.log_prob(jnp.zeros((1, 2)), jnp.zeros((1, 2)), edge)).all()
    _, log_probs = tanh_normal.sample_and_log_prob(jnp.full((1, 2), 30.0), jnp.zeros((1, 2)), jax.random.key(0))
    assert np.isfinite(log_probs).all()


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_sac_actor_by_hand(reduction):
    key = jax.random.key(5)
    loss, info = losses.sac_actor(actor, ACTOR, critic, CRITICS, OBSERVATIONS, TEMPERATURE, key, reduction=reduction)
    actions, log_probs = sampled_by_hand(key)
    values = REDUCTIONS[reduction](critic_values(actions))
    np.testing.assert_allclose(loss, np.mean(0.3 * log_probs - values), rtol=1e-4)
    np.testing.assert_allclose(info["sac_actor_loss"], loss)
    np.testing.assert_allclose(info["entropy"], -log_probs.mean(), rtol=1e-4)
    np.testing.assert_allclose(info["q_policy"], values.mean(), rtol=1e-4)


def test_sac_actor_of_opposite_samples_by_hand():
    key = jax.random.key(5)
    loss, info = losses.sac_actor(actor, ACTOR, critic, CRITICS, OBSERVATIONS, TEMPERATURE, key, antithetic=True)
    halves = []
    for sign in (1.0, -1.0):
        actions, log_probs = sampled_by_hand(key, sign)
        halves.append((log_probs, critic_values(actions).min(axis=0)))
    log_probs, values = np.concatenate(halves, axis=1)
    np.testing.assert_allclose(loss, np.mean(0.3 * log_probs - values), rtol=1e-4)
    np.testing.assert_allclose(info["entropy"], -log_probs.mean(), rtol=1e-4)


@pytest.mark.parametrize(("antithetic", "quiet"), [(True, True), (False, False)])
def test_opposite_samples_leave_the_mode_of_values_that_are_symmetric_around_it_alone(antithetic, quiet):
    params, ensemble = ACTOR, {"none": jnp.zeros((2, 1))}
    apply = losses.anchored_critic(
        lambda _, observations, *__: jnp.zeros(len(observations)), actor, ACTOR, jnp.float32(100.0)
    )

    def loss(params):
        return losses.sac_actor(
            actor, params, apply, ensemble, OBSERVATIONS, jnp.float32(0.0), jax.random.key(0), antithetic=antithetic
        )[0]

    gradient = np.abs(jax.grad(loss)(params)["weight"])
    assert (gradient.max() < 1e-2) == quiet, gradient


def test_reductions_differ_on_this_example():
    actions, _ = sampled_by_hand(jax.random.key(5))
    values = critic_values(actions)
    results = [reduce(values).mean() for reduce in REDUCTIONS.values()]
    assert np.ptp(results) > 0.1
    assert len({round(result, 3) for result in results}) == 3


def test_sac_actor_gradient_trades_value_against_entropy():
    # A flat critic leaves the entropy alone: its gradient widens the policy in proportion to the temperature.
    flat = jax.tree.map(jnp.zeros_like, CRITICS)

    def log_std_gradient(temperature, critics):
        loss = lambda params: losses.sac_actor(  # noqa: E731
            actor, params, critic, critics, OBSERVATIONS, temperature, jax.random.key(0)
        )[0]
        return jax.grad(loss)(ACTOR)["log_std"]

    wider = -log_std_gradient(TEMPERATURE, flat)
    assert np.all(wider > 0)
    np.testing.assert_allclose(-log_std_gradient(2 * TEMPERATURE, flat), 2 * wider, rtol=1e-5)
    assert np.linalg.norm(log_std_gradient(jnp.asarray(0.0), CRITICS)) > 0


def test_sac_actor_holds_the_temperature():
    gradient = jax.grad(
        lambda alpha: losses.sac_actor(actor, ACTOR, critic, CRITICS, OBSERVATIONS, alpha, jax.random.key(0))[0]
    )(TEMPERATURE)
    assert gradient == 0.0


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_td3_actor_by_hand(reduction, normalize):
    loss, info = losses.td3_actor(actor, ACTOR, critic, CRITICS, OBSERVATIONS, reduction=reduction, normalize=normalize)
    values = REDUCTIONS[reduction](critic_values(np.tanh(np.asarray(OBSERVATIONS @ ACTOR["weight"]))))
    scale = np.abs(values).mean() if normalize else 1.0
    np.testing.assert_allclose(loss, -values.mean() / scale, rtol=1e-4)
    np.testing.assert_allclose(info["q_policy"], values.mean(), rtol=1e-4)


def test_td3_actor_divides_its_gradient_by_a_constant_scale():
    def weight_gradient(normalize):
        loss = lambda params: losses.td3_actor(  # noqa: E731
            actor, params, critic, CRITICS, OBSERVATIONS, normalize=normalize
        )[0]
        return np.asarray(jax.grad(loss)(ACTOR)["weight"])

    actions = np.tanh(np.asarray(OBSERVATIONS @ ACTOR["weight"]))
    expected = -np.asarray(OBSERVATIONS).T @ ((1.0 - actions**2) * np.asarray(CRITICS["v"][0])) / 3.0
    np.testing.assert_allclose(weight_gradient(False), expected, rtol=1e-4)
    scale = np.abs(critic_values(actions)[0]).mean()
    np.testing.assert_allclose(weight_gradient(True), expected / scale, rtol=1e-4)


def test_behavior_cloning_by_hand():
    actions = jnp.array([[0.3, -0.9], [0.0, 0.5], [-0.2, 0.2]])
    mean, log_std = actor(ACTOR, OBSERVATIONS)
    mse, info = losses.behavior_cloning(actor, ACTOR, OBSERVATIONS, actions)
    np.testing.assert_allclose(mse, np.mean((np.tanh(np.asarray(mean)) - np.asarray(actions)) ** 2), rtol=1e-5)
    np.testing.assert_allclose(info["bc_loss"], mse)
    likelihood, _ = losses.behavior_cloning(actor, ACTOR, OBSERVATIONS, actions, loss_type="log_prob")
    np.testing.assert_allclose(likelihood, -closed_form_log_prob(mean, log_std, actions).mean(), rtol=1e-4)


@pytest.mark.parametrize("loss_type", ["mse", "log_prob"])
def test_behavior_cloning_rests_at_the_policys_own_actions(loss_type):
    def weight_gradient(actions):
        loss = lambda params: losses.behavior_cloning(  # noqa: E731
            actor, params, OBSERVATIONS, actions, loss_type=loss_type
        )[0]
        return jax.grad(loss)(ACTOR)["weight"]

    own = tanh_normal.mode(actor(ACTOR, OBSERVATIONS)[0])
    np.testing.assert_allclose(weight_gradient(own), 0.0, atol=1e-4)
    assert np.linalg.norm(weight_gradient(own - 0.1)) > 0.01


@pytest.mark.parametrize(("entropy", "sign"), [(-3.5, -1), (-0.5, 1)])
def test_temperature_gradient(entropy, sign):
    log_alpha = jnp.log(0.4)
    gradient, info = jax.grad(losses.temperature, has_aux=True)(log_alpha, jnp.asarray(entropy), -2.0)
    # Descent raises alpha where the entropy is below its target.
    assert np.sign(gradient) == sign
    np.testing.assert_allclose(gradient, 0.4 * (entropy + 2.0), rtol=1e-5)
    np.testing.assert_allclose(info["temperature"], 0.4, rtol=1e-6)
    held = jax.grad(lambda value: losses.temperature(log_alpha, value, -2.0)[0])(jnp.asarray(entropy))
    assert held == 0.0
