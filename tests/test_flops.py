import dataclasses
import math
import re

import jax
import jax.numpy as jnp
import pytest

from launch.session import make_agents, make_terms
from launch.speed import METHODS, our_worker
from launch.speed_worker import make_config, sizes_of
from smac_jax.agent import Standardizer, algorithms, step
from smac_jax.speed.data import ACTION_DIM, OBSERVATION_DIM
from smac_jax.speed.flops import Sizes, flops_by_term, optimizer_flops, update_flops
from smac_jax.types import Batch, Lookahead

DIMS = OBSERVATION_DIM, ACTION_DIM


def compile_step(config):
    """The compiled step of one seed, without running anything."""
    standardizer = Standardizer(jnp.zeros(OBSERVATION_DIM), jnp.ones(OBSERVATION_DIM))
    state = jax.eval_shape(lambda: make_agents(config, [0], DIMS, standardizer))
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), state)
    state = state.replace(step=jnp.zeros((), jnp.int32), standardizer=standardizer)
    rows = config.batch_size
    observations, actions = ((rows, size) for size in DIMS)
    shapes = (observations, actions, (rows,), (rows,), observations, (rows,))
    arrays = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    chosen = make_terms(config)
    ahead = Lookahead(arrays[2], arrays[3], arrays[0]) if chosen.lookahead > 1 else None
    batch = Batch(*arrays, lookahead=ahead, later_actions=arrays[1] if chosen.lead > 0 else None)
    return (
        jax.jit(lambda state, batch, key: step(state, batch, key, chosen))
        .lower(state, batch, jax.random.key(0))
        .compile()
    )


def matrix_products(compiled):
    """Operations of all matrix products in a compiled program, each branch counted."""
    lines = [
        re.match(r"\s*(?:ROOT )?(%\S+) = \w+\[([\d,]*)\]\S* (.*)", line) for line in compiled.as_text().splitlines()
    ]
    shapes = {line[1]: [int(size) for size in line[2].split(",") if size] for line in lines if line}
    total = 0
    for line in lines:
        if line and line[3].startswith("dot("):
            left = shapes[re.search(r"%[\w.\-]+", line[3])[0]]
            axes = re.search(r"lhs_contracting_dims=\{([\d,]+)\}", line[3])[1]
            total += 2 * math.prod(shapes[line[1]]) * math.prod(left[int(axis)] for axis in axes.split(","))
    return total


SMALL = {"hidden_dims": (24,), "batch_size": 8}
# Points at the policy, a share of the batch, no second derivative, distillation; one more layer and many critics.
OVERRIDES = {
    "terms.score_penalty.batch_fraction": 0.5,
    "terms.score_penalty.policy_fraction": 0.5,
    "terms.denoising.batch_fraction": 0.25,
    "terms.score_distillation.weight": 1.0,
    "network.critic_layer_norm": False,
}
# As SMAC's critics are where its score is built in.
BUILT_IN = {
    "network.critic_anchored": True,
    "network.critic_dueling": True,
    "network.critic_advantage_width": 0.5,
}
# A batch that CQL's blocks do not divide: of a loop over them the text of the program would hold one turn.
WHOLE = {"batch_size": 48}
CASES = {
    **{method: (method, WHOLE if method in ("cql", "calql") else {}) for method in METHODS},
    "bc": ("bc", SMALL),
    "muon": ("smac", {**SMALL, "optimizer": "muon"}),
    "all at once": ("smac_paper", {"hidden_dims": (24, 16, 8), "batch_size": 8, "critics": 10, "overrides": OVERRIDES}),
    "whole advantages": ("smac", {**SMALL, "overrides": {"network.critic_advantage_width": 1.0}}),
    "sac on an anchor": ("sac", {**SMALL, "overrides": BUILT_IN | {"terms.sac_actor.antithetic": True}}),
    "td3 on an anchor": ("td3", {**SMALL, "overrides": BUILT_IN}),
    "value of one-step targets": ("iql", {**SMALL, "overrides": {"terms.value.target": "td"}}),
    "value of several steps": ("smac", {**SMALL, "overrides": {"terms.value.steps": 5}}),
    "opposite samples": ("sac", {**SMALL, "overrides": {"terms.sac_actor.antithetic": True}}),
    "target of two critics": ("sac", {**SMALL, "critics": 5, "overrides": {"terms.td.subset": 2}}),
}


@pytest.mark.parametrize("name", CASES)
def test_count_equals_the_matrix_products_that_xla_makes(name):
    method, changes = CASES[name]
    config = make_config(our_worker(method=method, **changes).row)
    # The text of the program holds the delayed updates in full.
    chosen, sizes = dataclasses.replace(make_terms(config), policy_delay=1), sizes_of(config)
    compiled = compile_step(config)
    products = matrix_products(compiled)
    if not products:
        pytest.skip("this XLA does not write its matrix products as dot")
    count = update_flops(chosen, sizes)
    assert count + (optimizer_flops(chosen, sizes) if name == "muon" else 0) == products
    if not changes:
        # XLA's own count holds element-wise work too: at 256x256 and a batch of 256 less than a twelfth.
        assert 1.0 < compiled.cost_analysis()["flops"] / count < 1.08


def test_xlas_own_count_comes_closer_with_wider_networks():
    excess = []
    for widths in ((32, 32), (512, 512)):
        config = make_config(our_worker(method="sac", hidden_dims=widths).row)
        count = compile_step(config).cost_analysis()["flops"]
        excess.append(count / update_flops(make_terms(config), sizes_of(config)) - 1)
    assert 0 < excess[1] < 0.03 < excess[0] < 0.5


def test_count_of_a_tiny_sac_by_hand():
    sizes = Sizes(observation_dim=3, action_dim=2, hidden_dims=(4,), critics=1, batch_size=5)
    # Multiply-adds of a point: actor 3x4 and two heads of 4x2, critic 5x4 and 4x1.
    actor, critic = 12 + 16, 20 + 4
    assert flops_by_term(algorithms.sac(), sizes) == {
        # Target, error, and the gradient of both kernels; the hidden layer's gradient is element-wise.
        "td": 2 * 5 * (critic + critic + critic),
        "next actions": 2 * 5 * actor,
        # Both heads send gradients to the hidden layer; the critic sends one through it to the actions.
        "sac_actor": 2 * 5 * (critic + 20 + actor + 16),
        "actions": 2 * 5 * actor,
    }


def test_delayed_updates_count_by_their_share():
    sizes = Sizes(3, 2, (4,), 2, 5)
    every, rare = (flops_by_term(algorithms.td3(policy_delay=delay), sizes) for delay in (1, 4))
    assert every["td"] == rare["td"]
    assert every["td3_actor"] == 4 * rare["td3_actor"]


def test_muon_by_hand():
    sizes = Sizes(observation_dim=3, action_dim=2, hidden_dims=(4,), critics=2, batch_size=5)
    # Four iterations of 3x4 and 5x4 matrices: X X' and (..) X of m m n each, and the square of m m m.
    actor = 4 * 2 * (2 * 3 * 3 * 4 + 3**3)
    critic = 4 * 2 * (2 * 4 * 4 * 5 + 4**3)
    assert optimizer_flops(algorithms.sac(), sizes) == actor + 2 * critic
    assert optimizer_flops(algorithms.sac(), sizes, muon_every=5) == pytest.approx((actor + 2 * critic) / 5)
    # The delayed actor moves on steps 0, 2, 4, ..., of which every third orthogonalises.
    assert optimizer_flops(algorithms.td3(), sizes, muon_every=3) == pytest.approx(actor / 6 + 2 * critic / 3)
