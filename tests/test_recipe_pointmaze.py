import pytest
from recorded import assert_repeats, content_hash, lengths

from smac_jax.data.minari_dataset import open_dataset
from smac_jax.data.recipes import pointmaze
from smac_jax.data.recipes.pointmaze import DECISION_STEPS, MAZES, record_pointmaze
from smac_jax.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("env_id", MAZES)
def test_maze_is_recorded_and_made_again_from_its_specification(minari_path, env_id):
    calls = []
    dataset = record_pointmaze("maze/new-v0", episodes=2, env_id=env_id, on_episode=lambda: calls.append(0))
    maze_map, horizon = MAZES[env_id]
    assert dataset.total_episodes == len(calls) == 2
    assert max(lengths(dataset)) <= horizon // DECISION_STEPS
    assert f"truncated after {horizon // DECISION_STEPS} actions" in dataset.storage.metadata["description"]
    env = open_dataset("maze/new-v0").recover_environment()
    assert env.spec.id == env_id
    assert env.unwrapped.continuing_task is False
    maze = env.unwrapped.maze
    assert maze.maze_map == maze_map
    goal = next((row, line.index("g")) for row, line in enumerate(maze_map) if "g" in line)
    for episode in dataset.iterate_episodes():
        assert tuple(maze.cell_xy_to_rowcol(episode.observations["desired_goal"][0])) == goal
    assert_repeats(dataset, env)


def test_maze_recording_is_a_function_of_its_seed(minari_path):
    first = record_pointmaze("maze/first-v0", episodes=2, seed=3)
    assert content_hash(record_pointmaze("maze/again-v0", episodes=2, seed=3)) == content_hash(first)
    assert content_hash(record_pointmaze("maze/other-v0", episodes=2, seed=4)) != content_hash(first)


def test_maze_recording_ends_with_the_episode_that_reaches_the_steps(minari_path):
    whole = lengths(record_pointmaze("maze/whole-v0", episodes=3))
    assert lengths(record_pointmaze("maze/cut-v0", episodes=3, steps=whole[0])) == whole[:1]
    assert lengths(record_pointmaze("maze/more-v0", episodes=3, steps=whole[0] + 1)) == whole[:2]


def test_unknown_maze_is_refused(minari_path):
    with pytest.raises(InputError, match="no maze PointMaze_Open-v3; use one of PointMaze_UMaze-v3, PointMaze_Medium"):
        record_pointmaze("maze/new-v0", env_id="PointMaze_Open-v3")
    assert not list(minari_path.iterdir())


def test_shortest_path_goes_round_the_walls():
    maze_map = MAZES["PointMaze_UMaze-v3"].maze_map
    path = pointmaze.shortest_path(maze_map, (1, 1), (3, 1))
    assert path == [(1, 1), (1, 2), (1, 3), (2, 3), (3, 3), (3, 2), (3, 1)]
    assert pointmaze.shortest_path(maze_map, (1, 1), (1, 1)) == [(1, 1)]
