"""Pictures of learning curves across the switch: of one task, and of all tasks at once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from smac_jax.report.pairs import Pair, online_rank
from smac_jax.report.style import INK, Format, dashes, fit_title, new_figure, tidy
from smac_jax.report.timeline import Span, common_span, draw_panel, name_switch

# So many pairs are told apart in one panel, by colour and line style; more are spread over panels.
_MAX_IN_PANEL = 4


class _Panel(NamedTuple):
    title: str
    # Of the values' axis; empty where the panel to the left has the same one.
    ylabel: str
    pairs: Sequence[Pair]
    context: Sequence[Pair]
    span: Span


class _Facets(NamedTuple):
    """How pairs are spread over panels.

    Attributes:
        members: labels of the pairs by title of their panel; a single panel has no title.
        styles: dashes by label.
        legend: label, or source where a colour is enough, to a pair that shows its look.
    """

    members: dict[str, set[str]]
    styles: dict[str, Any]
    legend: dict[str, Pair]


def _spread(pairs: Sequence[Pair], most: int) -> _Facets:
    """One panel for few pairs; else one for each online method that continues several, and one for all others.

    Args:
        pairs: of all tasks in the picture.
        most: number of pairs on one task.
    """
    by_label = {pair.label: pair for pair in pairs}
    onlines = sorted({pair.online for pair in pairs if pair.online}, key=online_rank)
    labels = {online: {label for label, pair in by_label.items() if pair.online == online} for online in onlines}
    shared = [online for online in onlines if len(labels[online]) > 1]
    rest = {label for label, pair in by_label.items() if pair.online not in shared}
    if most <= _MAX_IN_PANEL or not shared or (len(shared) == 1 and not rest):
        by_online = dashes(onlines)
        styles = {label: by_online.get(pair.online or "", "-") for label, pair in by_label.items()}
        return _Facets({"": set(by_label)}, styles, by_label)
    members = {f"→ {online}": labels[online] for online in shared}
    if rest:
        tuned = {pair.online for label, pair in by_label.items() if label in rest and pair.online}
        members["offline only" if not tuned else f"→ {tuned.pop()}" if len(tuned) == 1 else "other methods"] = rest
    # Colours tell the pairs of a panel from each other, unless one source is continued by several of the others.
    foreign = [online for online in onlines if any(_is_foreign(by_label[label], online) for label in rest)]
    by_online = dashes(foreign, first=1)
    styles = {label: by_online.get(pair.online or "", "-") for label, pair in by_label.items()}
    sources = {pair.source: pair for pair in pairs if pair.label not in rest or not pair.online}
    return _Facets(members, styles, {**sources, **{label: by_label[label] for label in by_label if label in rest}})


def _is_foreign(pair: Pair, online: str) -> bool:
    return pair.online == online and pair.algorithm != online and pair.label != online


def _add_legend(figure: Figure, facets: _Facets, colors: Mapping[str, str], layout: Format) -> int:
    """A legend below all panels; returns its number of rows."""
    handles = [
        Line2D([], [], color=colors[pair.source], linestyle=facets.styles[name] if name == pair.label else "-", lw=2)
        for name, pair in facets.legend.items()
    ]
    # An entry takes about 0.085 in a letter at 9.5 pt and 0.75 in for its line.
    inches = 0.75 + 0.009 * layout.font * max(map(len, facets.legend))
    rows = -(-len(handles) // max(1, int(layout.width / inches)))
    columns = -(-len(handles) // rows)
    figure.legend(
        handles, list(facets.legend), loc="outside lower center", ncols=columns, frameon=False, fontsize=layout.font,
        labelcolor=INK, handlelength=2.8,
    )  # fmt: skip
    return rows


def _draw_grid(
    panels: Sequence[_Panel | None],
    columns: int,
    panel_height: float,
    title: str,
    facets: _Facets,
    colors: Mapping[str, str],
    layout: Format,
) -> Figure:
    """Draw panels row by row; a None leaves its place empty."""
    rows = -(-len(panels) // columns)
    figure = new_figure(layout, panel_height * rows)
    legend_rows = _add_legend(figure, facets, colors, layout)
    figure.set_figheight(panel_height * rows + 0.2 + 0.3 * bool(title) + 0.2 * legend_rows)
    if title:
        figure.suptitle(
            fit_title(title, layout.font + 1.5, layout.width), x=0.012, ha="left", fontsize=layout.font + 1.5, color=INK
        )
    grid = figure.subplots(rows, columns, squeeze=False)
    inches = layout.width / columns - 0.6
    for place, axes in enumerate(grid.flat):
        panel = panels[place] if place < len(panels) else None
        if panel is None:
            axes.set_visible(False)
            continue
        tidy(axes, layout)
        draw_panel(axes, panel.pairs, panel.context, panel.span, layout, inches, colors, facets.styles)
        axes.set_title(panel.title, loc="left", fontsize=layout.font + 0.5, color=INK)
        name_switch(axes, panel.span, layout, inches)
        if panel.ylabel:
            axes.set_ylabel(panel.ylabel, fontsize=layout.font - 0.5, color=INK)
        else:
            axes.tick_params(axis="y", labelleft=False)
    return figure


def _facet(pairs: Sequence[Pair], facets: _Facets, columns: int) -> list[_Panel]:
    """The panels of one task, all with the same axes; in each, the curves of the others are grey."""
    span = common_span(pairs)
    return [
        _Panel(
            title=title,
            ylabel="" if index % columns else f"score\n({pairs[0].unit})",
            pairs=[pair for pair in pairs if pair.label in members],
            context=[pair for pair in pairs if pair.label not in members],
            span=span,
        )
        for index, (title, members) in enumerate(facets.members.items())
    ]


def task_figure(title: str, pairs: Sequence[Pair], colors: Mapping[str, str], layout: Format) -> Figure:
    """Learning curves of one task, in one panel or, where there are many pairs, in several.

    Args:
        title: the figure's, empty for none.
        pairs: of the task.
        colors: see `source_colors`.
        layout: see `Format`.
    """
    facets = _spread(pairs, len(pairs))
    count = len(facets.members)
    # Four panels are a square rather than a row and a rest.
    columns = min(layout.columns, count if count < 4 else 2 if count == 4 else 3)
    height = min(3.6, 0.72 * layout.width) if count == 1 else 2.4 if columns > 1 else 2.2
    return _draw_grid(_facet(pairs, facets, columns), columns, height, title, facets, colors, layout)


def overview_figure(tasks: Mapping[str, Sequence[Pair]], colors: Mapping[str, str], layout: Format) -> Figure:
    """Learning curves of several tasks: a panel each, or a row each where there are many pairs.

    Args:
        tasks: pairs by dataset.
        colors: see `source_colors`.
        layout: see `Format`; a row of more than four panels makes the picture wider.
    """
    facets = _spread([pair for pairs in tasks.values() for pair in pairs], max(map(len, tasks.values())))
    count = len(facets.members)
    panels: list[_Panel | None] = []
    columns = count if count > 1 else min(layout.columns, 2 if len(tasks) in (2, 4) else 3)
    for dataset, pairs in tasks.items():
        # The heading of a row has all of it.
        inches = layout.width / (columns if count == 1 else 1) - 0.6
        title = fit_title(dataset, layout.font + 0.5, inches)
        first, *others = _facet(pairs, facets, max(count, 1))
        heading = title if count == 1 else f"{title}\n{first.title}"
        panels += [first._replace(title=heading), *(panel if panel.pairs else None for panel in others)]
    if count > 1:
        wider = layout._replace(width=max(layout.width, 2.4 * count))
        return _draw_grid(panels, columns, 2.3, "", facets, colors, wider)
    return _draw_grid(panels, columns, 2.6, "", facets, colors, layout)
