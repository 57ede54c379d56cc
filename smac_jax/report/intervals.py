"""Picture of the measures over all tasks: interquartile means with their intervals, by pair."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from smac_jax.report.comparison import Overall
from smac_jax.report.pairs import online_rank
from smac_jax.report.style import FAINT, INK, MUTED, Format, new_figure, round_ticks, tidy

_SHOWN = {"regret": "regret", "net_drop": "drop - noise"}
_ROW_HEIGHT = 0.24


def _layout_rows(rows: Sequence[Overall]) -> list[tuple[float, str, Overall | None]]:
    """Height from the top, in rows, text and pair: headings for online methods of several pairs, and for the others."""
    tuned = [row for row in rows if row.online]
    onlines = sorted({row.online for row in tuned if row.online}, key=online_rank)
    groups = {f"→ {online}": [row for row in tuned if row.online == online] for online in onlines}
    groups = {title: members for title, members in groups.items() if len(members) > 1}
    others = [row for row in tuned if f"→ {row.online}" not in groups]
    if others:
        groups["other pairs" if groups else ""] = others
    placed: list[tuple[float, str, Overall | None]] = []
    height = 0.0
    for title, members in groups.items():
        if title:
            placed.append((height, title, None))
            height += 1.0
        for row in members:
            placed.append((height, row.source if title.startswith("→") else row.label, row))
            height += 1.0
        height += 0.4
    return placed


def intervals_figure(rows: Sequence[Overall], tasks: int, colors: Mapping[str, str], layout: Format) -> Figure:
    """Regret and drop of each pair over the tasks, low values being good, 95 % intervals as bars.

    Args:
        rows: see `compare_over_tasks`.
        tasks: number of tasks there are; a pair that lacks some has a hollow marker.
        colors: see `source_colors`.
        layout: see `Format`.
    """
    placed = _layout_rows(rows)
    extent = placed[-1][0] + 0.8
    figure = new_figure(layout, _ROW_HEIGHT * extent + 0.85)
    grid = figure.subplots(1, len(_SHOWN), squeeze=False)[0]
    for axes, (measure, title) in zip(grid, _SHOWN.items(), strict=True):
        tidy(axes, layout)
        axes.set_ylim(extent, -0.8)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"IQM of {title}\n(lower is better)", fontsize=layout.font - 0.5, color=INK)
        axes.xaxis.set_major_locator(round_ticks(5 if layout.columns > 1 else 4))
        for height, _, row in placed:
            if row is None:
                continue
            axes.axhline(height, color="#f0f0f0", linewidth=0.6, zorder=0)
            estimate = row.estimates[measure]
            if estimate is None:
                continue
            color = colors[row.source]
            if estimate.interval:
                axes.plot(estimate.interval, (height, height), color=color, linewidth=2.2, solid_capstyle="butt")
            fill = color if row.tasks == tasks else "white"
            axes.plot(estimate.value, height, "o", markersize=6, color=color, markerfacecolor=fill, zorder=3)
        if measure == "net_drop":
            axes.axvline(0.0, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
    for axes in grid:
        axes.set_yticks([height for height, _, _ in placed], [""] * len(placed))
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticklabels([text for _, text, _ in placed], fontsize=layout.font, color=INK)
    for label, (_, _, row) in zip(grid[0].get_yticklabels(), placed, strict=True):
        label.set_fontweight("normal" if row else "bold")
    return figure
