"""The report as one self-contained HTML page, and its table as Markdown."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from smac_jax.report.collect import Run

_COLUMNS = {
    "offline": "offline_score",
    "drop": "drop",
    "drop noise": "drop_noise",
    "final": "final_score",
    "regret": "regret",
    "train regret": "train_regret",
}


def _cell(values: Sequence[float | None]) -> dict[str, str]:
    """Mean and range over seeds; a dash where the run has no such measure."""
    known = [value for value in values if value is not None]
    if not known:
        return {"mean": "-", "spread": ""}
    spread = f"{min(known):.3f} to {max(known):.3f}" if len(known) > 1 else ""
    return {"mean": f"{np.mean(known):.3f}", "spread": spread}


def _rates(summary: dict[str, Any]) -> str:
    parts = [
        f"{summary[name]:.0f} {unit}"
        for name, unit in (
            ("updates_per_second", "updates/s"),
            ("env_steps_per_second", "environment steps/s"),
        )
        if summary[name] is not None
    ]
    return ", ".join([*parts, f"{summary['compile_seconds']:.1f} s of compilation"])


def summary_rows(runs: Sequence[Run], directory: Path) -> list[dict[str, Any]]:
    """Table rows, one a run."""
    return [
        {
            "dataset": run.dataset,
            "method": run.label,
            "seeds": len(run.summary["seeds"]),
            "cells": [_cell(run.summary[field]) for field in _COLUMNS.values()],
            "workdir": run.workdir.relative_to(directory).as_posix(),
            "seconds": f"{run.summary['wall_time']:.0f}",
            "rates": _rates(run.summary),
        }
        for run in runs
    ]


def write_page(runs: Sequence[Run], directory: Path, picture: Path, path: Path) -> None:
    """Write the page with the picture inside.

    Args:
        runs: finished runs below `directory`.
        directory: shown paths are relative to it.
        picture: PNG file.
        path: HTML file to write.
    """
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("page.html").read_text())
    path.write_text(
        template.render(
            title="smac_jax: offline to online",
            picture=base64.b64encode(picture.read_bytes()).decode(),
            columns=list(_COLUMNS),
            rows=summary_rows(runs, directory),
        )
    )


def write_markdown(runs: Sequence[Run], directory: Path, path: Path) -> None:
    """Write the page's table as Markdown, each cell a mean over seeds with their range.

    Args:
        runs: finished runs below `directory`.
        directory: see `write_page`.
        path: Markdown file to write.
    """
    names = ["dataset", "method", "seeds", *_COLUMNS]
    lines = ["| " + " | ".join(names) + " |", "|---|---|" + "---:|" * (len(names) - 2)]
    for row in summary_rows(runs, directory):
        cells = [f"{cell['mean']} ({cell['spread']})" if cell["spread"] else cell["mean"] for cell in row["cells"]]
        lines.append("| " + " | ".join([row["dataset"], row["method"], str(row["seeds"]), *cells]) + " |")
    path.write_text("\n".join(lines) + "\n")
