"""The agent: its state, the terms that describe an algorithm, the step, and acting."""

from smac_jax.agent.acting import act, act_seeds, imitation, mix_actors
from smac_jax.agent.seeds import map_seeds
from smac_jax.agent.state import AgentSpec, AgentState, Standardizer, create_agent, create_agents
from smac_jax.agent.step import step, step_seeds
from smac_jax.agent.terms import Terms

__all__ = [
    "AgentSpec",
    "AgentState",
    "Standardizer",
    "Terms",
    "act",
    "act_seeds",
    "create_agent",
    "create_agents",
    "imitation",
    "map_seeds",
    "mix_actors",
    "step",
    "step_seeds",
]
