import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from smac_jax.networks import Critic, Denoiser, TanhGaussianActor, init_ensemble
from smac_jax.optim import OPTIMIZERS, is_hidden_kernel, make_optimizer, muon_dimension_numbers, scale_where

LEARNING_RATE = 1e-2
MUON = make_optimizer("muon", LEARNING_RATE)
WIDTHS = (12, 24)
OBSERVATIONS, ACTIONS = jnp.zeros((1, 4)), jnp.zeros((1, 2))


def random_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), tree)


def make_parameters_and_gradients(*leading):
    """Random values of an ensemble's shapes, since initialising real ones takes seconds to compile."""
    shapes = jax.eval_shape(lambda: init_ensemble(Critic(WIDTHS), jax.random.key(0), 3, OBSERVATIONS, ACTIONS))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((*leading, *leaf.shape), leaf.dtype), shapes)
    return random_like(shapes, 0), [random_like(shapes, 1), random_like(shapes, 2)]


@functools.partial(jax.jit, static_argnums=0)
def run(optimizer, params, gradients):
    """Updates of consecutive gradients, so that momentum takes part."""
    state = optimizer.init(params)
    history = []
    for gradient in gradients:
        updates, state = optimizer.update(gradient, state, params)
        history.append(updates)
        params = optax.apply_updates(params, updates)
    return history


def member(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def by_path(tree):
    flat, _ = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda node: node is None or isinstance(node, contrib.MuonDimensionNumbers)
    )
    return {"/".join(entry.key for entry in path): leaf for path, leaf in flat}


def assert_trees_close(got, expected, **tolerance):
    got, expected = by_path(got), by_path(expected)
    assert got.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_allclose(got[path], leaf, err_msg=path, **tolerance)


@pytest.fixture(scope="module")
def ensemble():
    return make_parameters_and_gradients()


def test_muon_takes_exactly_the_hidden_kernels_of_an_ensemble(ensemble):
    params, _ = ensemble
    numbers, shapes = by_path(muon_dimension_numbers(params)), by_path(params)
    assert numbers.keys() == shapes.keys()
    chosen = {path for path, number in numbers.items() if number is not None}
    assert chosen == {"params/mlp/hidden_0/kernel", "params/mlp/hidden_1/kernel"}
    assert len(shapes) == 10
    for path, inputs, outputs in [("hidden_0", 6, 12), ("hidden_1", 12, 24)]:
        path = f"params/mlp/{path}/kernel"
        assert shapes[path].shape == (3, inputs, outputs)
        assert shapes[path].shape[numbers[path].reduction_axis] == inputs
        assert shapes[path].shape[numbers[path].output_axis] == outputs


def test_muon_takes_the_hidden_kernels_of_actor_and_denoiser():
    key = jax.random.key(0)
    actor = jax.eval_shape(TanhGaussianActor(2, (8,), layer_norm=True).init, key, OBSERVATIONS)
    denoiser = jax.eval_shape(Denoiser(2, (8,)).init, key, ACTIONS, OBSERVATIONS, jnp.zeros(1))
    for params in (actor, denoiser):
        chosen = {path for path, number in by_path(muon_dimension_numbers(params)).items() if number is not None}
        assert chosen == {"params/mlp/hidden_0/kernel"}


def test_scalar_parameters_are_no_hidden_kernels():
    assert not is_hidden_kernel((jax.tree_util.DictKey("log"),))
    assert not is_hidden_kernel((jax.tree_util.DictKey("kernel"),))
    assert not is_hidden_kernel((jax.tree_util.DictKey("hidden_0"), jax.tree_util.DictKey("bias")))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_chosen_parameters_may_move_by_a_share_of_the_rate(ensemble, name):
    params, gradients = ensemble
    optimizer = make_optimizer(name, LEARNING_RATE, 2)
    slow = scale_where(optimizer, 0.1, lambda path: path[-1].key == "bias")
    states = [each.init(params) for each in (optimizer, slow)]
    for index, gradient in enumerate(gradients):
        update = [
            each.update(gradient, state, params, step=jnp.int32(index))
            for each, state in zip((optimizer, slow), states, strict=True)
        ]
        states = [state for _, state in update]
        expected, got = (by_path(updates) for updates, _ in update)
        for path in expected:
            share = 0.1 if path.endswith("bias") else 1.0
            np.testing.assert_allclose(got[path], share * expected[path], rtol=1e-5, err_msg=path)
    # Either goes on from the other's state.
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_update_of_an_ensemble_is_the_update_of_each_member(ensemble, name):
    params, gradients = ensemble
    optimizer = MUON if name == "muon" else make_optimizer(name, LEARNING_RATE)
    together = run(optimizer, params, gradients)
    for index in range(3):
        alone = run(optimizer, member(params, index), [member(gradient, index) for gradient in gradients])
        for got, expected in zip(together, alone, strict=True):
            assert_trees_close(member(got, index), expected, rtol=1e-4, atol=1e-6)


def test_members_of_different_gradient_scale_do_not_mix(ensemble):
    params, gradients = ensemble
    scales = jnp.array([1.0, 100.0, 0.01])
    scaled = [
        jax.tree.map(lambda leaf: leaf * scales.reshape(3, *(1,) * (leaf.ndim - 1)), gradient) for gradient in gradients
    ]
    for got, expected in zip(run(MUON, params, scaled), run(MUON, params, gradients), strict=True):
        path = "params/mlp/hidden_1/kernel"
        np.testing.assert_allclose(by_path(got)[path], by_path(expected)[path], rtol=1e-3, atol=1e-5)


def test_update_under_a_seed_axis_is_the_update_of_each_seed():
    params, gradients = make_parameters_and_gradients(2)
    together = jax.vmap(lambda params, gradients: run(MUON, params, gradients))(params, gradients)
    for seed in range(2):
        alone = run(MUON, member(params, seed), [member(gradient, seed) for gradient in gradients])
        for got, expected in zip(together, alone, strict=True):
            assert_trees_close(member(got, seed), expected, rtol=1e-4, atol=1e-6)


def test_update_of_a_hidden_kernel_is_nearly_orthogonal_and_of_adams_size(ensemble):
    params, gradients = ensemble
    for updates in run(MUON, params, gradients):
        for layer, width in [("hidden_0", 12), ("hidden_1", 24)]:
            kernel = np.asarray(by_path(updates)[f"params/mlp/{layer}/kernel"])
            singular = np.linalg.svd(kernel, compute_uv=False) / (LEARNING_RATE * 0.2 * np.sqrt(width))
            assert singular.min() > 0.5
            assert singular.max() < 1.5
            size = np.sqrt(np.mean(kernel**2))
            np.testing.assert_allclose(size, 0.2 * LEARNING_RATE, rtol=0.3)


def test_first_muon_update_descends(ensemble):
    params, gradients = ensemble
    updates = run(MUON, params, gradients)[0]
    for path, gradient in by_path(gradients[0]).items():
        assert np.sum(np.asarray(by_path(updates)[path]) * np.asarray(gradient)) < 0.0, path


def test_other_leaves_follow_adam_with_nesterov_momentum(ensemble):
    # optax.contrib.muon hands its own nesterov=True on to Adam.
    params, gradients = ensemble
    muon = run(MUON, params, gradients)
    adam = run(optax.adam(LEARNING_RATE, nesterov=True), params, gradients)
    for got, expected in zip(muon, adam, strict=True):
        for path, leaf in by_path(got).items():
            if "hidden" in path and path.endswith("kernel"):
                assert not np.allclose(leaf, by_path(expected)[path], rtol=0.1)
            else:
                np.testing.assert_allclose(leaf, by_path(expected)[path], rtol=1e-5, atol=1e-8, err_msg=path)


@functools.partial(jax.jit, static_argnums=0)
def run_steps(optimizer, params, gradients):
    """Updates of six steps with the gradients in turn, each told its number."""
    state, history = optimizer.init(params), []
    for step in range(6):
        updates, state = optimizer.update(gradients[step % len(gradients)], state, params, step=jnp.int32(step))
        history.append(updates)
    return history


def test_rare_orthogonalisation_repeats_muons_update_and_leaves_adams_alone(ensemble):
    params, gradients = ensemble
    history = run_steps(make_optimizer("muon", LEARNING_RATE, 3), params, gradients)
    # The gradients of step 0, and of steps 1 to 3.
    means = [jax.tree.map(lambda a: a / 3, gradients[0]), jax.tree.map(lambda a, b: (a + 2 * b) / 3, *gradients)]
    expected = run(MUON, params, means)
    adam = run_steps(optax.adam(LEARNING_RATE, nesterov=True), params, gradients)
    for path in by_path(params):
        hidden = "hidden" in path and path.endswith("kernel")
        got = [by_path(updates)[path] for updates in history]
        wanted = [by_path(expected[step // 3] if hidden else adam[step])[path] for step in range(6)]
        np.testing.assert_allclose(got, wanted, rtol=2e-3 if hidden else 1e-5, atol=1e-5, err_msg=path)


def test_rare_orthogonalisation_stays_a_branch_under_a_seed_axis():
    params, gradients = make_parameters_and_gradients(2)
    optimizer = make_optimizer("muon", LEARNING_RATE, 3)
    state = jax.vmap(optimizer.init)(params)

    def update(gradient, state, params, step):
        return optimizer.update(gradient, state, params, step=step)

    mapped = jax.vmap(update, in_axes=(0, 0, 0, None))
    names = {equation.primitive.name for equation in jax.make_jaxpr(mapped)(gradients[0], state, params, 1).eqns}
    assert "cond" in names
    # All of the matrix products are inside of the branch.
    assert "dot_general" not in names
