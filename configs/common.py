"""What every algorithm's configuration has: networks, optimisers, budgets and evaluation, by task."""

from ml_collections import ConfigDict

from smac_jax.agent.terms import Terms, terms_from_mapping
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError
from smac_jax.losses.anchor import TAIL

SMALL = "small"


def split_name(name: str) -> tuple[str, bool]:
    """Split `TASK` or `TASK-small` into the task and whether the preset for two CPU cores is meant.

    Raises:
        InputError: unknown task.
    """
    task, _, preset = name.partition("-")
    if task not in TASKS or preset not in ("", SMALL):
        raise InputError(f"unknown task {name!r}; use one of {', '.join(TASKS)}, optionally followed by -{SMALL}")
    return task, preset == SMALL


def make_terms(config: ConfigDict) -> Terms:
    """The static description of the losses in a configuration; a `policy_delay` of 0 is once an environment step."""
    mapping = config.terms.to_dict()
    if mapping.get("policy_delay") == 0:
        mapping["policy_delay"] = config.online.updates_per_step
    terms = terms_from_mapping(mapping)
    assert isinstance(terms, Terms)
    return terms


def get_config(name: str) -> ConfigDict:
    """Defaults of a task, shared by all algorithms; budgets and widths follow WSRL's protocol (arXiv 2412.07762)."""
    task, small = split_name(name)
    config = ConfigDict()
    # Offline algorithm; set by each algorithm's own file.
    config.algorithm = ""
    # Family of tasks: environment handling and score, see smac_jax/envs/tasks.py.
    config.task = task
    # The name it was asked for by: TASK, or TASK-small for the preset of two CPU cores.
    config.preset = name
    # Transitions in a batch.
    config.batch_size = 256

    config.network = ConfigDict()
    # Width of each hidden layer of actor, critic and denoiser.
    config.network.hidden_dims = {
        "kitchen": (512, 512, 512),
        "adroit_binary": (512, 512, 512),
        "locomotion": (256, 256),
        "antmaze": (256, 256),
        "pointmaze": (64, 64),
        "generic": (256, 256),
    }[task]
    # relu, silu, gelu or tanh, in actor and critic; the denoiser is always silu.
    config.network.activation = "relu"
    # Number of critics; their minimum is the value.
    config.network.critics = 2
    # LayerNorm before each activation of the critic.
    config.network.critic_layer_norm = True
    # Q(s, a) = V(s) + A(s, a), each by layers of its own.
    config.network.critic_dueling = False
    # Width of A's layers as a share of hidden_dims.
    config.network.critic_advantage_width = 1.0
    # LayerNorm before each activation of the actor.
    config.network.actor_layer_norm = False
    # The actor's spread reads its hidden layers and does not shape them.
    config.network.actor_detached_spread = False
    # The critic's values stand on kappa times the log-density of the actor's imitation.
    config.network.critic_anchored = False
    # Square of the distance from the mode, in standard deviations, from which on that log-density grows slowly.
    config.network.anchor_tail = TAIL
    # Whether there is a score model of the data's actions, and a state-value function; each algorithm's file sets them.
    config.network.denoiser = False
    config.network.value = False

    # The maze is small and its budget short.
    learning_rate = 1e-3 if task == "pointmaze" else 3e-4
    config.optimizer = ConfigDict()
    # adam, or muon: Muon on hidden kernels and Adam elsewhere.
    config.optimizer.name = "muon"
    # Updates between two of Muon's orthogonalisations; 1 is Muon as published, several times as slow as Adam.
    config.optimizer.muon_every = 4
    # Learning rate of the actor.
    config.optimizer.actor = learning_rate
    # Learning rate of the critic.
    config.optimizer.critic = learning_rate
    # Learning rate of the layers of the critic's advantages, where network.critic_dueling; 0 is the critic's.
    config.optimizer.advantage = 0.0
    # Learning rate of the denoiser.
    config.optimizer.denoiser = learning_rate
    # Learning rate of the temperature, and of kappa where it is learned.
    config.optimizer.temperature = 3e-4

    # Initial entropy temperature alpha, in units of reward per nat.
    config.temperature = 1.0
    # Initial scale between the score and the critic's action-gradient, in units of value per nat; SMAC's alone.
    config.kappa = 1.0

    config.reward = ConfigDict()
    # The learner's reward is scale * reward + shift; scores and logged returns are not touched.
    config.reward.scale = TASKS[task].reward_scale
    config.reward.shift = TASKS[task].reward_shift
    # Multiply the scale by 1000 / (largest - smallest return of the dataset).
    config.reward.normalize = False

    config.offline = ConfigDict()
    # Updates.
    config.offline.steps = {
        "kitchen": 250_000,
        "adroit_binary": 20_000,
        "locomotion": 250_000,
        "antmaze": 1_000_000,
        "pointmaze": 10_000,
        "generic": 250_000,
    }[task]

    config.online = ConfigDict()
    # Environment steps of each seed, the warm-up included.
    config.online.steps = 10_000 if task == "pointmaze" else 200_000
    # First environment steps, with the pre-trained policy and without updates.
    config.online.warmup_steps = 1_000 if task == "pointmaze" else 5_000
    # Share of each batch that comes from the offline dataset.
    config.online.offline_fraction = 0.5
    # Updates per environment step after the warm-up.
    config.online.updates_per_step = 1
    # Entropy bonus in the targets of SAC. Not where actions are pressed against their bounds, where the log-density of
    # a tanh-Gaussian has none: on pen it is 170 nats, and the bonus outweighs the reward. RLPD has it in locomotion.
    config.online.entropy_backup = task not in ("kitchen", "adroit_binary", "antmaze")
    # Two opposite samples a state in the actor's loss of SAC, in place of one: the same expectation, with less noise.
    config.online.antithetic = False
    # Under SAC the policy's spread reads the actor's hidden layers and does not shape them any more.
    config.online.detached_spread = False
    # Learning rate of the actor once it is fine-tuned; 0 keeps that of the pre-training. finetune begins with it as
    # its optimizer.actor, and changes optimizer.temperature by the same factor: where the actor cannot follow it, an
    # automatic temperature grows without end.
    config.online.actor_learning_rate = 0.0
    # The critic's, its optimizer.critic, likewise.
    config.online.critic_learning_rate = 0.0
    # That of the critic's advantages, its optimizer.advantage, likewise.
    config.online.advantage_learning_rate = 0.0
    # Transitions that a seed's replay holds; the oldest are overwritten. 0 holds all of them.
    config.online.replay_capacity = 0

    config.eval = ConfigDict()
    # Updates (pretrain) or environment steps (finetune) between evaluations; 0 is a tenth (pretrain) or a
    # twentieth (finetune) of the phase. finetune does not take it over from the checkpoint.
    config.eval.every = 0
    # The same until the phase's step `early_steps`, right behind the switch, where a drop shows first; 0 is off.
    config.eval.early_every = 0
    config.eval.early_steps = 0
    # Episodes of each evaluation and seed.
    config.eval.episodes = 10 if task in ("locomotion", "generic") else 50

    # Steps between rows of train.csv; evaluations and checkpoints have one as well.
    config.log_every = 1_000
    # Steps between checkpoints; evaluations are checkpointed as well.
    config.checkpoint_every = 10_000

    if small:
        config.batch_size = 128
        config.network.hidden_dims = (64, 64) if task == "pointmaze" else (128, 128)
        # On a CPU Muon's matrix iterations would take half of the time.
        config.optimizer.name = "adam"
        config.offline.steps = min(config.offline.steps, 50_000)
        config.online.steps = 4_000 if task == "pointmaze" else 10_000
        config.online.warmup_steps = config.online.steps // 10
    return config
