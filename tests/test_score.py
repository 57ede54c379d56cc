import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from smac_jax import losses
from smac_jax.networks import Denoiser

MEAN_WEIGHTS = jnp.array([[1.0, -0.6], [0.5, 0.9]])
SPREAD = 0.25
MIN_LOG_SNR, MAX_LOG_SNR = -1.0, 6.0
STEPS = 1500


def data_mean(observations):
    return 0.5 * jnp.tanh(observations @ MEAN_WEIGHTS)


def sample_data(key, size):
    observation_key, action_key = jax.random.split(key)
    observations = jax.random.normal(observation_key, (size, 2))
    actions = data_mean(observations) + SPREAD * jax.random.normal(action_key, (size, 2))
    return observations, actions


def analytic_score(points, observations, log_snr, mean=data_mean, spread=SPREAD):
    signal = jax.nn.sigmoid(log_snr)[:, None]
    variance = signal * spread**2 + 1.0 - signal
    return -(points - jnp.sqrt(signal) * mean(observations)) / variance


@pytest.fixture(scope="module")
def fitted_denoiser():
    denoiser = Denoiser(action_dim=2, hidden_dims=(64, 64))
    observations, actions = sample_data(jax.random.key(0), 1)
    params = jax.jit(denoiser.init)(jax.random.key(1), actions, observations, jnp.zeros((1,)))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, STEPS))

    def update(carry, key):
        params, state = carry
        data_key, loss_key = jax.random.split(key)
        observations, actions = sample_data(data_key, 512)
        (_, info), gradients = jax.value_and_grad(
            lambda params: losses.denoising_score_matching(
                denoiser.apply,
                params,
                observations,
                actions,
                loss_key,
                min_log_snr=MIN_LOG_SNR,
                max_log_snr=MAX_LOG_SNR,
            ),
            has_aux=True,
        )(params)
        updates, state = optimizer.update(gradients, state)
        return (optax.apply_updates(params, updates), state), info["denoiser_loss"]

    keys = jax.random.split(jax.random.key(2), STEPS)
    (params, _), history = jax.jit(lambda carry: jax.lax.scan(update, carry, keys))((params, optimizer.init(params)))
    return denoiser.apply, params, np.asarray(history)


def test_add_noise_mixes_by_variance():
    actions = jnp.array([[1.0, -2.0], [0.5, 0.0], [0.3, 0.7]])
    noise = jnp.array([[0.5, 0.5], [-1.0, 2.0], [3.0, -4.0]])
    # abar = 0.8, 0.5 and 0.2
    log_snr = jnp.log(jnp.array([4.0, 1.0, 0.25]))
    expected = np.sqrt([[0.8], [0.5], [0.2]]) * np.asarray(actions) + np.sqrt([[0.2], [0.5], [0.8]]) * np.asarray(noise)
    np.testing.assert_allclose(losses.add_noise(actions, noise, log_snr), expected, rtol=1e-6)


def test_add_noise_reaches_both_ends():
    actions, noise = jnp.array([[0.4, -0.4]]), jnp.array([[1.0, 2.0]])
    np.testing.assert_allclose(losses.add_noise(actions, noise, jnp.array([40.0])), actions, atol=1e-6)
    np.testing.assert_allclose(losses.add_noise(actions, noise, jnp.array([-40.0])), noise, atol=1e-6)


def test_noise_to_score_divides_by_the_noise_scale():
    noise = jnp.array([[1.0, -2.0], [0.5, 3.0]])
    log_snr = jnp.log(jnp.array([3.0, 0.5625]))  # 1 - abar = 0.25 and 0.64
    expected = [[-2.0, 4.0], [-0.625, -3.75]]
    np.testing.assert_allclose(losses.noise_to_score(noise, log_snr), expected, rtol=1e-6)


def test_log_snr_is_uniform_between_its_bounds():
    levels = np.asarray(losses.sample_log_snr(jax.random.key(0), 20000, -1.0, 6.0))
    assert levels.min() >= -1.0
    assert levels.max() <= 6.0
    np.testing.assert_allclose(np.quantile(levels, [0.1, 0.5, 0.9]), [-0.3, 2.5, 5.3], atol=0.12)


def test_denoising_loss_sums_over_dimensions_and_averages_over_the_batch():
    observations, actions = sample_data(jax.random.key(0), 20000)
    zero = lambda params, points, observations, log_snr: jnp.zeros_like(points)  # noqa: E731
    loss, info = losses.denoising_score_matching(zero, {}, observations, actions, jax.random.key(1))
    # E||e||^2 is the number of dimensions.
    np.testing.assert_allclose(loss, 2.0, rtol=0.03)
    np.testing.assert_allclose(info["denoiser_loss"], loss)


def test_fitting_reaches_the_irreducible_loss(fitted_denoiser):
    _, _, history = fitted_denoiser
    levels = np.linspace(MIN_LOG_SNR, MAX_LOG_SNR, 1001)
    signal = 1.0 / (1.0 + np.exp(-levels))
    # Var(e | z) a dimension of jointly Gaussian e and z.
    irreducible = 2.0 * np.mean(signal * SPREAD**2 / (signal * SPREAD**2 + 1.0 - signal))
    np.testing.assert_allclose(history[-300:].mean(), irreducible, rtol=0.03)


# The cleanest level itself is left out: the noise is hardly predictable there, so a short fit gets its scale wrong.
@pytest.mark.parametrize("level", [-1.0, 0.5, 2.0, 3.5, 5.0, 5.5])
def test_fitted_score_equals_the_gaussian_score(fitted_denoiser, level):
    denoiser_apply, params, _ = fitted_denoiser
    data_key, noise_key = jax.random.split(jax.random.key(7))
    observations, actions = sample_data(data_key, 4000)
    log_snr = jnp.full((4000,), level)
    points = losses.add_noise(actions, jax.random.normal(noise_key, actions.shape), log_snr)
    score = np.ravel(losses.noise_to_score(denoiser_apply(params, points, observations, log_snr), log_snr))
    truth = np.ravel(analytic_score(points, observations, log_snr))
    cosine = score @ truth / (np.linalg.norm(score) * np.linalg.norm(truth))
    slope = score @ truth / (truth @ truth)
    assert cosine > 0.95
    assert 0.9 < slope < 1.1


def test_fitted_score_follows_the_observation(fitted_denoiser):
    denoiser_apply, params, _ = fitted_denoiser
    observations = jax.random.normal(jax.random.key(8), (2000, 2))
    log_snr = jnp.full((2000,), 2.0)
    # At one and the same point, only the observation tells where the data lie.
    points = jnp.zeros((2000, 2))
    score = np.asarray(losses.noise_to_score(denoiser_apply(params, points, observations, log_snr), log_snr))
    truth = np.asarray(analytic_score(points, observations, log_snr))
    assert np.corrcoef(score.ravel(), truth.ravel())[0, 1] > 0.97


def point_policy(params, observations):
    mean = jnp.broadcast_to(params, (observations.shape[0], params.shape[0]))
    return mean, jnp.full_like(mean, -10.0)


def perfect_denoiser(params, points, observations, log_snr):
    score = analytic_score(points, observations, log_snr, mean=lambda _: params)
    return -jnp.sqrt(jax.nn.sigmoid(-log_snr))[:, None] * score


def distillation_gradient(action, mean, size=20000, **levels):
    def loss(params):
        return losses.score_distillation(
            point_policy, params, perfect_denoiser, mean, jnp.zeros((size, 1)), jax.random.key(3), **levels
        )[0]

    return np.asarray(jax.grad(loss)(jnp.arctanh(action)))


@pytest.mark.parametrize("levels", [{}, {"min_log_snr": 1.0, "max_log_snr": 3.0}])
def test_score_distillation_gradient_equals_its_expectation(levels):
    action, mean = jnp.array([0.6, -0.3]), jnp.array([0.1, 0.4])
    low, high = levels.get("min_log_snr", -1.0), levels.get("max_log_snr", 6.0)
    signal = 1.0 / (1.0 + np.exp(-np.linspace(low, high, 2001)))
    # E[w (eps - e)] with w = 1 - abar and E[eps] = sqrt(abar (1 - abar)) (a - m) / variance.
    pull = np.mean((1 - signal) * np.sqrt(signal * (1 - signal)) / (signal * SPREAD**2 + 1 - signal))
    expected = pull * np.asarray(action - mean) * (1.0 - np.asarray(action) ** 2)
    np.testing.assert_allclose(distillation_gradient(action, mean, **levels), expected, atol=0.01)


def test_score_distillation_descends_to_the_data_and_rests_there():
    mean = jnp.array([0.1, 0.4])
    descent = -distillation_gradient(jnp.array([0.6, -0.3]), mean)
    assert descent[0] < -0.05
    assert descent[1] > 0.05
    np.testing.assert_allclose(distillation_gradient(mean, mean), 0.0, atol=0.01)


def test_score_distillation_leaves_the_denoiser_alone():
    def loss(denoiser_params):
        return losses.score_distillation(
            point_policy,
            jnp.array([0.5, 0.5]),
            perfect_denoiser,
            denoiser_params,
            jnp.zeros((8, 1)),
            jax.random.key(0),
        )[0]

    np.testing.assert_array_equal(jax.grad(loss)(jnp.array([0.1, 0.4])), 0.0)
