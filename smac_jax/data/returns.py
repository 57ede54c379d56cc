"""What an episode's rewards add up to: Monte-Carlo returns, and sums over a few steps."""

import numpy as np

from smac_jax.envs.episode import Episode
from smac_jax.envs.tasks import Task


def failure_value(task: Task, discount: float, reward_scale: float, reward_shift: float) -> float:
    """What follows a time-out: failing for ever where rewards are sparse (Cal-QL, arXiv 2303.05479), else nothing."""
    if task.failure_reward is None:
        return 0.0
    return (reward_scale * task.failure_reward + reward_shift) / (1.0 - discount)


def monte_carlo_returns(rewards: np.ndarray, discount: float, tail: float = 0.0) -> np.ndarray:
    """Discounted return (T,) from each step to the end of the recorded episode, which `tail` follows."""
    returns = np.empty(len(rewards), dtype=np.float64)
    running = tail
    for index in range(len(rewards) - 1, -1, -1):
        running = rewards[index] + discount * running
        returns[index] = running
    return returns


def learner_returns(
    episode: Episode, task: Task, discount: float, reward_scale: float, reward_shift: float
) -> np.ndarray:
    """Discounted returns (T,) of a relabelled episode in the learner's reward; `failure_value` follows a time-out."""
    tail = 0.0 if episode.terminations[-1] else failure_value(task, discount, reward_scale, reward_shift)
    return monte_carlo_returns(reward_scale * episode.rewards + reward_shift, discount, tail)


def look_ahead(
    rewards: np.ndarray, observations: np.ndarray, terminated: bool, discount: float, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the next `steps` steps bring, and where they lead; fewer where the recorded episode ends before.

    The parts of n-step returns (Sutton & Barto, 2018, "Reinforcement Learning", section 7.1), of the policy that was
    recorded: nothing corrects them for another.

    Args:
        rewards: (T,), in the learner's reward.
        observations: (T + 1, O).
        terminated: whether the episode ends in a termination, after which nothing follows.
        discount: gamma.
        steps: at least 1.

    Returns:
        The columns of a `smac_jax.types.Lookahead`, T rows each.
    """
    length = len(rewards)
    begins = np.arange(length)
    ends = np.minimum(begins + steps, length)
    sums = np.zeros(length, np.float64)
    for ahead in range(min(steps, length)):
        sums[: length - ahead] += discount**ahead * rewards[ahead:]
    discounts = np.where((ends == length) & terminated, 0.0, discount ** (ends - begins).astype(np.float64))
    return sums, discounts, observations[ends]
