"""One row of `launch.speed`: a process that makes updates on request, see `smac_jax.speed.workers`.

    python -m launch.speed_worker '{"method": "smac", "optimizer": "adam", "hidden_dims": [256, 256], ...}'

The methods `sgemm` and `bfloat16` are the machine's matrix product, `penalty: FORM` is a way to the gradient of SMAC's
penalty on a whole batch; all others are our methods with their configurations for locomotion.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from configs import finetune, smac_paper
from launch.checks import check_config
from launch.session import make_agents, make_terms
from smac_jax.keys import stream_keys
from smac_jax.networks import Critic, init_ensemble
from smac_jax.sharding import replicate, seed_mesh, shard_seeds, spread_seeds
from smac_jax.speed.data import ACTION_DIM, OBSERVATION_DIM, synthetic_batch, synthetic_transitions
from smac_jax.speed.flops import Sizes, optimizer_flops, update_flops
from smac_jax.speed.machine import PRODUCTS, make_matrix_product
from smac_jax.speed.names import PENALTY
from smac_jax.speed.penalty_forms import FORMS, PenaltyPoints
from smac_jax.speed.profile import products_share
from smac_jax.speed.workers import open_channel, serve
from smac_jax.training.offline import make_offline_updates
from smac_jax.types import Params

ONLINE = ("sac", "td3")
_TASK = "locomotion"
# So many operations of each seed in one call that its start does not count, and so few that a turn holds several.
_FLOPS_PER_CALL = 16e9
_MAX_UPDATES_PER_CALL = 200
_GRADIENTS_PER_CALL = 50

Ready = tuple[dict[str, Any], Callable[[], float]]


def make_config(row: Mapping[str, Any]) -> ConfigDict:
    """The configuration of a row: that of its method with the row's sizes, optimiser and overrides."""
    method = row["method"]
    if method in ONLINE:
        # On single critics that stand on nothing, as others have them.
        config = finetune.from_checkpoint(smac_paper.get_config(_TASK), method).unlock()
    else:
        config = importlib.import_module(f"configs.{method}").get_config(_TASK)
    config.optimizer.name = row["optimizer"]
    config.network.hidden_dims = tuple(row["hidden_dims"])
    config.network.critics = row["critics"]
    config.batch_size = row["batch_size"]
    config.update_from_flattened_dict(row["overrides"])
    check_config(config)
    return config


def sizes_of(config: ConfigDict) -> Sizes:
    """What the count of operations depends on."""
    network = config.network
    curved = network.critic_layer_norm or network.activation != "relu"
    return Sizes(
        OBSERVATION_DIM,
        ACTION_DIM,
        tuple(network.hidden_dims),
        network.critics,
        config.batch_size,
        curved,
        network.critic_dueling,
        network.critic_advantage_width,
        network.critic_anchored,
    )


def prepare_updates(row: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], float], Callable[[], dict[str, Any]]]:
    """Make agents and data, compile and warm up.

    Returns:
        What to say of it, the function that makes some updates, and the one that says where their time goes.
    """
    config, seeds = make_config(row), list(range(row["seeds"]))
    terms = make_terms(config)
    mesh = seed_mesh(len(seeds))
    data = replicate(synthetic_batch(), mesh)
    dims = OBSERVATION_DIM, ACTION_DIM
    sizes = sizes_of(config)
    agents, keys = make_agents(config, seeds, dims), stream_keys(seeds, "update")
    state, keys = shard_seeds((agents, keys), mesh)
    jax.block_until_ready((state, keys, data))

    flops = update_flops(terms, sizes)
    pairs = round(_FLOPS_PER_CALL / (2 * flops))
    # Even, so that TD3's delayed updates are half of them in every call.
    count = 2 * min(max(pairs, 1), _MAX_UPDATES_PER_CALL // 2)
    start = time.perf_counter()
    updates = make_offline_updates(terms, config.batch_size, count, mesh).lower(state, keys, data).compile()
    compile_seconds = time.perf_counter() - start

    def run() -> float:
        nonlocal state
        state, infos = updates(state, keys, data)
        jax.block_until_ready((state, infos))
        return count * len(seeds)

    run()
    extra = optimizer_flops(terms, sizes, config.optimizer.muon_every) if row["optimizer"] == "muon" else 0.0

    def profile() -> dict[str, Any]:
        program = updates.as_text()
        # Operations of several threads overlap, and accelerators name theirs otherwise.
        if program is None or row["threads"] > 1 or jax.default_backend() != "cpu":
            return {"products_share": None}
        return {"products_share": products_share(program, run)}

    return {"compile_seconds": compile_seconds, "flops_per_update": flops, "optimizer_flops": extra}, run, profile


def prepare_penalty(row: Mapping[str, Any]) -> Ready:
    """Make critics and points, compile a form of `smac_jax.speed.penalty_forms`; an update is one gradient."""
    form = FORMS[row["method"].removeprefix(PENALTY)]
    data = synthetic_transitions()
    observations, actions = (jnp.asarray(data[name][: row["batch_size"]]) for name in ("observations", "actions"))
    critic = Critic(tuple(row["hidden_dims"]))
    params = init_ensemble(critic, jax.random.key(0), row["critics"], observations[:1], actions[:1])
    points = PenaltyPoints(observations, actions, actions[::-1], jnp.ones(len(actions)), jnp.float32(1.0))
    apply_fn: Callable[..., Any] = critic.apply

    def scan(params: Params, key: jax.Array) -> Params:
        def body(params: Params, key: jax.Array) -> tuple[Params, None]:
            # A gradient step, so that none of the gradients is superfluous.
            gradient = form(apply_fn, params, points, key)
            return jax.tree.map(lambda leaf, part: leaf - 1e-6 * part, params, gradient), None

        return jax.lax.scan(body, params, jax.random.split(key, _GRADIENTS_PER_CALL))[0]

    start = time.perf_counter()
    gradients = jax.jit(scan).lower(params, jax.random.key(1)).compile()
    compile_seconds = time.perf_counter() - start

    def run() -> float:
        jax.block_until_ready(gradients(params, jax.random.key(1)))
        return _GRADIENTS_PER_CALL

    run()
    return {"compile_seconds": compile_seconds, "flops_per_update": None}, run


def main() -> None:
    """Entry point."""
    row = json.loads(sys.argv[1])
    # A compilation that is read from a cache is none.
    jax.config.update("jax_enable_compilation_cache", False)
    spread_seeds(row["seeds"])
    with open_channel() as channel:
        if row["method"] in PRODUCTS:
            serve(channel, *make_matrix_product(row["method"]))
        elif row["method"].startswith(PENALTY):
            serve(channel, *prepare_penalty(row))
        else:
            serve(channel, *prepare_updates(row))


if __name__ == "__main__":
    main()
