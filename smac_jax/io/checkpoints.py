"""Checkpoints by orbax: arrays and JSON only, written atomically."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from flax import serialization

from smac_jax.errors import InputError

CHECKPOINTS = "checkpoints"


class Checkpoints:
    """The checkpoints of one run, the newest two kept.

    A checkpoint is a number of named pytrees of arrays and a JSON object of counters. A write that is cut off leaves
    no trace.
    """

    def __init__(self, workdir: Path, create: bool = True):
        """Open the checkpoints of a run; without `create`, they must be there (`InputError`)."""
        if not create and not (workdir / CHECKPOINTS).is_dir():
            raise InputError(f"{workdir} holds no checkpoint yet; let its run write one first")
        self._manager = ocp.CheckpointManager(
            (workdir / CHECKPOINTS).absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False),
        )

    @property
    def latest_step(self) -> int | None:
        """Step of the newest whole checkpoint, None without one."""
        return self._manager.latest_step()

    def save(self, step: int, counters: Mapping[str, Any], **items: Any) -> None:
        """Save pytrees by name and counters, and return when they are on disk."""
        arguments = {name: ocp.args.StandardSave(serialization.to_state_dict(tree)) for name, tree in items.items()}
        self._manager.save(step, args=ocp.args.Composite(counters=ocp.args.JsonSave(dict(counters)), **arguments))

    def newest_step(self) -> int:
        """Step of the newest whole checkpoint.

        Raises:
            InputError: there is none.
        """
        if self.latest_step is None:
            raise InputError(f"{self._manager.directory} holds no checkpoint yet; let its run write one first")
        return self.latest_step

    def counters(self) -> dict[str, Any]:
        """Counters of the newest checkpoint.

        Raises:
            InputError: there is no checkpoint.
        """
        arguments = ocp.args.Composite(counters=ocp.args.JsonRestore())
        return dict(self._manager.restore(self.newest_step(), args=arguments)["counters"])

    def restore(self, name: str, like: Any) -> Any:
        """A pytree of the newest checkpoint.

        Args:
            name: as it was saved.
            like: pytree with the structure, shapes and types that were saved.

        Raises:
            InputError: there is no checkpoint, or its shapes are not those of `like`.
        """
        step = self.newest_step()
        wanted = serialization.to_state_dict(like)
        saved = set(ocp.StandardCheckpointHandler().metadata(self._manager.directory / str(step) / name))
        # Written before there was such a part, by an agent that has none.
        absent = {part: None for part, value in wanted.items() if value is None and part not in saved}
        target = {part: value for part, value in wanted.items() if part not in absent}
        arguments = ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, target))
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**{name: arguments}))
        except ValueError as error:
            raise InputError(
                f"{self._manager.directory} does not fit the configured networks "
                f"({str(error).strip().splitlines()[0]}); use the configuration it was trained with"
            ) from error
        return serialization.from_state_dict(like, {**absent, **restored[name]})

    def close(self) -> None:
        """Release the manager's threads."""
        self._manager.close()
