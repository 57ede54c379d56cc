"""The picture of a measurement: what each method costs, and how near it comes to the machine's peak by width."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import PercentFormatter

from smac_jax.report.style import FAINT, INK, MUTED, WIDE, new_figure, png, source_colors, tidy
from smac_jax.speed.names import ONLINE, method_name, widths_text

Row = Mapping[str, Any]

_BAR = 0.36
_SMALL = WIDE.font - 1.5


def _pale(color: str) -> tuple[float, ...]:
    """A colour mixed with white, which hides the grid behind it."""
    return tuple(1 - 0.4 * (1 - part) for part in to_rgb(color))


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=WIDE.font, loc="left", color=INK, pad=10)


def _range_and_text(axes: Axes, place: float, value: float, spread: tuple[float, float], text: str) -> None:
    """The range of the rounds on a horizontal bar, and a text at its end, on white that hides what is below."""
    axes.plot(spread, [place, place], color=INK, linewidth=1.0, solid_capstyle="butt")
    axes.annotate(
        text,
        (max(value, spread[1]), place),
        (4, 0),
        textcoords="offset points",
        va="center",
        fontsize=_SMALL,
        color=MUTED,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def _methods(axes: Axes, rows: Sequence[Row]) -> None:
    """Rates relative to SAC under Adam: a bar for Adam, a pale one for Muon below it, and the rounds' range."""
    adam = {row["method"]: row["ratio_to_sac"] for row in rows if row["optimizer"] == "adam"}
    methods = sorted({row["method"] for row in rows}, key=lambda method: adam.get(method, 0.0))
    colors = source_colors(methods)
    for row in rows:
        muon = row["optimizer"] == "muon"
        place = methods.index(row["method"]) + (-_BAR / 2 if muon else _BAR / 2)
        value, (low, high) = row["ratio_to_sac"], row["ratio_to_sac_spread"]
        axes.barh(
            place, value, _BAR, color=_pale(colors[row["method"]]) if muon else colors[row["method"]], linewidth=0
        )
        _range_and_text(axes, place, value, (low, high), f"{value:.2f}" + (" Muon" if muon else ""))
    axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_yticks(range(len(methods)), [method_name(method) for method in methods])
    axes.set_xlim(0, 1.18 * max(row["ratio_to_sac_spread"][1] for row in rows))
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    _title(axes, "Updates a second, relative to SAC with Adam")


def _widths(axes: Axes, rows: Sequence[Row]) -> None:
    """Share of the machine's peak, a bar for each method at each width."""
    widths = list(dict.fromkeys(widths_text(row["hidden_dims"]) for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    colors = source_colors(methods)
    for row in rows:
        offset = (methods.index(row["method"]) - (len(methods) - 1) / 2) * _BAR
        place, value = widths.index(widths_text(row["hidden_dims"])) + offset, row["peak_share"]
        axes.bar(place, value, _BAR * 0.94, color=colors[row["method"]], linewidth=0, label=method_name(row["method"]))
        axes.annotate(
            f"{100 * value:.0f}",
            (place, value),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=_SMALL,
            color=MUTED,
        )
    axes.set_xticks(range(len(widths)), widths)
    axes.set_xlabel("hidden layers", fontsize=WIDE.font - 1, color=INK)
    axes.set_ylim(0, max(1.0, 1.1 * max(row["peak_share"] for row in rows)))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(unique.values(), unique.keys(), fontsize=WIDE.font - 1, frameon=False, loc="upper left", ncols=2)
    _title(axes, "Share of the peak of matrix products")


def _peer_name(row: Row) -> str:
    return f"{method_name(row['method'])}, {row['peer']}, {widths_text(row['hidden_dims'])}"


def _peers(axes: Axes, rows: Sequence[Row]) -> None:
    """How many times our updates outnumber other libraries'."""
    rows = sorted(rows, key=lambda row: row["ours_to_peer"])
    colors = source_colors(sorted({row["method"].removeprefix(ONLINE) for row in rows}))
    for place, row in enumerate(rows):
        value, (low, high) = row["ours_to_peer"], row["ours_to_peer_spread"]
        axes.barh(place, value, 0.6, color=colors[row["method"].removeprefix(ONLINE)], linewidth=0)
        _range_and_text(axes, place, value, (low, high), f"{value:.1f}")
    axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axes.set_yticks(range(len(rows)), [_peer_name(row) for row in rows])
    axes.set_xlim(0, 1.15 * max(row["ours_to_peer_spread"][1] for row in rows))
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    _title(axes, "Our updates a second, relative to other libraries'")


def _panels(rows: Sequence[Row]) -> list[tuple[Callable[[Axes, Sequence[Row]], None], list[Row], int]]:
    """What there is to draw: the panel, its rows and the number of its bars one above the other."""
    plain = [row for row in rows if not row["overrides"] and row["peer"] is None]
    methods = [row for row in plain if row["group"] == "reference" and row["ratio_to_sac"] is not None]
    widths = [row for row in plain if row["group"] == "widths" and row["peak_share"] is not None]
    peers = [row for row in rows if row["peer"] and row.get("ours_to_peer") is not None]
    found = [(_methods, methods, len(methods)), (_widths, widths, 0), (_peers, peers, len(peers))]
    return [panel for panel in found if panel[1]]


def draw(rows: Sequence[Row]) -> bytes | None:
    """The picture as a PNG file; None where no group was measured that it shows."""
    panels = _panels(rows)
    if not panels:
        return None
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    heights = [0.0] * lines
    for number, (_, _, bars) in enumerate(panels):
        heights[number // columns] = max(heights[number // columns], 0.9 + 0.24 * bars if bars else 2.6)
    figure = new_figure(WIDE, sum(heights))
    grid = figure.add_gridspec(lines, columns, height_ratios=heights, width_ratios=[1.25, 1.0][:columns])
    for number, (panel, shown, _) in enumerate(panels):
        last = number == len(panels) - 1
        line, column = divmod(number, columns)
        axes = figure.add_subplot(grid[line, column:] if last else grid[line, column])
        panel(axes, shown)
        tidy(axes, WIDE)
    return png(figure)
