"""One panel across the switch: offline updates on the left of it, online environment steps on the right."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from smac_jax.report.collect import Curve
from smac_jax.report.pairs import Pair
from smac_jax.report.style import FAINT, INK, MUTED, Format, nice_ticks

# Share of the panel that is offline, where there is an online part.
_OFFLINE_SHARE = 0.4
# More pairs than this, and single seeds are not told apart any more.
_MAX_WITH_SEEDS = 4
_STEPS = EngFormatter(sep="")


class Span(NamedTuple):
    """What the two halves of a panel cover.

    Attributes:
        updates: offline updates; 0 where no curve of a pre-training is known.
        steps: online environment steps; 0 where nothing is fine-tuned.
        low: lowest value shown.
        high: highest value shown.
    """

    updates: float
    steps: float
    low: float
    high: float


def common_span(pairs: Iterable[Pair]) -> Span:
    """The span that holds all curves of the pairs, with some room above."""
    pairs = list(pairs)
    offline = [pair.offline for pair in pairs if pair.offline is not None]
    online = [pair.continued for pair in pairs if pair.continued is not None]
    scores = np.concatenate([curve.scores.ravel() for curve in (*offline, *online)] or [np.zeros(1)])
    scores = scores[np.isfinite(scores)]
    low, high = min(0.0, scores.min(initial=0.0)), scores.max(initial=0.0)
    room = 0.06 * (high - low or 1.0)
    return Span(
        updates=max((float(curve.steps[-1]) for curve in offline), default=0.0),
        steps=max((float(curve.steps[-1]) for curve in online), default=0.0),
        low=low - (room if low < 0 else 0.0),
        high=high + room,
    )


def _offline_width(span: Span) -> float:
    if not span.steps:
        return 1.0
    return _OFFLINE_SHARE if span.updates else 0.0


def _positions(curve: Curve, span: Span, online: bool) -> np.ndarray:
    """Place of each step between 0, the left edge, and 1, the right one; (K,)."""
    width = _offline_width(span)
    if online:
        return width + (1 - width) * curve.steps / (span.steps or 1.0)
    return width * curve.steps / (span.updates or 1.0)


def _draw(axes: Axes, x: np.ndarray, curve: Curve, seeds: bool, **line: Any) -> None:
    """Mean over seeds, the range between them as a band, and each seed as a thin line if `seeds`."""
    color, order = line["color"], line["zorder"]
    low, high = curve.scores.min(axis=0), curve.scores.max(axis=0)
    axes.fill_between(x, low, high, color=color, alpha=0.13, linewidth=0, zorder=order - 0.2)
    if seeds and len(curve.scores) > 1:
        axes.plot(x, curve.scores.T, color=color, alpha=0.35, linewidth=0.7, zorder=order - 0.1)
    axes.plot(x, curve.scores.mean(axis=0), **line)


def _label_steps(axes: Axes, span: Span, layout: Format, inches: float) -> None:
    """Ticks of both halves and the names of their units below."""
    width = _offline_width(span)
    places: list[float] = []
    labels: list[str] = []
    # A label takes about 0.45 in; that of the switch is always there.
    per_inch = 1 / 0.45
    for first, extent, share in ((0.0, span.updates, width), (width, span.steps, 1 - width)):
        if not extent or not share:
            continue
        places, labels = [*places, first], [*labels, "0"]
        for tick in nice_ticks(extent, max(1, int(share * inches * per_inch) - 1)):
            place = first + share * tick / extent
            # At its very end the offline part would write over the online part's 0.
            if first or not span.steps or (width - place) * inches > 0.3:
                places, labels = [*places, place], [*labels, _STEPS(tick)]
    axes.set_xticks(places, labels)
    names = (
        "offline updates" if width * inches > 1.05 else "updates",
        "online environment steps" if (1 - width) * inches > 1.7 else "online steps",
    )
    for name, first, share in ((names[0], 0.0, width if span.updates else 0.0), (names[1], width, 1 - width)):
        if share:
            axes.annotate(
                name, (first + share / 2, 0), xycoords="axes fraction", xytext=(0, -15 - layout.font / 2),
                textcoords="offset points", ha="center", va="top", fontsize=layout.font - 0.5, color=INK,
            )  # fmt: skip


def draw_panel(
    axes: Axes,
    pairs: Sequence[Pair],
    context: Sequence[Pair],
    span: Span,
    layout: Format,
    inches: float,
    colors: Mapping[str, str],
    styles: Mapping[str, Any],
) -> None:
    """Draw the curves of some pairs.

    Args:
        axes: the panel.
        pairs: drawn in colour, the first one on top.
        context: pairs of other panels, whose means are drawn in grey.
        span: what the panel covers; panels that are compared share it.
        layout: see `Format`.
        inches: width of the panel, about.
        colors: by `Pair.source`.
        styles: dashes by `Pair.label`.
    """
    axes.set(xlim=(0, 1), ylim=(span.low, span.high))
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.locator_params(axis="y", nbins=5)
    for pair in context:
        if pair.continued is not None:
            x = _positions(pair.continued, span, True)
            axes.plot(x, pair.continued.scores.mean(axis=0), color="#cccccc", linewidth=0.8, zorder=1)
    seeds = len(pairs) <= _MAX_WITH_SEEDS
    emphasis = 2.0 if seeds else 1.6
    drawn: set[str] = set()
    for order, pair in zip(range(len(pairs) + 2, 2, -1), pairs, strict=True):
        line: dict[str, Any] = {"color": colors[pair.source], "linewidth": emphasis, "zorder": order}
        # Several online methods continue one pre-training, which is drawn once.
        if pair.offline is not None and pair.source not in drawn:
            drawn.add(pair.source)
            _draw(axes, _positions(pair.offline, span, False), pair.offline, seeds, **line)
        if pair.continued is not None:
            line["linestyle"] = styles[pair.label]
            _draw(axes, _positions(pair.continued, span, True), pair.continued, seeds, **line)
    if span.updates and span.steps:
        axes.axvline(_OFFLINE_SHARE, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
    _label_steps(axes, span, layout, inches)


def name_switch(axes: Axes, span: Span, layout: Format, inches: float) -> None:
    """Write `switch` above its line, unless the panel's title is there."""
    line = axes.get_title(loc="left").rpartition("\n")[2]
    # A letter of the title takes about 0.008 in a point.
    taken = len(line) * 0.008 * layout.font
    if span.updates and span.steps and taken < _OFFLINE_SHARE * inches - 0.4:
        axes.annotate(
            "switch", (_OFFLINE_SHARE, 1), xycoords="axes fraction", xytext=(0, 2), textcoords="offset points",
            ha="center", va="bottom", fontsize=layout.font - 1, color=MUTED,
        )  # fmt: skip
