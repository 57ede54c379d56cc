"""The critic and its ensemble."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from smac_jax.networks.mlp import MLP
from smac_jax.types import KeyPath, Params

_ADVANTAGE_LAYERS = ("mlp", "value")
"""Of `Critic` where it is dueling; those of its values of states have names of their own."""


class Critic(nn.Module):
    """One action-value function Q(s, a).

    An ensemble of E critics is one `Critic` whose parameters carry a leading axis E (`init_ensemble`); the losses
    map over that axis.

    Attributes:
        hidden_dims: width of each hidden layer.
        activation: a key of `networks.mlp.ACTIVATIONS`.
        layer_norm: normalise before each activation, which bounds the values of unseen actions
            (Ball et al., 2023, arXiv 2302.02948).
        dueling: Q(s, a) = V(s) + A(s, a), each by layers of its own (after Wang et al., 2016, arXiv 1511.06581, without
            their constraint on A). The values of states then do not share layers with the action-gradient, beside
            whose scale they are large.
        advantage_width: width of the layers of A as a share of `hidden_dims`, where dueling.
    """

    hidden_dims: Sequence[int]
    activation: str = "relu"
    layer_norm: bool = True
    dueling: bool = False
    advantage_width: float = 1.0

    @nn.compact
    def __call__(self, observations: jax.Array, actions: jax.Array) -> jax.Array:
        """Map observations (..., O) and actions (..., A) to values (...)."""
        inputs = jnp.concatenate([observations, actions], axis=-1)
        width = self.advantage_width if self.dueling else 1.0
        hidden_dims = [max(round(width * size), 1) for size in self.hidden_dims]
        hidden = MLP(hidden_dims, self.activation, self.layer_norm, name="mlp")(inputs)
        values = nn.Dense(1, name="value")(hidden)
        if self.dueling:
            hidden = MLP(self.hidden_dims, self.activation, self.layer_norm, name="state_mlp")(observations)
            values += nn.Dense(1, name="state_value")(hidden)
        return jnp.squeeze(values, axis=-1)


def is_advantage(path: KeyPath) -> bool:
    """Whether a parameter of a dueling critic belongs to A(s, a)."""
    return any(getattr(entry, "key", None) in _ADVANTAGE_LAYERS for entry in path)


def init_ensemble(critic: Critic, key: jax.Array, size: int, observations: jax.Array, actions: jax.Array) -> Params:
    """Initialise `size` independent critics; every leaf of the result has a leading axis `size`."""
    return jax.vmap(critic.init, in_axes=(0, None, None))(jax.random.split(key, size), observations, actions)
