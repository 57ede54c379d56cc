"""Rows of speed.json: medians over rounds, and ratios of workers that took turns."""

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from smac_jax.speed.machine import BFLOAT16, PRODUCTS, SGEMM
from smac_jax.speed.names import ENVIRONMENT, ONLINE, PROGRAM
from smac_jax.speed.timing import Measured
from smac_jax.speed.workers import ROW_FIELDS

Row = dict[str, Any]


def same_row(one: Row, other: Row) -> bool:
    """Whether two rows measure the same thing; a list and a tuple are the same, as in JSON."""
    return all(json.dumps(one[name]) == json.dumps(other[name]) for name in ROW_FIELDS)


def _find(measured: Sequence[Measured], like: Row, **changes: Any) -> Measured | None:
    """The worker whose row is `like` with changes."""
    wanted = {**like, **changes}
    return next((one for one in measured if same_row(one.worker.row, wanted)), None)


def _ratio(name: str, one: Measured, other: Measured | None) -> Row:
    """Ratio of two workers' rates, round by round: what slows the machine for a while slows both."""
    if other is None:
        return {name: None}
    ratios = [a / b for a, b in zip(one.rates, other.rates, strict=True)]
    return {name: statistics.median(ratios), f"{name}_spread": [min(ratios), max(ratios)]}


def _single_runs_ratio(measured: Sequence[Measured], one: Measured) -> Row:
    """Time of several seeds at once relative to that of as many runs of one, each with all threads."""
    row = one.worker.row
    single = _find(measured, row, seeds=1) if row["seeds"] > 1 else None
    return _ratio("single_runs_ratio", single, one) if single else {}


def _loop_ratio(measured: Sequence[Measured], one: Measured) -> Row:
    """Seconds of a step of the online loop relative to the slower of the environment and the update, round by round."""
    row = one.worker.row
    environment = _find(measured, row, method=ENVIRONMENT)
    update = _find(measured, row, method=row["method"].removeprefix(ONLINE))
    if not row["method"].startswith(ONLINE) or environment is None or update is None:
        return {}
    rounds = zip(one.rates, environment.rates, update.rates, strict=True)
    ratios = [min(alone) / together for together, *alone in rounds]
    return {"loop_ratio": statistics.median(ratios), "loop_ratio_spread": [min(ratios), max(ratios)]}


def _program_ratio(measured: Sequence[Measured], one: Measured) -> Row:
    """Updates of a program relative to those that are made without one."""
    row = one.worker.row
    if not row["method"].startswith(PROGRAM):
        return {}
    return _ratio("scan_ratio", one, _find(measured, row, method=row["method"].removeprefix(PROGRAM), overrides={}))


def sgemm_rates(measured: Sequence[Measured]) -> dict[int, list[float]]:
    """GFLOPS of the matrix product in each round, by threads."""
    return {one.worker.row["threads"]: one.rates for one in measured if one.worker.row["method"] == SGEMM}


def bfloat16_ratio(measured: Sequence[Measured]) -> Row:
    """Rate of the product in bfloat16 relative to float32, where the group has it."""
    for one in measured:
        if one.worker.row["method"] == BFLOAT16:
            return _ratio("bfloat16_to_sgemm", one, _find(measured, one.worker.row, method=SGEMM))
    return {}


def summarize_sgemm(rows: Sequence[Mapping[str, Any]]) -> Row:
    """The matrix product over groups: with the fewest threads, which is one, and with each number of threads."""
    peaks: dict[int, dict[str, float]] = {}
    for row in rows:
        if row["sgemm_gflops"] is not None:
            peaks.setdefault(row["threads"], {})[row["group"]] = row["sgemm_gflops"]
    by_threads = {
        str(threads): {
            "gflops": statistics.median(peaks[threads].values()),
            "spread": [min(peaks[threads].values()), max(peaks[threads].values())],
        }
        for threads in sorted(peaks)
    }
    return {
        "sgemm_gflops": next((peak["gflops"] for peak in by_threads.values()), None),
        "sgemm_by_threads": by_threads,
    }


def make_rows(group: str, measured: Sequence[Measured]) -> list[Row]:
    """Rows of a group, without the matrix products.

    `peak_share` is of the matrix product with the same threads in the same group; Muon's own products count as work.
    `ratio_to_sac` compares with our SAC under Adam with the same sizes and threads, and `ours_to_peer`, in a row of
    another library, our method with it. `loop_ratio` is what a step of the online loop takes, divided by the slower of
    its two parts alone, `single_runs_ratio` what several seeds take, divided by what as many runs of one take, and
    `scan_ratio` the rate of a whole program, divided by that of its updates alone. Spreads are the smallest and the
    largest of the rounds.
    """
    peaks = {threads: statistics.median(rates) for threads, rates in sgemm_rates(measured).items()}
    rows = []
    for one in measured:
        row = one.worker.row
        if row["method"] in PRODUCTS:
            continue
        rate, flops, peak = statistics.median(one.rates), one.said.get("flops_per_update"), peaks.get(row["threads"])
        work = None if flops is None else flops + one.said.get("optimizer_flops", 0.0)
        values = {
            "updates_per_second": rate,
            "updates_per_second_spread": [min(one.rates), max(one.rates)],
            "sgemm_gflops": peak,
            "peak_share": None if work is None or peak is None else work * rate / (peak * 1e9),
        }
        if row["peer"] is None:
            sac = _find(measured, row, method="sac", optimizer="adam", overrides={})
            values |= _ratio("ratio_to_sac", one, sac) | _single_runs_ratio(measured, one) | _loop_ratio(measured, one)
            values |= _program_ratio(measured, one)
        else:
            ours = _find(measured, row, peer=None)
            values |= {"ours_to_peer": None} if ours is None else _ratio("ours_to_peer", ours, one)
        rows.append({"group": group, **row, **one.said, **values})
    return rows
