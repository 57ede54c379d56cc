"""Colours, line styles and sizes that all pictures of a report share."""

import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from PIL import Image

from smac_jax.report.pairs import SCRATCH, source_rank

INK, MUTED, FAINT = "#222222", "#666666", "#d9d9d9"

# Okabe and Ito's palette (jfly.uni-koeln.de/color), told apart with any of the common colour deficiencies; its yellow
# and black are replaced by an olive and a grey, that stand out from white and from a dark page.
_OKABE_ITO = {
    "smac": "#0072b2",
    "calql": "#d55e00",
    "cql": "#e69f00",
    "iql": "#009e73",
    "td3bc": "#cc79a7",
    "bc": "#56b4e9",
    SCRATCH: "#777777",
}
_FURTHER = ("#8c8c1a", "#7a4b9a", "#7b3f1d")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (7, 2, 1.5, 2)), (0, (3, 1.5, 1, 1.5, 1, 1.5)))


class Format(NamedTuple):
    """Where a picture is to be read; sizes are such that letters are as large on the screen as the page's own.

    Attributes:
        width: in.
        dpi: pixels per inch; twice those of the screen.
        font: size of most letters, pt.
        columns: panels beside each other, at most.
    """

    width: float
    dpi: int
    font: float
    columns: int


WIDE = Format(width=9.6, dpi=150, font=9.5, columns=3)
NARROW = Format(width=3.7, dpi=190, font=9.0, columns=1)


def source_colors(sources: Iterable[str]) -> dict[str, str]:
    """Colour by offline method: always the same for a known one, free ones for the others, repeated when used up."""
    sources = sorted(set(sources), key=source_rank)
    spare = [color for name, color in _OKABE_ITO.items() if name not in sources]
    # What no known method can claim comes first: a report with one more method then keeps the colours it had.
    free = [*_FURTHER, *reversed(spare)]
    unknown = [source for source in sources if source not in _OKABE_ITO]
    return {
        **{source: _OKABE_ITO[source] for source in sources if source in _OKABE_ITO},
        **{source: free[index % len(free)] for index, source in enumerate(unknown)},
    }


def dashes(names: Sequence[str], first: int = 0) -> dict[str, Any]:
    """A line style for each name in turn, the first one solid unless `first` is above 0."""
    return {name: _DASHES[(first + index) % len(_DASHES)] for index, name in enumerate(names)}


def new_figure(layout: Format, height: float) -> Figure:
    """A figure of the format's width and `height` inches, whose parts make room for each other."""
    engine = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.03)
    return Figure(figsize=(layout.width, height), dpi=layout.dpi, layout=engine, facecolor="white")


def tidy(axes: Axes, layout: Format) -> None:
    """What all plots have: letters in the format's size, a faint grid across the values, no box."""
    axes.tick_params(colors=INK, length=3, labelsize=layout.font - 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.set_axisbelow(True)


def round_ticks(count: int) -> MaxNLocator:
    """Ticks at most `count` intervals of round numbers apart."""
    return MaxNLocator(count, steps=[1, 2, 2.5, 5, 10])


def nice_ticks(high: float, count: int) -> list[float]:
    """At most about `count` round numbers above 0 and up to `high`."""
    ticks = round_ticks(count).tick_values(0.0, high)
    return [float(tick) for tick in ticks if 0 < tick <= high * (1 + 1e-9)]


def fit_title(title: str, font: float, inches: float) -> str:
    """A dataset's id, broken behind its last slash where it would not fit into `inches` at `font` pt."""
    space, _, name = title.rpartition("/")
    # A letter takes about 0.0083 in a point.
    return f"{space}/\n{name}" if space and len(title) * 0.0083 * font > inches else title


def png(figure: Figure) -> bytes:
    """The figure as a PNG file of 256 colours, a third of the size of all of them."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(
        buffer, format="png", optimize=True, dpi=(figure.dpi, figure.dpi)
    )
    return buffer.getvalue()
