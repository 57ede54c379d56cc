"""The methods of a suite and the fields it sets of their configurations, checked before anything runs."""

from collections.abc import Iterator

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from configs import _methods, finetune
from smac_jax.errors import InputError


def _unknown(fields: ConfigDict, config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Dotted names of fields that a configuration does not have."""
    for name, value in fields.items():
        if name not in config or isinstance(value, ConfigDict) != isinstance(config[name], ConfigDict):
            yield prefix + name
        elif isinstance(value, ConfigDict):
            yield from _unknown(value, config[name], f"{prefix}{name}.")


def _check_settled(suite: ConfigDict, task: ConfigDict, owner: str) -> None:
    """Raise `InputError` where suite or task set a field of the fine-tunings that the checkpoint has settled."""
    for name in (name for fields in (suite, task) for name in flatten_dict(fields.finetune.to_dict(), sep=".")):
        if finetune.is_settled(name):
            raise InputError(
                f"the suite's finetune sets {name}, which {owner} takes from its checkpoint; set it in pretrain"
            )


def _merge(phase: str, suite: ConfigDict, task: ConfigDict, config: ConfigDict, owner: str) -> ConfigDict:
    """A configuration with what suite and task set of a phase; raises `InputError` where that cannot be."""
    merged = ConfigDict(config.to_dict())
    for fields in (suite[phase], task[phase]):
        for name in _unknown(fields, config):
            raise InputError(f"the suite's {phase} sets {name}, which {owner} has not; configs/ lists the fields")
        try:
            merged.update(fields.to_dict())
        except TypeError as error:
            raise InputError(f"the suite's {phase} does not fit {owner}: {' '.join(str(error).split())}") from error
    return merged


def check_methods(suite: ConfigDict) -> None:
    """Check that all methods exist, and that their configurations have the fields that the suite sets.

    Raises:
        InputError: names the first that does not.
    """
    known = {
        "offline": _methods.names(from_scratch=False),
        "online": list(finetune.ALGORITHMS),
        "scratch": list(finetune.FROM_SCRATCH),
    }
    for field, methods in known.items():
        for name in suite[field]:
            if name not in methods:
                raise InputError(f"unknown method {name!r} in the suite's {field}; use some of {', '.join(methods)}")
    for task in (suite.tasks[name] for name in suite.only or suite.tasks):
        for offline in suite.offline:
            owner, config = f"configs/{offline}.py:{task.config}", _methods.get_config(offline, task.config)
            config = _merge("pretrain", suite, task, config, owner)
            for online in (pair[1] for pair in suite.pairs if pair[0] == offline and pair[1] in suite.online):
                tuned = finetune.from_checkpoint(config, online)
                owner = f"{offline} followed by {online}"
                _merge("finetune", suite, task, tuned, owner)
                _check_settled(suite, task, owner)
        for online in suite.scratch:
            owner, config = f"configs/{online}.py:{task.config}", _methods.get_config(online, task.config)
            _merge("finetune", suite, task, config, owner)
