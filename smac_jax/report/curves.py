"""The plot of learning curves across the switch from offline to online."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, MaxNLocator

from smac_jax.report.collect import Curve, Run

matplotlib.use("Agg")

_COLORS = ("#0b6e99", "#d1495b", "#3a7d44", "#8f5fa8", "#c77d1e", "#555555")
_INK, _FAINT = "#222222", "#d9d9d9"


def _draw(axes: Axes, curve: Curve, color: str, label: str | None) -> None:
    """Mean over seeds, each seed as a thin line, and the range between them as a band."""
    axes.plot(curve.steps, curve.scores.T, color=color, alpha=0.35, linewidth=0.8)
    axes.fill_between(
        curve.steps, curve.scores.min(axis=0), curve.scores.max(axis=0), color=color, alpha=0.12, linewidth=0
    )
    axes.plot(curve.steps, curve.scores.mean(axis=0), color=color, linewidth=2.2, label=label)


def _style(axes: Axes, xlabel: str) -> None:
    axes.set_xlabel(xlabel, color=_INK)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.tick_params(colors=_INK, length=3)
    axes.locator_params(axis="x", nbins=5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def plot_learning_curves(runs: Sequence[Run], path: Path) -> None:
    """Draw one row a dataset: offline updates on the left, online environment steps on the right of the switch.

    Args:
        runs: finished runs; pre-trainings that a fine-tuning continues are drawn with it.
        path: PNG file to write.
    """
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    figure = Figure(figsize=(8.0, 3.8 * len(datasets)), dpi=130, layout=ConstrainedLayoutEngine(wspace=0.0, w_pad=0.01))
    grid = figure.subplots(len(datasets), 2, squeeze=False, sharey="row", width_ratios=(1, 1.5))
    for (offline, online), dataset in zip(grid, datasets, strict=True):
        mine = [run for run in runs if run.dataset == dataset]
        continued = {run.summary["algorithm"] for run in mine if run.online}
        drawn: set[str] = set()
        for index, run in enumerate(run for run in mine if run.online or run.summary["algorithm"] not in continued):
            color = _COLORS[index % len(_COLORS)]
            if run.offline and run.summary["algorithm"] not in drawn:
                # Several online methods continue one pre-training, which then belongs to none of them.
                shared = sum(other.label.startswith(run.summary["algorithm"]) for other in mine if other.online) > 1
                _draw(offline, run.offline, _INK if shared else color, None)
                drawn.add(run.summary["algorithm"])
            if run.online:
                _draw(online, run.online, color, run.label)
        _style(offline, "offline updates")
        # The last offline label would run into the first online one; pruning takes it only at the very edge.
        if any(run.offline for run in mine):
            offline.set_xlim(0, max(run.offline.steps[-1] for run in mine if run.offline))
        offline.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))
        _style(online, "online environment steps")
        offline.set_ylabel("score", color=_INK)
        offline.set_title(dataset, loc="left", fontsize=11, color=_INK)
        online.tick_params(axis="y", length=0)
        online.spines["left"].set(linestyle=(0, (4, 3)), color=_INK, linewidth=1.2)
        online.annotate(
            "switch", (0, 1), xycoords="axes fraction", xytext=(4, -4), textcoords="offset points", va="top",
            fontsize=9, color=_INK,
        )  # fmt: skip
        if any(run.online for run in mine):
            online.set_xlim(left=0)
            online.legend(frameon=False, loc="lower right", fontsize=9)
        lows = [curve.scores.min() for run in mine for curve in (run.offline, run.online) if curve]
        highs = [curve.scores.max() for run in mine for curve in (run.offline, run.online) if curve]
        low, high = min(0.0, *lows), max(highs)
        offline.set_ylim(low, high + 0.08 * max(high - low, np.finfo(float).eps))
    figure.savefig(path)
