"""The agent's state: one train state per network, created from sizes and hyper-parameters."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import optax
from flax.training.train_state import TrainState

from smac_jax import losses
from smac_jax.errors import InputError
from smac_jax.losses.anchor import TAIL
from smac_jax.networks import Critic, Denoiser, TanhGaussianActor, Value, init_ensemble, is_advantage
from smac_jax.optim import make_optimizer, scale_where
from smac_jax.types import Params


class Standardizer(NamedTuple):
    """Affine map of observations to zero mean and unit spread over the dataset.

    Attributes:
        mean: (O,).
        std: (O,), positive.
    """

    mean: jax.Array
    std: jax.Array

    def __call__(self, observations: jax.Array) -> jax.Array:
        """Standardise observations (..., O)."""
        return (observations - self.mean) / self.std


class AgentState(flax.struct.PyTreeNode):
    """Everything that learns, and what it needs to act.

    Attributes:
        step: number of updates so far, int32. Under a vmapped seed axis it stays a scalar, so that delayed
            updates remain a branch and do not turn into a selection between two computed results.
        actor: policy.
        critic: ensemble; every parameter has a leading axis E.
        target_critic: slow copy of the critic's parameters.
        target_actor: slow copy of the actor's (TD3); None for methods that use none.
        temperature: scalar parameter, log alpha.
        denoiser: score model of the dataset's actions; None for methods that use none.
        anchor: the actor's parameters, averaged over its last updates offline (`acting.imitation`) and of the switch
            online, on whose density the critic's values stand (`critic_apply`); None for critics that stand on none.
        anchor_tail: of that density, see `losses.softened_log_density`; static.
        value: state-value function; None for methods that use none.
        kappa: scalar parameter, log kappa, the scale of the penalty and of the density in the critic.
        multiplier: scalar parameter, log of CQL's Lagrange multiplier.
        standardizer: of observations; inside the state, so that nothing acts or learns without it.
    """

    step: jax.Array
    actor: TrainState
    critic: TrainState
    target_critic: Params
    target_actor: Params | None
    temperature: TrainState
    denoiser: TrainState | None
    anchor: Params | None
    value: TrainState | None
    kappa: TrainState
    multiplier: TrainState
    standardizer: Standardizer
    anchor_tail: float = flax.struct.field(pytree_node=False)


class AgentSpec(NamedTuple):
    """Sizes and hyper-parameters from which an agent is made; hashable.

    Attributes:
        observation_dim: O.
        action_dim: A.
        hidden_dims: of actor, critic and denoiser.
        activation: of actor and critic.
        actor_layer_norm: LayerNorm in the actor.
        actor_detached_spread: the actor's spread does not shape its hidden layers.
        critic_layer_norm: LayerNorm in the critic.
        critic_dueling: the critic's values of states have layers of their own.
        critic_advantage_width: width of the layers of its advantages then, as a share of `hidden_dims`.
        critic_anchored: the critic's values stand on the density of the actor's imitation.
        anchor_tail: see `AgentState`.
        critics: ensemble size E.
        target_actor: whether there is one.
        denoiser: whether there is one.
        value: whether there is a state-value function, with the critic's learning rate.
        optimizer: `adam` or `muon`.
        muon_every: updates between two of Muon's orthogonalisations.
        actor_learning_rate: of the actor.
        critic_learning_rate: of the critic.
        advantage_learning_rate: of the layers of its advantages, where dueling; None is the critic's.
        denoiser_learning_rate: of the denoiser.
        temperature_learning_rate: of the temperature, a learned kappa and CQL's multiplier, always by Adam.
        temperature: initial alpha.
        kappa: initial kappa.
    """

    observation_dim: int
    action_dim: int
    hidden_dims: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    actor_layer_norm: bool = False
    actor_detached_spread: bool = False
    critic_layer_norm: bool = True
    critic_dueling: bool = False
    critic_advantage_width: float = 1.0
    critic_anchored: bool = False
    anchor_tail: float = TAIL
    critics: int = 2
    target_actor: bool = False
    denoiser: bool = True
    value: bool = False
    optimizer: str = "adam"
    muon_every: int = 1
    actor_learning_rate: float = 3e-4
    critic_learning_rate: float = 3e-4
    advantage_learning_rate: float | None = None
    denoiser_learning_rate: float = 3e-4
    temperature_learning_rate: float = 3e-4
    temperature: float = 1.0
    kappa: float = 1.0


@functools.cache
def make_networks(spec: AgentSpec) -> tuple[TanhGaussianActor, Critic, Denoiser, Value]:
    """Networks by specification; equal ones give the same objects, so that equal agents share one compilation."""
    return (
        TanhGaussianActor(
            spec.action_dim, spec.hidden_dims, spec.activation, spec.actor_layer_norm, spec.actor_detached_spread
        ),
        Critic(
            spec.hidden_dims,
            spec.activation,
            spec.critic_layer_norm,
            spec.critic_dueling,
            spec.critic_advantage_width,
        ),
        Denoiser(spec.action_dim, spec.hidden_dims),
        Value(spec.hidden_dims, spec.activation, spec.critic_layer_norm),
    )


def require(network: TrainState | None, name: str) -> TrainState:
    """A network that a term needs.

    Raises:
        InputError: the agent was made without it.
    """
    if network is None:
        raise InputError(f"a term needs the network {name!r}, which this agent was made without; set network.{name}")
    return network


def positive_scalar(state: TrainState) -> jax.Array:
    """Value of a positive scalar that is stored as its logarithm: the temperature, kappa."""
    return jnp.exp(state.params["log"])


def critic_apply(state: AgentState) -> Callable[..., jax.Array]:
    """One critic as a function of parameters, observations and actions: the network, on the anchor's density if any.

    All values of an agent are this function's; the network's own are only a part of them.
    """
    if state.anchor is None:
        return state.critic.apply_fn
    return losses.anchored_critic(
        state.critic.apply_fn, state.actor.apply_fn, state.anchor, positive_scalar(state.kappa), state.anchor_tail
    )


def critic_apply_by_distance(state: AgentState) -> Callable[..., jax.Array]:
    """`critic_apply` of distances from the anchor's mode, see `losses.anchored_critic_by_distance`."""
    anchor = require(state.anchor, "critic_anchored")
    return losses.anchored_critic_by_distance(
        state.critic.apply_fn, state.actor.apply_fn, anchor, positive_scalar(state.kappa), state.anchor_tail
    )


def apply_gradients(network: TrainState, gradients: Params, step: jax.Array) -> TrainState:
    """Move a network along its gradients; `step` is the agent's, for optimisers that do not do the same every time."""
    updates, opt_state = network.tx.update(gradients, network.opt_state, network.params, step=step)
    params = optax.apply_updates(network.params, updates)
    return network.replace(step=network.step + 1, params=params, opt_state=opt_state)


def _train_state(apply_fn: object, params: Params, tx: optax.GradientTransformation) -> TrainState:
    state = TrainState.create(apply_fn=apply_fn, params=params, tx=tx)
    # flax starts from a Python int, whose weak type would make XLA compile the first update twice.
    return state.replace(step=jnp.zeros((), jnp.int32))


def create_agent(spec: AgentSpec, key: jax.Array, standardizer: Standardizer) -> AgentState:
    """Initialise an agent.

    Args:
        spec: sizes and hyper-parameters.
        key: PRNG key of the initial parameters.
        standardizer: of observations.

    Returns:
        State at step 0, target critic equal to the critic.
    """
    actor_key, critic_key, denoiser_key = jax.random.split(key, 3)
    value_key = jax.random.fold_in(key, 3)
    observations = jnp.zeros((1, spec.observation_dim), jnp.float32)
    actions = jnp.zeros((1, spec.action_dim), jnp.float32)

    def optimizer(learning_rate: float) -> optax.GradientTransformationExtraArgs:
        return make_optimizer(spec.optimizer, learning_rate, spec.muon_every)

    def log_scalar(value: float, tx: optax.GradientTransformationExtraArgs) -> TrainState:
        return _train_state(None, {"log": jnp.log(jnp.asarray(value, jnp.float32))}, tx)

    critic_optimizer = optimizer(spec.critic_learning_rate)
    if spec.advantage_learning_rate is not None:
        share = spec.advantage_learning_rate / spec.critic_learning_rate
        critic_optimizer = scale_where(critic_optimizer, share, is_advantage)
    scalar_optimizer = make_optimizer("adam", spec.temperature_learning_rate)
    actor, critic, denoiser, value = make_networks(spec)
    actor_params = actor.init(actor_key, observations)
    critic_params = init_ensemble(critic, critic_key, spec.critics, observations, actions)
    return AgentState(
        step=jnp.zeros((), jnp.int32),
        actor=_train_state(actor.apply, actor_params, optimizer(spec.actor_learning_rate)),
        critic=_train_state(critic.apply, critic_params, critic_optimizer),
        # Copies, since a donated buffer may appear only once in the state.
        target_critic=jax.tree.map(jnp.copy, critic_params),
        target_actor=jax.tree.map(jnp.copy, actor_params) if spec.target_actor else None,
        temperature=log_scalar(spec.temperature, scalar_optimizer),
        denoiser=_train_state(
            denoiser.apply,
            denoiser.init(denoiser_key, actions, observations, jnp.zeros((1,), jnp.float32)),
            optimizer(spec.denoiser_learning_rate),
        )
        if spec.denoiser
        else None,
        anchor=jax.tree.map(jnp.copy, actor_params) if spec.critic_anchored else None,
        value=_train_state(value.apply, value.init(value_key, observations), optimizer(spec.critic_learning_rate))
        if spec.value
        else None,
        multiplier=log_scalar(1.0, scalar_optimizer),
        kappa=log_scalar(spec.kappa, scalar_optimizer),
        standardizer=standardizer,
        anchor_tail=spec.anchor_tail,
    )


def seed_axes(state: AgentState) -> AgentState:
    """Axes for `jax.vmap` over seeds: 0 everywhere but the shared step counter."""
    return jax.tree.map(lambda _: 0, state).replace(step=None)


def create_agents(spec: AgentSpec, keys: jax.Array, standardizer: Standardizer) -> AgentState:
    """Initialise one agent a seed.

    Args:
        spec: sizes and hyper-parameters.
        keys: (S,) PRNG keys.
        standardizer: shared by all seeds.

    Returns:
        State whose leaves, but for the step, have a leading axis S. Seed i equals `create_agent(spec, keys[i], ...)`.
    """
    states = jax.vmap(lambda key: create_agent(spec, key, standardizer))(keys)
    return states.replace(step=jnp.zeros((), jnp.int32))
