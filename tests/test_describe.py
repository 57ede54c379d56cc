import dataclasses
import re

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from conftest import REPOSITORY
from gymnasium.envs.registration import EnvSpec
from minari.data_collector import EpisodeBuffer
from test_collector import maze_spec

from smac_jax.data.describe import describe, recorded_score
from smac_jax.data.minari_dataset import environment_spec, open_dataset, read_episodes
from smac_jax.envs.tasks import GENERIC, TASKS
from smac_jax.report.datasets import describe_text, tasks_page

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

MAZE = maze_spec(20)

# The summary in the README of the shared datasets: task, episodes, steps, lengths (min, mean, max), returns (mean, std,
# min, median, max), success, terminated and truncated.
SHARED = {
    "adroit/pen-human-v0": (
        *("adroit_binary", 25, 4975, "199 199 199", "969.1 807.2 -19.9 1515.3 1828.4", "0.68", 0, 25),
    ),
    "adroit/door-human-v0": (
        *("adroit_binary", 25, 6704, "222 268 299", "122.3 263.3 -29.9 -27.0 701.7", "0.28", 0, 25),
    ),
    "kitchen/complete-v0": ("kitchen", 24, 4566, "170 190 221", "4.00 0 4 4 4", "1.00", 24, 0),
    "kitchen/mixed-v0": ("kitchen", 48, 16756, "280 349 450", "2.65 0.56 1 3 3", "0", 0, 48),
    "antmaze/umaze-diverse-v0": ("antmaze", 150, 12876, "17 86 700", "0.967 0.18 0 1 1", "0.967", 145, 5),
    "mujoco/halfcheetah-medium-replay-v0": (
        *("locomotion", 100, 100_000, "1000 1000 1000", "1668.7 1522.4 -439.8 2042.8 3780.0", None, 0, 100),
    ),
}


def assert_prints(values, text):
    """Values agree with figures as far as these are printed."""
    for value, figure in zip(values, text.split(), strict=True):
        assert abs(value - float(figure)) <= 0.501 * 10.0 ** -len(figure.partition(".")[2]), (value, figure)


@pytest.mark.parametrize("dataset_id", SHARED)
def test_figures_of_the_shared_datasets_are_those_of_their_readme(shared_minari, monkeypatch, dataset_id):
    # The ant's body is a file whose path the specification gives relative to the project.
    monkeypatch.chdir(REPOSITORY)
    task, episodes, steps, lengths, returns, success, terminated, truncated = SHARED[dataset_id]
    found = describe(open_dataset(dataset_id))
    assert (found.dataset_id, found.task, found.episodes, found.steps) == (dataset_id, task, episodes, steps)
    assert (found.terminated, found.truncated) == (terminated, truncated)
    assert len(found.lengths) == len(found.returns) == len(found.scores) == episodes
    assert found.lengths.sum() == steps
    assert_prints((found.lengths.min(), found.lengths.mean(), found.lengths.max()), lengths)
    spread = (np.mean, np.std, np.min, np.median, np.max)
    assert_prints([figure(found.returns) for figure in spread], returns)
    if success is None:
        assert found.success is None
    else:
        assert_prints([found.success], success)
    if task in ("adroit_binary", "antmaze"):
        assert found.scores.mean() == pytest.approx(found.success)
    if task == "kitchen":
        np.testing.assert_allclose(found.scores, found.returns / 4)
    assert found.problems == ()
    assert -1.0 <= found.action_range[0] < found.action_range[1] <= 1.0


def test_environment_whose_files_are_missing_is_a_problem(shared_minari, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    found = describe(open_dataset("antmaze/umaze-diverse-v0"))
    (problem,) = found.problems
    assert "cannot make the environment AntMaze_UMaze-v5" in problem
    assert len(found.lengths) == 150


def maze_episode(rewards, terminated=False, infos=None, action=0.5):
    """An episode in the corridor that stands still."""
    steps = len(rewards)
    last = np.arange(steps) == steps - 1
    return EpisodeBuffer(
        observations={
            "observation": np.zeros((steps + 1, 4)),
            **{name: np.zeros((steps + 1, 2)) for name in ("achieved_goal", "desired_goal")},
        },
        actions=np.full((steps, 2), action, np.float32),
        rewards=np.array(rewards, np.float64),
        terminations=last & terminated,
        truncations=last & (not terminated),
        infos=infos,
    )


ARRIVAL, TIME_OUT = [0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]
NAN, CONTRADICTION = [0.0, np.nan], [0.0, 0.5]


@pytest.fixture
def create(minari_path):
    """Function that writes episodes to a Minari dataset below the test's own folder."""
    maze, env = gym.make(MAZE), gym.Env()

    def write(episodes, name="maze/new-v0", spec=MAZE, **options):
        # Minari makes what it is given a specification for, and here some cannot be made.
        env.spec = spec
        spaces = {"observation_space": maze.observation_space, "action_space": maze.action_space, **options}
        minari.create_dataset_from_buffers(name, episodes, env=env, **spaces)
        return open_dataset(name)

    return write


def edit(dataset):
    return h5py.File(dataset.storage.data_path / "main_data.hdf5", "a")


def make_empty(dataset, index):
    with edit(dataset) as file:
        group = file[f"episode_{index}"]
        for name in ("actions", "rewards", "terminations", "truncations"):
            group[name].resize(0, axis=0)


def test_description_of_a_sound_dataset(create):
    success = {"success": np.array([False, False, False, True])}
    failure = {"success": np.zeros(5, bool)}
    episodes = [
        maze_episode(ARRIVAL, terminated=True, infos=success, action=-0.25),
        maze_episode(TIME_OUT, infos=failure),
        maze_episode(TIME_OUT, infos=failure),
    ]
    found = describe(create(episodes, algorithm_name="by hand"))
    assert (found.source, found.env_id, found.task) == ("by hand", "PointMaze_Corridor-v3", "pointmaze")
    assert (found.horizon, found.episodes, found.steps) == (20, 3, 11)
    assert found.lengths.tolist() == [3, 4, 4]
    assert found.returns.tolist() == found.scores.tolist() == [1.0, 0.0, 0.0]
    # -1 a step, 0 at the goal; what follows a time-out fails for ever, as all of its steps do.
    np.testing.assert_allclose(found.values, [-1.99, -1.0, 0.0, *[-100.0] * 8])
    assert (found.terminated, found.truncated) == (1, 2)
    assert found.success == pytest.approx(1 / 3)
    assert found.action_range == (-0.25, 0.5)
    assert found.action_bounds == (-1.0, 1.0)
    assert found.convention == "1 at the goal, else 0; ends there; learner's reward 1 r -1"
    assert found.problems == found.notices == ()


def test_problems_are_reported_with_the_figures_of_the_other_episodes(create):
    rewards = [ARRIVAL, NAN, TIME_OUT, TIME_OUT, CONTRADICTION]
    dataset = create([maze_episode(values) for values in rewards])
    make_empty(dataset, 3)
    found = describe(dataset)
    expected = (
        ("episode 1", "NaN or infinite rewards"),
        ("episode 3", "is empty; filter it out"),
        ("episode 4", "0.5 is not that of a sparse maze"),
    )
    assert len(found.problems) == 3
    for problem, parts in zip(found.problems, expected, strict=True):
        assert problem.startswith("maze/new-v0 episode ")
        assert all(part in problem for part in parts)
    assert found.episodes == 5
    # The contradicting episode can be read, but has no score.
    assert found.lengths.tolist() == [3, 4, 2]
    assert found.returns.tolist() == [1.0, 0.0, 0.5]
    assert found.scores.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("bad", "summary"), [(5, None), (6, "and 1 more of this kind"), (8, "and 3 more of this kind")]
)
def test_more_than_five_problems_are_summarised(create, bad, summary):
    found = describe(create([maze_episode(NAN)] * bad + [maze_episode(ARRIVAL)]))
    listed = [problem for problem in found.problems if "NaN" in problem]
    assert [problem.split()[2] for problem in listed] == ["0", "1", "2", "3", "4"]
    assert list(found.problems[5:]) == ([summary] if summary else [])
    assert found.lengths.tolist() == [3]


def test_environment_that_cannot_be_made_is_a_problem(create):
    spec = EnvSpec("Toy-v0", entry_point="no_such_module:Toy", max_episode_steps=20)
    found = describe(create([maze_episode(ARRIVAL)], spec=spec))
    (problem,) = found.problems
    assert "cannot make the environment Toy-v0: " in problem
    assert (found.task, found.horizon, found.lengths.tolist()) == ("generic", 20, [3])
    assert any("Toy-v0 belongs to no known family" in notice for notice in found.notices)


def test_environment_without_a_time_limit_is_a_problem(create):
    found = describe(create([maze_episode(ARRIVAL)], spec=dataclasses.replace(MAZE, max_episode_steps=None)))
    (problem,) = found.problems
    assert "PointMaze_Corridor-v3 has no time limit" in problem
    assert found.horizon is None
    assert found.lengths.tolist() == [3]


def test_dataset_without_episodes_is_described(create):
    found = describe(create([]))
    assert [problem for problem in found.problems if "has no episodes" in problem] == list(found.problems)
    assert found.episodes == found.steps == len(found.lengths) == len(found.scores) == 0
    assert describe_text(found).count("none could be read") == 4


@pytest.mark.parametrize("damage", ["truncated file", "missing field"])
def test_damaged_dataset_is_described_up_to_the_damage(create, damage):
    dataset = create([maze_episode(ARRIVAL)] * 3)
    if damage == "truncated file":
        with (dataset.storage.data_path / "main_data.hdf5").open("r+b") as file:
            file.truncate(1000)
    else:
        with edit(dataset) as file:
            del file["episode_1/rewards"]
    found = describe(dataset)
    (problem,) = found.problems
    assert ("cannot be read" if damage == "truncated file" else "episode 1 lacks a field") in problem
    assert found.lengths.tolist() == ([] if damage == "truncated file" else [3])
    assert found.episodes == 3


@pytest.mark.parametrize("space", [gym.spaces.Discrete(4), gym.spaces.Box(-np.inf, np.inf, (2,))])
def test_actions_that_cannot_be_learned_are_a_problem(create, space):
    found = describe(create([maze_episode(ARRIVAL)], action_space=space))
    (problem,) = found.problems
    assert "a bounded Box of rank 1 is needed" in problem
    assert len(found.lengths) == 0


def test_observations_that_are_no_vectors_are_a_problem(create):
    spec, cells = gym.spec("FrozenLake-v1"), gym.spaces.Discrete(16)
    episode = dataclasses.replace(maze_episode(TIME_OUT), observations=np.zeros(5, np.int64))
    found = describe(create([episode], spec=spec, observation_space=cells))
    assert "observations that the task generic cannot read" in found.problems[0]


def test_notices_tell_what_may_surprise(create):
    late, unending = describe(create([maze_episode([0.0] * steps) for steps in (20, 21, 22)])).notices
    assert late == "2 episodes are longer than the 20 steps of an evaluation; they are kept whole"
    assert unending.startswith("no episode terminates")
    ending = create([maze_episode(TIME_OUT), maze_episode(ARRIVAL, terminated=True)], "maze/ending-v0")
    assert describe(ending).notices == ()


def test_recorded_scores_follow_the_rule_of_the_task(create):
    dataset = create([maze_episode(ARRIVAL, terminated=True), maze_episode([0.0, 2.0])])
    arrival, other = read_episodes(dataset, TASKS["pointmaze"])
    spec = environment_spec(dataset)
    assert [recorded_score(episode, TASKS["pointmaze"], spec) for episode in (arrival, other)] == [1.0, 0.0]
    assert [recorded_score(episode, GENERIC, spec) for episode in (arrival, other)] == [1.0, 2.0]
    cheetah, kitchen = EnvSpec("HalfCheetah-v5"), EnvSpec("FrankaKitchen-v1", kwargs={"tasks_to_complete": ["a"] * 4})
    assert recorded_score(other, TASKS["locomotion"], cheetah) == pytest.approx(282.178953 / 12415.178953)
    assert recorded_score(other, TASKS["kitchen"], kitchen) == 0.5


def facts(text):
    """Lines `name: text` as pairs."""
    matches = [re.fullmatch(r"([a-z]+): +(\S.*)", line) for line in text.splitlines()]
    assert all(matches), text
    return [match.groups() for match in matches]


NAMES = [
    "dataset",
    "source",
    "environment",
    "task",
    "reward",
    "episodes",
    "steps",
    "return",
    "values",
    "success",
    "score",
]


def test_text_has_one_line_a_fact(create):
    success = {"success": np.array([False, False, False, True])}
    episodes = [maze_episode(ARRIVAL, terminated=True, infos=success), maze_episode(TIME_OUT), maze_episode(TIME_OUT)]
    found = facts(describe_text(describe(create(episodes, algorithm_name="by hand"))))
    assert [name for name, _ in found] == [*NAMES, "actions", "problem"]
    assert dict(found) == {
        "dataset": "maze/new-v0",
        "source": "by hand",
        "environment": "PointMaze_Corridor-v3, time limit 20",
        "task": "pointmaze",
        "reward": "1 at the goal, else 0; ends there; learner's reward 1 r -1",
        "episodes": "3 (1 terminated, 2 truncated)",
        "steps": "11, an episode: mean 3.667, std 0.4714 (min 3, median 4, max 4)",
        "return": "as recorded: mean 0.3333, std 0.4714 (min 0, median 0, max 1)",
        "values": "discounted, in the learner's reward: mean -73, std 44.09 (min -100, median -100, max 0)",
        "success": "1.000 of the episodes",
        "score": "mean 0.3333, std 0.4714 (min 0, median 0, max 1)",
        "actions": "0.5 to 0.5 in [-1, 1]",
        "problem": "none found",
    }


def test_text_has_a_line_for_each_notice_and_problem(create):
    spec = EnvSpec("Toy-v0", entry_point="no_such_module:Toy", max_episode_steps=20)
    described = describe(create([maze_episode(NAN), maze_episode([0.0] * 21)], spec=spec))
    found = facts(describe_text(described))
    assert [name for name, _ in found] == [*NAMES, "actions", *["notice"] * 3, *["problem"] * 2]
    assert [text for name, text in found if name == "notice"] == list(described.notices)
    assert [text for name, text in found if name == "problem"] == list(described.problems)
    assert dict(found)["source"] == dict(found)["success"] == "not recorded"


def table_rows(page, heading):
    """Cells of a Markdown table's rows below a heading, without its header."""
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1, "all rows have the same number of columns"
    assert set(lines[1]) <= set("|-:")
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_page_has_a_row_for_each_task_and_dataset(create):
    datasets = (
        create([maze_episode(ARRIVAL, terminated=True), maze_episode(TIME_OUT)], algorithm_name="by hand"),
        create([maze_episode(NAN), maze_episode(CONTRADICTION)], "maze/bad-v0"),
        create([], "maze/empty-v0"),
    )
    page = tasks_page([describe(dataset) for dataset in datasets], "make --page")
    assert "Generated by `make --page`." in page
    families = table_rows(page, "Families")
    assert [row[0] for row in families] == [f"`{name}`" for name in TASKS]
    assert all(all(row) for row in families)
    assert dict(zip(TASKS, families, strict=True))["adroit_binary"][1:5] == [
        "AdroitHand",
        "success - 1; ends at the first success",
        "10 r +5",
        "0.99",
    ]
    good, bad, empty = table_rows(page, "Datasets")
    assert good == [
        *("`maze/new-v0`", "2", "7", "0.5", "0.500", "PointMaze_Corridor-v3", "20", "`pointmaze`", "by hand", "none")
    ]
    assert bad[:5] == ["`maze/bad-v0`", "2", "4", "0.5", "-"]
    assert "episode 0 has NaN" in bad[-1]
    assert "; maze/bad-v0 episode 1: the reward 0.5" in bad[-1]
    assert empty[:5] == ["`maze/empty-v0`", "0", "0", "-", "-"]


def test_page_says_where_data_that_cannot_be_downloaded_comes_from(create):
    names = "kitchen/complete-v0", "maze/new-v0"
    described = [describe(create([maze_episode(TIME_OUT)]))._replace(dataset_id=name) for name in names[:1]]
    ((name, origin, public),) = table_rows(tasks_page(described, "make --page"), "Origins")
    assert (name, public) == ("`kitchen/complete-v0`", "`D4RL/kitchen/complete-v2`")
    assert "human demonstrations" in origin
    assert "## Origins" not in tasks_page([described[0]._replace(dataset_id=names[1])], "make --page")


def test_the_committed_page_has_the_origins_that_the_program_writes(create):
    page = (REPOSITORY / "docs" / "tasks.md").read_text()
    described = describe(create([maze_episode(TIME_OUT)]))
    names = [row[0].strip("`") for row in table_rows(page, "Datasets")]
    made = tasks_page([described._replace(dataset_id=name) for name in names], "make --page")
    assert page.partition("## Origins")[1:] == made.partition("## Origins")[1:]
