"""Floating-point operations of one update of one seed, counted from shapes.

What counts are the products of matrices in dense layers: 2 n i o for n points through a layer of i inputs and o
outputs, as much for the gradient of its kernel, and for that of its inputs. Activations, normalisation, noise and the
optimiser are left out; Muon's own products are counted apart, by `optimizer_flops`.

The passes are those that are left once XLA has compiled `smac_jax.agent.step`, and equal its matrix products exactly:

* the inputs of a network's first layer get a gradient only where that of the actions is asked for, and then all of
  them, the observations too, since the two are one array; behind a layer with a single output the gradient of the
  inputs is an element-wise product, which does not count;
* two passes forward of the same parameters at the same inputs are made once: those at the batch's states and actions of
  the temporal-difference and the conservative term, those of the actor at a state for all terms that need it. Their
  gradients are made separately for each term;
* all critics of an ensemble are evaluated, also where only the first one counts;
* the score-matching penalty differentiates the critic's action-gradient. It goes forward through the hidden layers and
  back to the actions; the gradient of that goes the way back up again, with a gradient for each kernel, and, where the
  critic is curved by LayerNorm or a smooth activation, once more down the hidden layers. A dueling critic's values of
  states have no part in that;
* an anchored critic needs the anchor's pass at its states, once for all critics;
* a delayed update counts by the share of steps that make it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from smac_jax.agent.terms import Terms
from smac_jax.optim import NEWTON_SCHULZ_STEPS

# What the denoiser sees of the noise level: itself, and sine and cosine at four frequencies.
_LEVEL_FEATURES = 9

Kernels = list[tuple[int, int]]
"""Inputs and outputs of each dense layer, from first to last."""


class Sizes(NamedTuple):
    """Shapes that the count depends on.

    Attributes:
        observation_dim: O.
        action_dim: A.
        hidden_dims: of all networks.
        critics: E.
        batch_size: B.
        curved_critic: whether the critic has a second derivative, by LayerNorm or an activation other than relu.
        dueling: whether its values of states have layers of their own.
        advantage_width: of its advantages then, as a share of `hidden_dims`.
        anchored: whether its values stand on the density of an actor.
    """

    observation_dim: int
    action_dim: int
    hidden_dims: Sequence[int]
    critics: int = 2
    batch_size: int = 256
    curved_critic: bool = True
    dueling: bool = False
    advantage_width: float = 1.0
    anchored: bool = False

    def kernels(self, inputs: int, *outputs: int, width: float = 1.0) -> Kernels:
        """Layers of a network with the hidden layers between inputs and one or more heads."""
        widths = [inputs, *(max(round(width * size), 1) for size in self.hidden_dims)]
        return [*itertools.pairwise(widths), *((widths[-1], output) for output in outputs)]

    def actor(self, heads: int) -> Kernels:
        """The actor with its mean, or with mean and spread."""
        return self.kernels(self.observation_dim, *[self.action_dim] * heads)

    @property
    def critic(self) -> Kernels:
        """One critic, or what of it is of the action too."""
        width = self.advantage_width if self.dueling else 1.0
        return self.kernels(self.observation_dim + self.action_dim, 1, width=width)

    @property
    def critic_of_state(self) -> Kernels:
        """What of one critic is of the state alone."""
        return self.value if self.dueling else []

    @property
    def value(self) -> Kernels:
        """The state value."""
        return self.kernels(self.observation_dim, 1)

    @property
    def denoiser(self) -> Kernels:
        """The denoiser."""
        return self.kernels(self.action_dim + self.observation_dim + _LEVEL_FEATURES, self.action_dim)


def forward(kernels: Kernels, points: float) -> float:
    """A pass forward; equally one of gradients for all kernels, or of a tangent."""
    return 2.0 * points * sum(inputs * outputs for inputs, outputs in kernels)


def input_gradient(kernels: Kernels, points: float) -> float:
    """A pass backward to the inputs of the first of the kernels."""
    return forward([kernel for kernel in kernels if kernel[1] > 1], points)


def backward(kernels: Kernels, points: float) -> float:
    """Gradients of all kernels."""
    return forward(kernels, points) + input_gradient(kernels[1:], points)


def _values(sizes: Sizes, points: float) -> float:
    """A pass forward of one critic, without its anchor's."""
    return forward(sizes.critic, points) + forward(sizes.critic_of_state, points)


def _values_backward(sizes: Sizes, points: float) -> float:
    """Gradients of all kernels of one critic."""
    return backward(sizes.critic, points) + backward(sizes.critic_of_state, points)


def _anchor(sizes: Sizes, points: float) -> float:
    """The anchor's pass at states at which the actor makes none."""
    return forward(sizes.actor(2), points) if sizes.anchored else 0.0


def _penalty(sizes: Sizes, points: float) -> float:
    """The score-matching penalty at some points: its value and the gradients of one critic's kernels."""
    critic, hidden = sizes.critic, sizes.critic[:-1]
    value = forward(hidden, points) + input_gradient(critic, points)
    # The tangent does not reach the value, whose kernel has a gradient of its own.
    up = forward(hidden, points) + forward(critic, points)
    return value + up + (backward(hidden, points) if sizes.curved_critic else 0.0)


def _td(terms: Terms, sizes: Sizes) -> float:
    """Targets and error, without the actor's pass at the next states."""
    assert terms.td is not None
    batch = sizes.batch_size
    if terms.td.bootstrap == "value":
        targets = forward(sizes.value, batch)
    else:
        points = batch * terms.td.samples
        targets = (terms.td.subset or sizes.critics) * _values(sizes, points) + _anchor(sizes, points)
    data = _values(sizes, batch) + _values_backward(sizes, batch)
    return targets + sizes.critics * data + _anchor(sizes, batch)


def _critic_terms(terms: Terms, sizes: Sizes) -> dict[str, float]:
    counts: dict[str, float] = {}
    batch, td = sizes.batch_size, terms.td
    if td:
        counts["td"] = _td(terms, sizes)
    if terms.conservative:
        proposals = 3 * terms.conservative.samples * batch
        passes = forward(sizes.critic, proposals) + backward(sizes.critic, proposals) + backward(sizes.critic, batch)
        counts["conservative"] = sizes.critics * (passes + (0.0 if td else forward(sizes.critic, batch)))
        counts["conservative"] += forward(sizes.actor(2), batch)
    bootstraps = td is not None and td.bootstrap == "critic"
    if bootstraps or terms.conservative:
        spread = terms.conservative or (td and (td.soft or td.next_action == "sample"))
        counts["next actions"] = forward(sizes.actor(2 if spread else 1), batch)
    if terms.score_penalty:
        points = _points(sizes, terms.score_penalty.batch_fraction)
        policy_points = round(terms.score_penalty.policy_fraction * points)
        counts["score_penalty"] = (
            sizes.critics * _penalty(sizes, points)
            + (_anchor(sizes, points) if terms.anchor_follows else forward(sizes.denoiser, points))
            + forward(sizes.actor(2), policy_points)
        )
    return counts


def _points(sizes: Sizes, fraction: float) -> int:
    """Rows in a share of the batch, as in `smac_jax.types.Batch.share`."""
    return max(round(fraction * sizes.batch_size), 1)


def _actor_terms(terms: Terms, sizes: Sizes) -> dict[str, float]:
    """Terms of the actor, on a step that makes them."""
    counts: dict[str, float] = {}
    batch, both, mean = sizes.batch_size, sizes.actor(2), sizes.actor(1)
    points = 2 * batch if terms.sac_actor and terms.sac_actor.antithetic else batch
    critics = sizes.critics * (_values(sizes, points) + input_gradient(sizes.critic, points))
    if points != batch or terms.td3_actor:
        # TD3's delayed update is a branch of its own, which shares nothing with the critic's.
        critics += _anchor(sizes, points)
    imitates = terms.behavior_cloning and terms.behavior_cloning.loss_type == "log_prob"
    if terms.sac_actor:
        counts["sac_actor"] = critics + backward(both, batch)
    if terms.td3_actor:
        counts["td3_actor"] = critics + backward(mean, batch)
    if terms.behavior_cloning:
        counts["behavior_cloning"] = backward(both if imitates else mean, batch)
    if terms.advantage_weighted:
        # The value's term has evaluated the critics, and the target of the critic the value of the next state.
        values = 0.0 if terms.value else sizes.critics * _values(sizes, batch)
        shared = terms.td and terms.td.bootstrap == "value" and terms.lookahead == 1
        if terms.value and terms.value.target == "td" and not shared:
            values = forward(sizes.value, batch)
        counts["advantage_weighted"] = values + forward(sizes.value, batch) + backward(both, batch)
    if terms.score_distillation:
        counts["score_distillation"] = backward(both, batch) + forward(sizes.denoiser, batch)
    if terms.score_penalty and not terms.sac_actor:
        states = _points(sizes, terms.score_penalty.batch_fraction)
        # The anchor has gone the actor's way at these states already.
        own = 0.0 if sizes.anchored else forward(both, states)
        counts["log"] = sizes.critics * _values(sizes, states) + own
    spread = terms.sac_actor or imitates or terms.advantage_weighted or terms.score_distillation
    # CQL's proposals have gone the same way already, unless the actor's update is a branch of its own.
    if counts and not (terms.conservative and terms.policy_delay == 1):
        counts["actions"] = forward(both if spread else mean, batch)
    return counts


def flops_by_term(terms: Terms, sizes: Sizes) -> dict[str, float]:
    """Operations of one update of one seed, averaged over delays, by the term that needs them."""
    counts: dict[str, float] = {}
    if terms.denoising:
        points = _points(sizes, terms.denoising.batch_fraction)
        counts["denoising"] = forward(sizes.denoiser, points) + backward(sizes.denoiser, points)
    if terms.value:
        critics = sizes.critics * _values(sizes, sizes.batch_size)
        targets = forward(sizes.value, sizes.batch_size) if terms.value.target == "td" else critics
        counts["value"] = targets + forward(sizes.value, sizes.batch_size) + backward(sizes.value, sizes.batch_size)
    if terms.trains_critic:
        counts |= _critic_terms(terms, sizes)
    return counts | {name: count / terms.policy_delay for name, count in _actor_terms(terms, sizes).items()}


def update_flops(terms: Terms, sizes: Sizes) -> float:
    """Operations of one update of one seed, averaged over delays."""
    return sum(flops_by_term(terms, sizes).values())


def _newton_schulz(kernels: Kernels) -> float:
    """Muon's products for the hidden kernels among a network's."""
    count = 0.0
    for kernel in kernels:
        short, long = sorted(kernel)
        count += NEWTON_SCHULZ_STEPS * 2.0 * (2 * short * short * long + short**3)
    return count


def optimizer_flops(terms: Terms, sizes: Sizes, muon_every: int = 1) -> float:
    """Products of matrices in Muon's updates of one seed, averaged over delays; Adam has none.

    Args:
        terms: of the phase.
        sizes: see `Sizes`.
        muon_every: updates between two of Muon's orthogonalisations.
    """
    hidden = len(sizes.hidden_dims)
    every_time = 0.0
    if terms.trains_critic:
        every_time += sizes.critics * _newton_schulz(sizes.critic[:hidden] + sizes.critic_of_state[:hidden])
    if terms.denoising:
        every_time += _newton_schulz(sizes.denoiser[:hidden])
    if terms.value:
        every_time += _newton_schulz(sizes.value[:hidden])
    actor = _newton_schulz(sizes.actor(2)[:hidden]) if terms.trains_actor else 0.0
    # A delayed update of the actor orthogonalises where both counts of steps meet.
    return every_time / muon_every + actor / math.lcm(muon_every, terms.policy_delay)
