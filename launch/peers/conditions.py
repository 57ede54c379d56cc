"""What the online comparison holds equal; read by workers of every library, so it imports none."""

ENVIRONMENT = "HalfCheetah-v5"
REPLAY_CAPACITY = 200_000
WARM_UP = 1_000
"""Environment steps before the first update."""
EXPLORATION_NOISE = 0.1
"""TD3's, the standard deviation of the noise on its actions."""
STEPS_PER_CALL = 100
"""So many environment steps between looks at the clock."""
