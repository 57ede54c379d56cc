"""Which losses act, with which weights: the static description that turns one step into any algorithm.

`Terms` is frozen and hashable, so a jitted step takes it as a static argument. A term that is None or has weight 0
is off: it is not traced, costs nothing, and leaves its network untouched.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from smac_jax.agent.loss_terms import (
    AdvantageWeightedTerm,
    BehaviorCloningTerm,
    ConservativeTerm,
    DenoisingTerm,
    SACActorTerm,
    ScoreDistillationTerm,
    ScorePenaltyTerm,
    TD3ActorTerm,
    TDTerm,
    TemperatureTerm,
    ValueTerm,
)
from smac_jax.agent.ranges import check_ranges
from smac_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Terms:
    """All loss terms of one phase.

    Attributes:
        discount: gamma.
        tau: share of the critic, and of the actor, that moves into its target at each target update.
        policy_delay: actor and temperature move on every `policy_delay`-th step (TD3 uses 2).
        target_delay: the targets move on every `target_delay`-th step (TD3 uses 2).
        anchor_follows: the anchor, on which the critic's values stand, is an average of the actor over its last
            updates, and what the phase leaves behind as the policy; it stays otherwise.
        lead: steps by which imitations run ahead of the data: the actions that were recorded so many steps after the
            batch's are imitated.
        min_log_snr: noisiest level of denoising, penalty and distillation, log(abar / (1 - abar)).
        max_log_snr: cleanest level.
        td: critic term.
        conservative: critic term.
        score_penalty: critic term; needs the denoiser, or an anchor that follows.
        value: state-value term.
        denoising: denoiser term.
        sac_actor: actor term.
        td3_actor: actor term.
        behavior_cloning: actor term.
        advantage_weighted: actor term; needs the state value.
        score_distillation: actor term; needs the denoiser.
        temperature: temperature term; needs `sac_actor`, which measures the entropy.
    """

    discount: float = 0.99
    tau: float = 0.005
    policy_delay: int = 1
    target_delay: int = 1
    anchor_follows: bool = False
    lead: int = 0
    min_log_snr: float = -1.0
    max_log_snr: float = 6.0
    td: TDTerm | None = None
    conservative: ConservativeTerm | None = None
    score_penalty: ScorePenaltyTerm | None = None
    value: ValueTerm | None = None
    denoising: DenoisingTerm | None = None
    sac_actor: SACActorTerm | None = None
    td3_actor: TD3ActorTerm | None = None
    behavior_cloning: BehaviorCloningTerm | None = None
    advantage_weighted: AdvantageWeightedTerm | None = None
    score_distillation: ScoreDistillationTerm | None = None
    temperature: TemperatureTerm | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            term = getattr(self, field.name)
            if dataclasses.is_dataclass(term) and typing.cast(Any, term).weight == 0:
                object.__setattr__(self, field.name, None)
        check_ranges(self)
        if self.min_log_snr >= self.max_log_snr:
            raise InputError(f"terms.min_log_snr={self.min_log_snr} must lie below max_log_snr={self.max_log_snr}")
        if self.temperature and not self.sac_actor:
            raise InputError("terms.temperature needs terms.sac_actor, which measures the entropy; switch it on")
        for name in ("score_penalty", "denoising"):
            term = getattr(self, name)
            if term and not 0 < term.batch_fraction <= 1:
                raise InputError(f"terms.{name}.batch_fraction={term.batch_fraction} must lie in (0, 1]")
        penalty = self.score_penalty
        if penalty and self.anchor_follows and (penalty.kappa != "fixed" or penalty.policy_fraction > 0):
            raise InputError(
                "terms.score_penalty with terms.anchor_follows=True takes the anchor's own score and kappa; set "
                "terms.score_penalty.kappa=fixed and policy_fraction=0"
            )
        if self.value and self.value.steps > 1 and self.value.target != "td":
            raise InputError("terms.value.steps above 1 needs terms.value.target=td: the critic's values are of one")
        if self.td and self.td.samples > 1 and (self.td.soft or self.td.next_action == "mode"):
            raise InputError(
                "terms.td.samples above 1 needs next_action=sample and soft=False: the largest value counts"
            )

    @property
    def trains_critic(self) -> bool:
        """Whether any term moves the critic."""
        return any((self.td, self.conservative, self.score_penalty))

    @property
    def trains_actor(self) -> bool:
        """Whether any term moves the actor."""
        return any(
            (
                self.sac_actor,
                self.td3_actor,
                self.behavior_cloning,
                self.advantage_weighted,
                self.score_distillation,
            )
        )

    @property
    def reads_denoiser(self) -> bool:
        """Whether any term takes the denoiser's word for the score."""
        return any((self.score_penalty and not self.anchor_follows, self.score_distillation))

    @property
    def needs_denoiser(self) -> bool:
        """Whether any term reads or moves the denoiser."""
        return bool(self.denoising) or self.reads_denoiser

    @property
    def needs_target_actor(self) -> bool:
        """Whether the next action is a target actor's."""
        return bool(self.td and self.td.bootstrap == "critic" and self.td.next_action == "mode")

    @property
    def reads_value(self) -> bool:
        """Whether any term takes the state value's word for what is to come."""
        return any((self.advantage_weighted, self.td and self.td.bootstrap == "value"))

    @property
    def needs_value(self) -> bool:
        """Whether any term reads or moves the state value."""
        return bool(self.value) or self.reads_value

    @property
    def lookahead(self) -> int:
        """Steps that a batch has to look ahead."""
        return self.value.steps if self.value else 1

    @property
    def needs_trained_critic(self) -> bool:
        """Whether the terms go on from values, which a policy trained without a critic does not have."""
        return any((self.sac_actor, self.td3_actor, self.advantage_weighted))


def _term_class(annotation: Any) -> type | None:
    """The dataclass in an annotation `X | None`, if there is one."""
    if isinstance(annotation, types.UnionType):
        for argument in typing.get_args(annotation):
            if isinstance(argument, type) and dataclasses.is_dataclass(argument):
                return argument
    return None


def _check(name: str, value: Any, annotation: Any) -> Any:
    if typing.get_origin(annotation) is Literal:
        options = typing.get_args(annotation)
        if value not in options:
            raise InputError(f"terms.{name}={value!r} is unknown; use one of {', '.join(map(str, options))}")
        return value
    return annotation(value)


def terms_from_mapping(mapping: Mapping[str, Any], cls: type = Terms, prefix: str = "") -> Any:
    """Build `Terms` from nested dictionaries with the same names, as in a configuration file.

    Raises:
        InputError: a name is unknown or a value is not one of its options.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for name, value in mapping.items():
        if name not in hints:
            raise InputError(f"terms.{prefix}{name} is unknown; use one of {', '.join(sorted(hints))}")
        nested = _term_class(hints[name])
        if nested is None:
            values[name] = _check(prefix + name, value, hints[name])
        else:
            values[name] = None if value is None else terms_from_mapping(value, nested, f"{prefix}{name}.")
    return cls(**values)
