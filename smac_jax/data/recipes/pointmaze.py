"""PointMaze episodes from a noisy controller that follows waypoints through the maze."""

import itertools
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import gymnasium as gym
import minari
import numpy as np
from gymnasium.wrappers import RepeatAction
from minari import DataCollector
from minari.dataset.minari_dataset import parse_dataset_id
from minari.storage.local import list_local_datasets

from smac_jax.envs.register import register_robotics
from smac_jax.errors import InputError
from smac_jax.keys import episode_seed

if TYPE_CHECKING:
    from gymnasium_robotics.envs.maze.maze_v4 import Maze

register_robotics()

ENV_ID = "PointMaze_UMaze-v3"
# One goal, as in D4RL's maze2d-umaze, here in the bend of the U; episodes start in any other cell.
MAZE_MAP: list[list[object]] = [
    [1, 1, 1, 1, 1],
    [1, "r", "r", "r", 1],
    [1, 1, 1, "g", 1],
    [1, "r", "r", "r", 1],
    [1, 1, 1, 1, 1],
]
# Simulation steps; an agent decides on every fifth. At the simulator's own 100 decisions a second one action hardly
# matters, and its value drowns in the critic's error.
HORIZON, DECISION_STEPS = 200, 5
_GAIN, _DAMPING = 4.0, 1.0
_ACTION_NOISE = 0.8
_DESCRIPTION = (
    f"{ENV_ID} with the goal in the bend and continuing_task=False: reward 1 and termination at the goal, else 0. Each "
    f"action is repeated {DECISION_STEPS} times; episodes are truncated after {HORIZON // DECISION_STEPS} actions. A "
    f"damped pull along the shortest path, with action noise of standard deviation {_ACTION_NOISE}; each episode first "
    "makes for a random cell, for at least half of its time."
)

Cell = tuple[int, int]


def shortest_path(maze_map: list[list[object]], start: Cell, goal: Cell) -> list[Cell]:
    """Cells from start to goal, both included, by breadth-first search; cells of value 1 are walls."""
    parents: dict[Cell, Cell] = {start: start}
    queue = deque([start])
    while queue:
        cell = queue.popleft()
        if cell == goal:
            break
        for row, column in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            neighbour = (cell[0] + row, cell[1] + column)
            if maze_map[neighbour[0]][neighbour[1]] != 1 and neighbour not in parents:
                parents[neighbour] = cell
                queue.append(neighbour)
    path = [goal]
    while path[-1] != start:
        path.append(parents[path[-1]])
    return path[::-1]


def noisy_waypoint_action(
    maze: "Maze", observation: dict[str, np.ndarray], goal: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Action (2,) in [-1, 1]: a damped pull to the next cell on the way to `goal` (2,), and Gaussian noise."""
    position, velocity = observation["observation"][:2], observation["observation"][2:4]
    start, end = (maze.cell_xy_to_rowcol(point) for point in (position, goal))
    path = shortest_path(maze.maze_map, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])))
    waypoint = goal if len(path) == 1 else maze.cell_rowcol_to_xy(np.array(path[1]))
    pull = _GAIN * (waypoint - position) - _DAMPING * velocity
    return np.clip(pull + rng.normal(0.0, _ACTION_NOISE, 2), -1.0, 1.0).astype(np.float32)


def record_pointmaze(
    dataset_id: str,
    episodes: int,
    seed: int,
    steps: int | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> minari.MinariDataset:
    """Record a dataset.

    The controller first makes for a random cell for at least half of its time, and then often has too little left:
    the data covers the maze, and imitating it is far from the best that can be done with it.

    Args:
        dataset_id: of the dataset to create.
        episodes: number of episodes.
        seed: of resets, noise and detours.
        steps: end with the first episode that brings the dataset to this many steps, if that comes earlier.
        on_episode: called after each episode.

    Raises:
        InputError: the id is malformed, or the dataset exists already.
    """
    try:
        parse_dataset_id(dataset_id)
    except (TypeError, ValueError) as error:
        raise InputError(f"{dataset_id} is no Minari id; write --output=NAMESPACE/NAME-v0") from error
    if dataset_id in list_local_datasets():
        raise InputError(f"the dataset {dataset_id} exists already; choose another --output, or delete it")
    env = gym.make(ENV_ID, maze_map=MAZE_MAP, continuing_task=False, max_episode_steps=HORIZON)
    env = DataCollector(RepeatAction(env, DECISION_STEPS), record_infos=True)
    maze: Maze = env.unwrapped.maze
    rng = np.random.default_rng(seed)
    free = [(row, column) for row, line in enumerate(MAZE_MAP) for column, cell in enumerate(line) if cell != 1]
    recorded = 0
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode_seed(seed, "record", episode))
        detour = maze.cell_rowcol_to_xy(rng.choice(free))
        detour_steps = rng.integers(HORIZON // DECISION_STEPS // 2, HORIZON // DECISION_STEPS)
        for step in itertools.count():
            goal = detour if step < detour_steps else observation["desired_goal"]
            action = noisy_waypoint_action(maze, observation, goal, rng)
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        recorded += step + 1
        on_episode()
        if steps is not None and recorded >= steps:
            break
    try:
        dataset = env.create_dataset(dataset_id, algorithm_name="noisy waypoint controller", description=_DESCRIPTION)
    except ValueError as error:
        raise InputError(f"cannot create {dataset_id} ({error}); choose another --output") from error
    env.close()
    return dataset
