"""Tables of a measurement as Markdown, with the picture beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smac_jax.report.tables import NOTHING
from smac_jax.speed.names import ONLINE, count_text, method_name, overrides_text, widths_text
from smac_jax.speed.plot import draw

Row = Mapping[str, Any]

_TITLES = {
    "reference": "Methods",
    "penalty": "Ways to the gradient of the penalty",
    "widths": "Width and depth",
    "batch": "Batch size",
    "critics": "Critics",
    "seeds": "Seeds at once",
    "threads": "Threads",
    "loop": "The online loop",
    "calls": "Updates a step",
    "program": "The program",
}
_OFFLINE_TITLE = "Other libraries, offline"
_ONLINE_TITLE = "Other libraries, online"
_ONLINE_NOTE = "Each update comes with a step of the environment, whose time counts as well."
_PROGRAM_NOTE = """\
Updates of `launch.pretrain` with its progress bar, records and checkpoints. Where it evaluates, a turn is longer: it
holds one evaluation of 10 episodes and the updates between two of them, which go on beside it."""
_CALLS_NOTE = """\
The online loop with small networks and more updates a step of the environment, which are one call: what a step costs
beyond its updates is shared by as many."""
_NOTES = {_TITLES["calls"]: _CALLS_NOTE, _TITLES["program"]: _PROGRAM_NOTE, _ONLINE_TITLE: _ONLINE_NOTE}
_OWN = "smac_jax"

_READING = """\
An update is one step of every network that the method trains, on a batch drawn from {transitions:,} transitions of
HalfCheetah's dimensions: 17 observations, 6 actions. Each row is a process of its own, held to as many cores as it has
threads; the rows of a table took turns, {rounds} of {seconds:g} s each, and the numbers are medians over these rounds,
ratios being taken round by round, with the smallest and the largest in brackets. With several seeds the updates of all
of them count.

*GFLOP* are the floating-point operations of one update of one seed by the rules of `smac_jax/speed/flops.py`: the
products of matrices in dense layers, and behind a plus those of Muon. *Share of peak* is what they come to in a second,
the plus included, divided by what the machine reaches in products of large matrices with as many threads. *Time in
products* is how much of an update they take by a trace of JAX's profiler, on one thread; the rest goes to what
surrounds them. In small networks the trace itself is part of that rest. Columns in µs are the parts of one of our
online steps, each waited for: the environment's holds what Python does around it.
"""


def machine_text(result: Mapping[str, Any]) -> str:
    """The machine in one paragraph."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    peaks = " and ".join(
        f"{peak['gflops']:.0f} GFLOPS with {count_text(int(threads), 'thread')}"
        for threads, peak in result["sgemm_by_threads"].items()
    )
    return (
        f"Measured on {machine['cpu']}, of which {count_text(machine['cores'], 'core')} could be used, with "
        f"{machine['memory_gb']:.0f} GiB of memory, under {machine['system']}; {versions}. Its float32 products of "
        f"matrices reach {peaks or 'an unknown speed'}.{_bfloat16_text(result)}"
    )


def _bfloat16_text(result: Mapping[str, Any]) -> str:
    if result.get("bfloat16_to_sgemm") is None:
        return ""
    low, high = result["bfloat16_to_sgemm_spread"]
    return (
        f" Those of bfloat16 numbers, accumulated in float32, reach {result['bfloat16_to_sgemm']:.2f} of that "
        f"({low:.2f} to {high:.2f}) with one thread."
    )


_CONDITIONS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "optimizer": ("optimiser", str.capitalize),
    "hidden_dims": ("hidden layers", widths_text),
    "batch_size": ("batch size", "{:,}".format),
    "critics": ("critics", str),
    "seeds": ("seeds", str),
    "threads": ("threads", str),
}


def _number(value: float | None) -> str:
    """Three digits, or all those before the point."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _with_spread(row: Row, name: str) -> str:
    if row.get(name) is None:
        return NOTHING
    low, high = row[f"{name}_spread"]
    return f"{row[name]:.2f} ({low:.2f} to {high:.2f})"


def _gflop(row: Row) -> str:
    if row["flops_per_update"] is None:
        return NOTHING
    text, extra = f"{row['flops_per_update'] / 1e9:.2f}", row.get("optimizer_flops")
    return f"{text} + {extra / 1e9:.2f}" if extra else text


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f} %"


def _part(name: str) -> Callable[[Row], str]:
    return lambda row: _number(1e6 * row["step_parts"][name] if "step_parts" in row else None)


_MEASURES: dict[str, Callable[[Row], str]] = {
    "updates/s": lambda row: _number(row["updates_per_second"]),
    "relative to SAC": lambda row: _with_spread(row, "ratio_to_sac"),
    "ours, relative to it": lambda row: _with_spread(row, "ours_to_peer"),
    "time / single runs": lambda row: _with_spread(row, "single_runs_ratio"),
    "time / slower part": lambda row: _with_spread(row, "loop_ratio"),
    "relative to updates alone": lambda row: _with_spread(row, "scan_ratio"),
    "GFLOP": _gflop,
    "share of peak": lambda row: _percent(row["peak_share"]),
    "time in products": lambda row: _percent(row.get("products_share")),
    "acting, µs": _part("act"),
    "updating, µs": _part("update"),
    "inserting, µs": _part("insert"),
    "the environment, µs": _part("environment"),
    "compilation, s": lambda row: _number(row["compile_seconds"]),
    "memory, MiB": lambda row: _number(row["peak_memory_mb"]),
}


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def group_table(rows: Sequence[Row]) -> str:
    """A table of one group: what differs between its rows, and all measures; above it what they have in common."""
    varied = [name for name in _CONDITIONS if len({str(row[name]) for row in rows}) > 1]
    overrides = {overrides_text(row) for row in rows}
    common = [f"{title}: {text(rows[0][name])}" for name, (title, text) in _CONDITIONS.items() if name not in varied]
    labels: dict[str, Callable[[Row], str]] = {"method": lambda row: method_name(row["method"])}
    if len(overrides) > 1:
        labels |= {"with": lambda row: overrides_text(row) or NOTHING}
    elif overrides != {""}:
        common += [f"our configuration with {overrides.pop()}"]
    if any(row["peer"] for row in rows):
        labels = {"library": lambda row: row["peer"] or _OWN, **labels}
    cells = [
        [
            *(text(row) for text in labels.values()),
            *(_CONDITIONS[name][1](row[name]) for name in varied),
            *(text(row) for text in _MEASURES.values()),
        ]
        for row in rows
    ]
    head = [*labels, *(_CONDITIONS[name][0] for name in varied), *_MEASURES]
    # A measure that no row has is left out.
    kept = [index for index in range(len(head)) if any(line[index] != NOTHING for line in cells)]
    first_number = len(labels)
    rule = "|" + "".join("---|" if index < first_number else "---:|" for index in kept)
    table = [_line([head[index] for index in kept]), rule, *(_line([line[index] for index in kept]) for line in cells)]
    return "\n".join([_sentence("; ".join(common)), "", *table])


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _tables(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the heading of their table; those of other libraries come together, apart by where they learn."""
    # In this order whichever was measured first: a measurement that goes on may take up an earlier group last.
    tables: dict[str, list[Row]] = {title: [] for title in (*_TITLES.values(), _OFFLINE_TITLE, _ONLINE_TITLE)}
    for row in rows:
        peers = _ONLINE_TITLE if row["method"].startswith(ONLINE) else _OFFLINE_TITLE
        tables[_TITLES.get(row["group"], peers)].append(row)
    return {title: members for title, members in tables.items() if members}


def render(result: Mapping[str, Any], picture: str | None) -> str:
    """The page.

    Args:
        result: content of speed.json.
        picture: path of the picture, relative to the page, if there is one.
    """
    settings = result["settings"]
    reading = _READING.format(**settings)
    parts = ["# Speed", *([f"![What an update costs]({picture})"] if picture else []), machine_text(result), reading]
    for title, rows in _tables(result["rows"]).items():
        parts += [f"## {title}", *([_NOTES[title]] if title in _NOTES else []), group_table(rows)]
    if result["failures"]:
        parts += ["## Failed", *(f"- {line}" for line in result["failures"])]
    parts += [f"```bash\n{command(settings)}\n```"]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def command(settings: Mapping[str, Any]) -> str:
    """The command that measures it again."""
    parts = ["python -m launch.speed --workdir=runs/speed", *(["--peers"] if settings["peers"] else [])]
    parts += [f"--only={','.join(settings['only'])}", f"--rounds={settings['rounds']}"]
    return " ".join([*parts, f"--seconds={settings['seconds']:g}"])


def write_page(result: Mapping[str, Any], page: Path) -> None:
    """Write the page, and the picture under the same name where there is something to draw."""
    picture = page.with_suffix(".png")
    drawn = draw(result["rows"])
    if drawn:
        picture.write_bytes(drawn)
    page.write_text(render(result, picture.name if drawn else None))
