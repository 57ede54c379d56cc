"""PointMaze episodes from a noisy controller that follows waypoints through the maze."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import gymnasium as gym
import minari
import numpy as np
from gymnasium.wrappers import RepeatAction
from minari import DataCollector

from smac_jax.data.recipes.recording import check_new_id, create_dataset, record_rollouts
from smac_jax.envs.register import register_robotics
from smac_jax.errors import InputError

if TYPE_CHECKING:
    from gymnasium_robotics.envs.maze.maze_v4 import Maze

register_robotics()

MazeMap = list[list[object]]


class MazeSetup(NamedTuple):
    """One maze.

    Attributes:
        maze_map: 1 is a wall, `g` the goal, `r` a cell where episodes start.
        horizon: time limit in simulation steps, D4RL's but for the UMaze's own.
    """

    maze_map: MazeMap
    horizon: int


def _read_map(rows: str) -> MazeMap:
    return [[1 if cell == "#" else cell for cell in row] for row in rows.split()]


# One goal each, as in D4RL's maze2d, in the bend of the U and in the far corner of the others; episodes start in any
# other cell.
MAZES = {
    "PointMaze_UMaze-v3": MazeSetup(_read_map("##### #rrr# ###g# #rrr# #####"), 200),
    "PointMaze_Medium-v3": MazeSetup(
        _read_map("######## #rr##rr# #rr#rrr# ##rrr### #rr#rrr# #r#rr#r# #rrr#rg# ########"), 600
    ),
    "PointMaze_Large-v3": MazeSetup(
        _read_map(
            "############ #rrrr#rrrrr# #r##r#r#r#r# #rrrrrr#rrr# #r####r###r# #rr#r#rrrrr# ##r#r#r#r### #rr#rrr#rrg# "
            "############"
        ),
        800,
    ),
}
# Simulation steps between decisions. At the simulator's own 100 decisions a second one action hardly matters, and its
# value drowns in the critic's error.
DECISION_STEPS = 5
_GAIN, _DAMPING = 4.0, 1.0
_ACTION_NOISE = 0.8

Cell = tuple[int, int]


def shortest_path(maze_map: MazeMap, start: Cell, goal: Cell) -> list[Cell]:
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
    episodes: int = 600,
    seed: int = 0,
    steps: int | None = None,
    env_id: str = "PointMaze_UMaze-v3",
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
        env_id: one of `MAZES`.
        on_episode: called after each episode.

    Raises:
        InputError: the maze is unknown, the id is malformed, or the dataset exists already.
    """
    if env_id not in MAZES:
        raise InputError(f"there is no maze {env_id}; use one of {', '.join(MAZES)}")
    check_new_id(dataset_id)
    maze_map, horizon = MAZES[env_id]
    env = gym.make(env_id, maze_map=maze_map, continuing_task=False, max_episode_steps=horizon)
    recorder = DataCollector(RepeatAction(env, DECISION_STEPS), record_infos=True)
    maze: Maze = env.unwrapped.maze  # type: ignore[attr-defined]
    rng = np.random.default_rng(seed)
    free = [(row, column) for row, line in enumerate(maze_map) for column, cell in enumerate(line) if cell != 1]
    decisions = horizon // DECISION_STEPS
    detour, detour_steps = np.zeros(2), 0

    def controller(observation: dict[str, np.ndarray], episode: int, step: int) -> np.ndarray:
        nonlocal detour, detour_steps
        del episode
        if step == 0:
            detour = maze.cell_rowcol_to_xy(np.array(rng.choice(free)))
            detour_steps = int(rng.integers(decisions // 2, decisions))
        goal = detour if step < detour_steps else observation["desired_goal"]
        return noisy_waypoint_action(maze, observation, goal, rng)

    record_rollouts(recorder, controller, episodes, seed, steps, on_episode)
    description = (
        f"{env_id} with one goal and continuing_task=False: reward 1 and termination at the goal, else 0. Each action "
        f"is repeated {DECISION_STEPS} times; episodes are truncated after {decisions} actions. A damped pull along "
        f"the shortest path, with action noise of standard deviation {_ACTION_NOISE}; each episode first makes for a "
        "random cell, for at least half of its time."
    )
    dataset = create_dataset(recorder, dataset_id, "noisy waypoint controller", description)
    recorder.close()
    return dataset
