"""CSV records that are appended row by row, and taken back to a step when a run resumes."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from smac_jax.errors import InputError

METRICS_FIELDS = (
    "phase",
    "step",
    "seed",
    "score",
    "return",
    "success",
    "length",
    "episodes",
    "wall_time",
)
EPISODE_FIELDS = ("phase", "step", "seed", "episode", "score", "return", "success", "length")


def _check_columns(path: Path, found: Sequence[str], fields: Sequence[str]) -> None:
    if list(found) != list(fields):
        odd = sorted(set(found) ^ set(fields)) or ["order"]
        raise InputError(
            f"{path} has other columns than {', '.join(fields)} ({odd[0]} differs): another version or program wrote "
            "it; move it away, or choose another --workdir"
        )


def read_rows(path: Path, fields: Sequence[str] | None = None) -> list[dict[str, str]]:
    """All rows of a CSV file; none if it does not exist.

    Args:
        path: CSV file.
        fields: columns that it must have; any if None.

    Raises:
        InputError: it has others.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if fields is not None and reader.fieldnames is not None:
            _check_columns(path, reader.fieldnames, fields)
        return list(reader)


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]], fields: Sequence[str] | None = None) -> None:
    """Append rows, with a header where the file is new, and flush them to the disk's cache.

    Args:
        path: CSV file.
        rows: each with the same names.
        fields: order of columns; by default that of the first row.

    Raises:
        InputError: the file has other columns.
    """
    rows = list(rows)
    if not rows:
        return
    columns = list(fields or rows[0])
    with path.open("a+", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        file.seek(0)
        header = next(csv.reader(file), None)
        if header is not None:
            _check_columns(path, header, columns)
        else:
            writer.writeheader()
        writer.writerows(rows)


def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]], fields: Sequence[str]) -> None:
    """Write a CSV file in place of an older one, which stays until the new one is whole.

    Args:
        path: CSV file, its folder made if missing.
        rows: each with names among `fields`.
        fields: columns.

    Raises:
        InputError: it cannot be written there.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(fields), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror}); choose another file") from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def rewind(path: Path, step: int, column: str = "step") -> None:
    """Drop the rows after `step`, and a last row that was cut off while it was written.

    Rows may be ahead of the checkpoint that a run resumes from; the resumed run writes them again.

    Args:
        path: CSV file.
        step: last one to keep.
        column: name of the column that counts steps.
    """
    if not path.exists():
        return
    with path.open(newline="") as file:
        lines = file.read().splitlines(keepends=True)
    if not lines or not lines[0].endswith("\n"):
        path.unlink()
        return
    place = lines[0].strip().split(",").index(column)
    kept = [line for line in lines[1:] if line.endswith("\n") and int(line.split(",")[place]) <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join([lines[0], *kept]))
    os.replace(temporary, path)
