"""Evaluations and checkpoints of a run, made in a thread beside its training."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp

from launch.session import Evaluator, Stopwatch, describe
from smac_jax.agent import AgentState
from smac_jax.io.checkpoints import Checkpoints
from smac_jax.io.logger import RunLogger


@jax.jit
def _copy(agent: AgentState) -> AgentState:
    return jax.tree.map(jnp.copy, agent)


@jax.jit
def _is_finite(agent: AgentState) -> jax.Array:
    numbers = [leaf for leaf in jax.tree.leaves(agent) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in numbers]))


def _apart(agent: AgentState) -> AgentState:
    """A copy on one device, for whose small calls several would wait longer than they compute."""
    return jax.device_put(_copy(agent), jax.local_devices()[0])


class Recorder:
    """Evaluates and saves an agent as it is at certain steps, while its training goes on.

    Steps are recorded one after another, and the checkpoint of a step appears when the rows of its evaluation are
    written. A run that is killed at any moment therefore goes on from a step whose records are whole.
    """

    def __init__(
        self,
        evaluate: Evaluator,
        logger: RunLogger,
        checkpoints: Checkpoints,
        watch: Stopwatch,
        tell: Callable[[str], object],
    ):
        """Take what evaluates, what is written to, the run's clock, and what prints the result of an evaluation."""
        self._evaluate, self._logger, self._checkpoints = evaluate, logger, checkpoints
        self._watch, self._tell = watch, tell
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._job: Future[None] | None = None

    def record(
        self, step: int, agent: AgentState, evaluated: bool, counters: Mapping[str, Any] | None = None, **items: Any
    ) -> None:
        """Begin to record a step, once the one before is recorded, and return.

        An evaluation's `wall_time` is when it begins, which is when its agent was there.

        Args:
            step: its number.
            agent: copied, so that the caller may donate it.
            evaluated: whether it is evaluated, or saved only.
            counters: for the checkpoint, beside the seconds spent.
            items: further pytrees for the checkpoint, which the caller must leave unchanged.

        Raises:
            FloatingPointError: the agent's numbers are not finite; the checkpoints before it stay.
            Exception: what the recording of the step before raised.
        """
        with self._watch.measure("wait"):
            self._finish()
        if not _is_finite(agent):
            raise FloatingPointError(
                f"the networks at step {step} are not finite: training diverged, and this step is not saved; lower "
                "the learning rates, or look for outliers in the data"
            )
        agent, wall_time = _apart(agent), self._watch.wall
        counters = {"seconds": self._watch.record(), **(counters or {})}

        def job() -> None:
            if evaluated:
                with self._watch.measure("evaluate"):
                    results = self._evaluate(agent, step)
                self._logger.evaluation(step, results, wall_time)
                self._tell(f"step {step}: {describe(results)}")
            with self._watch.measure("checkpoint"):
                self._checkpoints.save(step, counters, agent=agent, **items)

        self._job = self._thread.submit(job)

    def check(self) -> None:
        """Raise what the recording of a step has raised by now."""
        if self._job is not None and self._job.done():
            self._finish()

    def _finish(self) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the last step, and raise what it raised unless there is an error already."""
        self._thread.shutdown()
        if error is None:
            self._finish()
