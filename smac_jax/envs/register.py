"""Registration of the robotics environments with gymnasium."""

import contextlib
import io

import gymnasium as gym


def register_robotics() -> None:
    """Make gymnasium-robotics' environments known; may be called more than once."""
    # The package prints a notice about the dense Adroit rewards, which no task here uses, at every import.
    with contextlib.redirect_stderr(io.StringIO()):
        import gymnasium_robotics
    gym.register_envs(gymnasium_robotics)
