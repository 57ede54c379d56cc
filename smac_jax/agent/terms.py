"""Which losses act, with which weights: the static description that turns one step into any algorithm.

`Terms` is frozen and hashable, so a jitted step takes it as a static argument. A term that is None or has weight 0
is off: it is not traced, costs nothing, and leaves its network untouched.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from smac_jax.agent.ranges import check_ranges
from smac_jax.errors import InputError
from smac_jax.losses.actor import Reduction


@dataclasses.dataclass(frozen=True)
class TDTerm:
    """Temporal-difference error of the critic.

    Attributes:
        weight: multiplies the squared error.
        bootstrap: the next value is the target `critic`'s at an action of the policy, or the state `value` (IQL).
        next_action: `sample` from the policy, or the deterministic `mode` of the target actor (TD3).
        samples: sampled next actions, of whose values the largest counts (CQL's max-target backup).
        subset: target critics, drawn anew at each update, whose minimum is the value (REDQ, RLPD); 0 takes all.
        smoothing: standard deviation of the noise on the next action (TD3); 0 is none.
        smoothing_clip: bound on that noise.
        soft: subtract temperature * log pi from the next value (SAC).
    """

    weight: float = 1.0
    bootstrap: Literal["critic", "value"] = "critic"
    next_action: Literal["sample", "mode"] = "sample"
    samples: int = 1
    subset: int = 0
    smoothing: float = 0.0
    smoothing_clip: float = 0.5
    soft: bool = True


@dataclasses.dataclass(frozen=True)
class ScorePenaltyTerm:
    """Score-matching penalty on the critic's action-gradient.

    The score is the denoiser's, at noised actions, or where the anchor follows the actor its own, at actions drawn from
    its Gaussian.

    Attributes:
        weight: lambda.
        kappa: where the scale between score and gradient comes from: `fixed` at its initial value, `learned`
            by the penalty, or tied to the entropy `temperature`.
        policy_fraction: share of the penalty's points that lie at the policy's own actions instead of the data's.
        batch_fraction: share of the batch whose states have a point; the estimate stays unbiased.
    """

    weight: float = 1.0
    kappa: Literal["fixed", "learned", "temperature"] = "fixed"
    policy_fraction: float = 0.0
    batch_fraction: float = 1.0


@dataclasses.dataclass(frozen=True)
class ConservativeTerm:
    """CQL's penalty on the critic.

    Attributes:
        weight: alpha.
        samples: N random, N policy and N next-policy actions estimate the log-sum-exp.
        calibrated: bound the policy's values below by the data's returns (Cal-QL).
        lagrange: multiply the weight by a learned multiplier that holds the gap at `target_gap`.
        target_gap: in units of value.
    """

    weight: float = 5.0
    samples: int = 10
    calibrated: bool = False
    lagrange: bool = False
    target_gap: float = 5.0


@dataclasses.dataclass(frozen=True)
class ValueTerm:
    """Expectile regression of the state value (IQL).

    Attributes:
        weight: of the loss.
        expectile: of the values of the data's actions.
        target: what those are: the target `critic`'s, or targets (`td`) from the state value itself, into which nothing
            enters that another term asks of the critic. In a random environment an expectile of the latter is also one
            over what the environment did.
        steps: of `td`, and of the advantages that are taken from it. Errors of the state value weigh less in an
            advantage of several, and what the recorded behaviour did next more.
        observation_noise: as in `BehaviorCloningTerm`, on the observations whose values are fitted; those that the
            targets are taken from have none.
    """

    weight: float = 1.0
    expectile: float = 0.7
    target: Literal["critic", "td"] = "critic"
    steps: int = 1
    observation_noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class DenoisingTerm:
    """Fit of the denoiser to the actions of a share of the batch."""

    weight: float = 1.0
    batch_fraction: float = 1.0


@dataclasses.dataclass(frozen=True)
class SACActorTerm:
    """Maximum-entropy policy loss; `reduction` is over the critics, `antithetic` draws pairs of opposite samples."""

    weight: float = 1.0
    reduction: Reduction = "min"
    antithetic: bool = False


@dataclasses.dataclass(frozen=True)
class TD3ActorTerm:
    """Deterministic policy loss; `normalize` divides by the batch's mean |Q|."""

    weight: float = 1.0
    reduction: Reduction = "first"
    normalize: bool = False


@dataclasses.dataclass(frozen=True)
class BehaviorCloningTerm:
    """Imitation of the batch's actions by the actor.

    Attributes:
        weight: of the loss.
        loss_type: see `losses.behavior_cloning`.
        observation_noise: standard deviation of Gaussian noise on the observations that it sees, in those of the data.
    """

    weight: float = 1.0
    loss_type: Literal["mse", "log_prob"] = "mse"
    observation_noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class AdvantageWeightedTerm:
    """Imitation weighted by exp(inverse_temperature * advantage), at most `max_weight` (IQL).

    `observation_noise` as in `BehaviorCloningTerm`; the state value in the advantages sees the same observations.
    """

    weight: float = 1.0
    inverse_temperature: float = 3.0
    max_weight: float = 100.0
    observation_noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class ScoreDistillationTerm:
    """Pull of the actor along the dataset's score."""

    weight: float = 1.0


@dataclasses.dataclass(frozen=True)
class TemperatureTerm:
    """Automatic temperature; the target entropy is `entropy_per_dim` times the number of action dimensions."""

    weight: float = 1.0
    entropy_per_dim: float = -1.0


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
