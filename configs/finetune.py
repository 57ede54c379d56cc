"""Online methods: what fine-tuning puts in place of the offline terms.

Everything else - networks, optimisers, budgets, evaluation - comes from the checkpoint's configuration.
"""

import dataclasses

from ml_collections import ConfigDict, config_dict

from smac_jax.agent import terms as catalogue
from smac_jax.errors import InputError

EXPLORATION_NOISE = 0.1

ALGORITHMS = {
    # Terms, and the spread of the noise on the mode; None samples the policy.
    "sac": (catalogue.sac(), None),
    "td3": (catalogue.td3(), EXPLORATION_NOISE),
    "td3bc": (catalogue.td3bc(), EXPLORATION_NOISE),
}


def apply(config: ConfigDict, algorithm: str) -> ConfigDict:
    """The configuration of fine-tuning by `algorithm` what was pre-trained with `config`.

    Discount, tau and target entropy stay those of the pre-training: its critic means nothing under another discount.

    Raises:
        InputError: unknown method.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"unknown --algorithm={algorithm}; use one of {', '.join(ALGORITHMS)}")
    terms, exploration_noise = ALGORITHMS[algorithm]
    terms = dataclasses.replace(terms, discount=config.terms.discount, tau=config.terms.tau)
    if terms.temperature and "temperature" in config.terms:
        # The same target entropy on both sides: a jump of the target would be a jump of the policy.
        target = catalogue.TemperatureTerm(entropy_per_dim=config.terms.temperature.entropy_per_dim)
        terms = dataclasses.replace(terms, temperature=target)
    active = {name: value for name, value in dataclasses.asdict(terms).items() if value is not None}
    config = ConfigDict(config.to_dict())
    config.terms = ConfigDict(active)
    config.online_algorithm = algorithm
    # Spread of the noise on the policy's mode while collecting; None samples the policy instead.
    config.online.exploration_noise = config_dict.placeholder(float)
    if exploration_noise is not None:
        config.online.exploration_noise = exploration_noise
    config.eval.every = 0
    return config.lock()
