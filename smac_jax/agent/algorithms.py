"""Algorithms as `Terms`: which losses act in each, with the weights of its authors."""

import dataclasses
from typing import Any

from smac_jax.agent.loss_terms import (
    BehaviorCloningTerm,
    DenoisingTerm,
    SACActorTerm,
    ScorePenaltyTerm,
    TD3ActorTerm,
    TDTerm,
    TemperatureTerm,
)
from smac_jax.agent.terms import Terms


def smac(**changes: Any) -> Terms:
    """SMAC's offline phase (arXiv 2602.17632) with its default weights; keyword arguments replace fields."""
    terms = Terms(
        td=TDTerm(),
        score_penalty=ScorePenaltyTerm(weight=10.0),
        denoising=DenoisingTerm(),
        sac_actor=SACActorTerm(),
        temperature=TemperatureTerm(),
    )
    return dataclasses.replace(terms, **changes)


def sac(**changes: Any) -> Terms:
    """Soft Actor-Critic (arXiv 1812.05905)."""
    return dataclasses.replace(Terms(td=TDTerm(), sac_actor=SACActorTerm(), temperature=TemperatureTerm()), **changes)


def td3(**changes: Any) -> Terms:
    """TD3 (arXiv 1802.09477)."""
    return dataclasses.replace(
        Terms(
            td=TDTerm(next_action="mode", smoothing=0.2, soft=False),
            td3_actor=TD3ActorTerm(),
            policy_delay=2,
            target_delay=2,
        ),
        **changes,
    )


def td3bc(**changes: Any) -> Terms:
    """TD3+BC (arXiv 2106.06860): the value term is normalised and weighs 2.5 against imitation."""
    return dataclasses.replace(
        td3(
            td3_actor=TD3ActorTerm(weight=2.5, normalize=True),
            behavior_cloning=BehaviorCloningTerm(),
        ),
        **changes,
    )
