import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agents import ACTIONS, CALQL, IQL, OBSERVATIONS, identical, make_batch, standardizer

from launch.session import log_infos
from smac_jax.agent import AgentSpec, Terms, act_seeds, algorithms, create_agents, loss_terms
from smac_jax.data.replay import create_replay, insert
from smac_jax.keys import episode_seed, fold_seeds, stream_keys
from smac_jax.training.offline import make_offline_updates
from smac_jax.training.online import make_online_updates

SEEDS = [0, 1, 2, 3]
ALGORITHMS = {
    "smac": algorithms.smac(),
    "sac": algorithms.sac(),
    "td3": algorithms.td3(),
    "td3bc": algorithms.td3bc(),
    "iql": IQL,
    "calql": CALQL,
}


def agents(seeds, optimizer="adam"):
    spec = AgentSpec(OBSERVATIONS, ACTIONS, hidden_dims=(16, 16), optimizer=optimizer, value=True, target_actor=True)
    return create_agents(spec, stream_keys(seeds, "init"), standardizer())


def filled_replay(seeds, rows=20):
    replay = create_replay(len(seeds), 32, OBSERVATIONS, ACTIONS)
    for row in range(rows):
        batches = [make_batch(1000 * seed + row, rows=1) for seed in seeds]
        replay = insert(replay, jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *batches))
    return replay


def seed_of(tree, index):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def assert_seed_alone(together, alone, index):
    for name in ("actor", "critic", "target_critic", "temperature", "denoiser", "value", "multiplier"):
        mine, its = seed_of(getattr(together, name), index), seed_of(getattr(alone, name), 0)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), mine, its)


@pytest.mark.parametrize(
    ("algorithm", "optimizer"), [("smac", "muon"), ("sac", "adam"), ("td3", "adam"), ("iql", "adam"), ("calql", "adam")]
)
def test_offline_seed_in_company_equals_seed_alone(algorithm, optimizer):
    run = make_offline_updates(ALGORITHMS[algorithm], 8, 5)
    data = make_batch(9, rows=50)
    together, infos = run(agents(SEEDS, optimizer), stream_keys(SEEDS, "update"), data)
    alone, info = run(agents(SEEDS[2:3], optimizer), stream_keys(SEEDS[2:3], "update"), data)
    assert_seed_alone(together, alone, 2)
    np.testing.assert_allclose(infos["td_loss"][2], info["td_loss"][0], rtol=1e-3)
    assert len({float(loss) for loss in infos["td_loss"]}) == len(SEEDS)


@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_online_seed_in_company_equals_seed_alone(algorithm):
    run = make_online_updates(ALGORITHMS[algorithm], 8, 0.5, 3)
    data = make_batch(9, rows=50)

    def train(seeds):
        state, replay, keys = agents(seeds), filled_replay(seeds), stream_keys(seeds, "update")
        for _ in range(2):
            state, _ = run(state, replay, keys, data)
        observations = jnp.ones((len(seeds), 4, OBSERVATIONS))
        return state, act_seeds(state, observations, fold_seeds(stream_keys(seeds, "act"), 7))

    (together, actions), (alone, action) = train(SEEDS), train(SEEDS[2:3])
    assert_seed_alone(together, alone, 2)
    np.testing.assert_allclose(actions[2], action[0], atol=1e-5)


def test_updates_do_not_depend_on_where_calls_begin():
    data, keys = make_batch(9, rows=50), stream_keys(SEEDS, "update")
    whole, _ = make_offline_updates(algorithms.smac(), 8, 6)(agents(SEEDS), keys, data)
    half = make_offline_updates(algorithms.smac(), 8, 3)
    parts, _ = half(agents(SEEDS), keys, data)
    parts, _ = half(parts, keys, data)
    assert identical(whole, parts)


@pytest.mark.parametrize("algorithm", ["smac", "td3bc", "iql", "calql"])
def test_one_compilation_a_phase(algorithm):
    data, keys = make_batch(9, rows=50), stream_keys(SEEDS, "update")
    offline, state = make_offline_updates(ALGORITHMS[algorithm], 8, 5), agents(SEEDS)
    online, replay = make_online_updates(ALGORITHMS[algorithm], 8, 0.5, 1), filled_replay(SEEDS)
    for _ in range(3):
        state, _ = offline(state, keys, data)
    for _ in range(3):
        state, _ = online(state, replay, keys, data)
    assert offline._cache_size() == 1
    assert online._cache_size() == 1


def test_state_is_donated():
    state = agents(SEEDS)
    kernel = state.critic.params["params"]["mlp"]["hidden_0"]["kernel"]
    make_offline_updates(algorithms.smac(), 8, 2)(state, stream_keys(SEEDS, "update"), make_batch(9, rows=50))
    assert kernel.is_deleted()


def test_delayed_updates_stay_a_branch_under_the_seed_axis():
    # A selection would compute the skipped update and throw it away.
    run = make_offline_updates(algorithms.td3(), 8, 2)
    program = str(jax.make_jaxpr(run)(agents(SEEDS), stream_keys(SEEDS, "update"), make_batch(9, rows=50)))
    assert "cond[" in program


class Rows:
    """A logger that remembers what it is given."""

    def __init__(self):
        self.rows = []

    def train(self, step, infos):
        self.rows.append((step, infos))


def test_windows_of_skipped_updates_alone_are_no_divergence():
    run, state, logger = make_offline_updates(algorithms.td3(), 8, 1), agents([0, 1]), Rows()
    for step in range(1, 5):
        state, info = run(state, stream_keys([0, 1], "update"), make_batch(9, rows=50))
        log_infos(logger, step, [info])
    blank = [bool(np.isnan(infos["actor_loss"]).all()) for _, infos in logger.rows]
    assert blank == [False, True, False, True]
    assert all(np.isfinite(infos["td_loss"]).all() for _, infos in logger.rows)


@pytest.mark.parametrize("algorithm", ["sac", "td3"])
def test_divergence_is_not_averaged_away(algorithm):
    data = make_batch(9, rows=200)
    # Seen after some 25 updates of the hundred.
    data = data._replace(rewards=data.rewards.at[3].set(jnp.nan))
    _, info = make_offline_updates(ALGORITHMS[algorithm], 8, 100)(agents([0, 1]), stream_keys([0, 1], "update"), data)
    with pytest.raises(FloatingPointError, match="training diverged"):
        log_infos(Rows(), 100, [info])


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.5, 4), (1.0, 8)])
def test_online_batches_mix_offline_and_online_data(fraction, expected):
    data = make_batch(9, rows=50)._replace(rewards=jnp.full(50, 1000.0))
    replay = filled_replay([0])
    replay = replay._replace(data=replay.data._replace(rewards=jnp.zeros_like(replay.data.rewards)))
    terms = Terms(discount=0.0, td=loss_terms.TDTerm(soft=False))
    _, info = make_online_updates(terms, 8, fraction, 1)(agents([0]), replay, stream_keys([0], "update"), data)
    assert float(info["td_target"][0]) == pytest.approx(1000.0 * expected / 8)


def test_update_to_data_ratio_counts_updates():
    run = make_online_updates(algorithms.sac(), 8, 0.5, 5)
    state, _ = run(agents([0]), filled_replay([0]), stream_keys([0], "update"), make_batch(9, rows=50))
    assert int(state.step) == 5


def test_streams_and_episode_seeds_are_distinct():
    keys = [jax.random.key_data(stream_keys([0, 1], name)) for name in ("init", "update", "act")]
    assert len({tuple(np.asarray(key).tolist()) for pair in keys for key in pair}) == 6
    seeds = {
        episode_seed(seed, stream, counter)
        for seed in range(3)
        for stream in ("train", "evaluation", "record")
        for counter in range(20)
    }
    assert len(seeds) == 180
