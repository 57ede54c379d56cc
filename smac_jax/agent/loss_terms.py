"""The loss terms, each a frozen description of its numbers; `Terms` says which of them act together."""

import dataclasses
from typing import Literal

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
