"""Picture of the scores between an offline policy and the one that fine-tuning has made of it."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from smac_jax.report.style import FAINT, INK, Format, fit_title, new_figure, source_colors, tidy


def landscape_figure(
    title: str, algorithm: str, unit: str, shares: np.ndarray, scores: np.ndarray, layout: Format
) -> Figure:
    """Mean over seeds, the range between them as a band, and each seed as a thin line.

    Args:
        title: of the picture.
        algorithm: offline method, which has its colour.
        unit: what the score is, in words.
        shares: (P,) of the way, from 0, the offline policy, to 1, the online one.
        scores: (S, P).
        layout: see `Format`.
    """
    color = source_colors([algorithm])[algorithm]
    figure = new_figure(layout, 3.4)
    axes = figure.subplots()
    tidy(axes, layout)
    axes.fill_between(shares, scores.min(axis=0), scores.max(axis=0), color=color, alpha=0.13, linewidth=0)
    if len(scores) > 1:
        axes.plot(shares, scores.T, color=color, alpha=0.35, linewidth=0.8)
    axes.plot(shares, scores.mean(axis=0), color=color, linewidth=2.0, marker="o", markersize=4)
    low, high = min(0.0, scores.min()), scores.max()
    room = 0.06 * (high - low or 1.0)
    axes.set_ylim(low - (room if low < 0 else 0.0), high + room)
    axes.set_xlim(-0.01, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel("way from the offline policy's parameters to the online policy's", fontsize=layout.font, color=INK)
    axes.set_ylabel(f"score\n({unit})", fontsize=layout.font - 0.5, color=INK)
    font = layout.font + 0.5
    axes.set_title(fit_title(title, font, layout.width - 0.8), loc="left", fontsize=font, color=INK)
    return figure
