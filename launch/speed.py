"""Measure what an update costs, and how near it comes to what the machine can do.

    python -m launch.speed --workdir=DIR [--peers] [--only=reference,widths] [--page=docs/speed.md]

Every row is a process of its own with its own number of threads; those of a group take turns, so that a machine whose
speed drifts slows all of them alike. On two cores all groups take about 50 minutes, --peers included, and nothing else
should run meanwhile.

Writes DIR/speed.json, whose rows come as each group ends, DIR/speed.md and DIR/speed.png. The same command again goes
on with the groups that are missing; where none is, tables and picture are written anew.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from launch import program
from launch.session import progress_bar
from smac_jax.cores import usable_cores
from smac_jax.errors import InputError
from smac_jax.io.workdir import make_directory, read_json, resume_record, sources, write_json
from smac_jax.speed.data import TRANSITIONS
from smac_jax.speed.machine import BFLOAT16, SGEMM, describe_machine
from smac_jax.speed.names import ENVIRONMENT, ONLINE, PENALTY, PROGRAM
from smac_jax.speed.page import write_page
from smac_jax.speed.penalty_forms import FORMS
from smac_jax.speed.rows import bfloat16_ratio, make_rows, same_row, summarize_sgemm
from smac_jax.speed.timing import actions, measure
from smac_jax.speed.workers import ROW_FIELDS, Group, Worker

REFERENCE: dict[str, Any] = {
    "method": "smac",
    "optimizer": "adam",
    "hidden_dims": (256, 256),
    "batch_size": 256,
    "critics": 2,
    "seeds": 1,
    "threads": 1,
    "peer": None,
    "overrides": {},
}
METHODS = ("smac", "sac", "td3", "td3bc", "iql", "cql", "calql")
OPTIMIZERS = ("adam", "muon")
VARIANTS: tuple[dict[str, Any], ...] = (
    *(
        {"overrides": {f"terms.{term}.batch_fraction": fraction for term in ("score_penalty", "denoising")}}
        for fraction in (1.0, 0.5)
    ),
    {"overrides": {"terms.denoising.weight": 0.0}},
    {"optimizer": "muon", "overrides": {"optimizer.muon_every": 1}},
)
"""SMAC beside its defaults: score terms on the whole batch and on half of it, a frozen score, Muon as published."""
AXES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "widths": ("hidden_dims", ((128, 128), (256, 256), (512, 512, 512))),
    "batch": ("batch_size", (128, 256, 1024)),
    "critics": ("critics", (2, 10)),
}
"""What is varied for SMAC and SAC, one field at a time."""
GROUPS = ("reference", "penalty", *AXES, "seeds", "threads", "loop", "calls", "program")
PLAIN = {"network.critic_layer_norm": False}
"""The online loop's agent, as other libraries have it."""
SMALL = {"hidden_dims": (64, 64), "batch_size": 64}
"""Where the computation is short beside what surrounds it."""
EVALUATED = {"eval.every": 5_000}
"""Of the program's rows, the one with evaluations: every tenth of a pre-training on two CPU cores."""
SPEED_FILE = "speed.json"

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the results; made if missing.")
_PEERS = flags.DEFINE_bool(
    "peers", False, "Measure other libraries as well, which it installs into DIR/peers/environment."
)
_ONLY = flags.DEFINE_list("only", list(GROUPS), "Groups of our own rows to measure; empty for --peers alone.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each row.")
_SECONDS = flags.DEFINE_float("seconds", 2.0, "Length of a turn.")
_PAGE = flags.DEFINE_string("page", None, "Write tables and picture here as well: a Markdown file.")


def our_worker(**changes: Any) -> Worker:
    """A worker of ours that differs from the reference."""
    row = {**REFERENCE, **changes}
    live = row["method"] == ENVIRONMENT or row["method"].startswith(ONLINE)
    whole = row["method"].startswith(PROGRAM)
    module = "launch.peers.online_worker" if live else "launch.program_worker" if whole else "launch.speed_worker"
    return Worker([sys.executable, "-m", module, json.dumps(row)], {}, row)


def with_sgemm(name: str, workers: Iterable[Worker]) -> Group:
    """A group with the matrix product for every number of threads in it."""
    workers = list(workers)
    counts = sorted({worker.row["threads"] for worker in workers})
    return Group(name, [*(our_worker(method=SGEMM, threads=threads) for threads in counts), *workers])


def our_groups(names: Iterable[str]) -> list[Group]:
    """Groups of our own rows, by name."""
    counts = range(1, min(2, len(usable_cores())) + 1)
    rows: dict[str, list[dict[str, Any]]] = {
        "reference": [
            {"method": BFLOAT16},
            *({"method": method, "optimizer": optimizer} for optimizer in OPTIMIZERS for method in METHODS),
            *VARIANTS,
        ],
        "penalty": [{"method": "sac"}, *({"method": f"{PENALTY}{form}"} for form in FORMS)],
        "seeds": [
            {"method": method, "seeds": seeds, "threads": threads}
            for threads in counts
            for seeds in (1, 2, 3, 8)
            for method in ("smac", "sac")
        ],
        "threads": [
            {"method": method, "hidden_dims": widths, "threads": threads}
            for widths in ((256, 256), (512, 512, 512))
            for threads in counts
            for method in ("smac", "sac")
        ],
        "loop": [
            {"method": method, "threads": threads, "overrides": PLAIN}
            for threads in counts
            for method in (ENVIRONMENT, "sac", f"{ONLINE}sac")
        ],
        "calls": [
            *({"method": method, "overrides": PLAIN, **SMALL} for method in (ENVIRONMENT, "sac", f"{ONLINE}sac")),
            *(
                {"method": f"{ONLINE}sac", "overrides": {**PLAIN, "online.updates_per_step": count}, **SMALL}
                for count in (2, 10, 100)
            ),
        ],
        "program": [
            {"method": method, "threads": threads, "overrides": overrides}
            for threads in counts
            for method, overrides in (("smac", {}), (f"{PROGRAM}smac", {}), (f"{PROGRAM}smac", EVALUATED))
        ],
    }
    for name, (field, values) in AXES.items():
        rows[name] = [{"method": method, field: value} for value in values for method in ("smac", "sac")]
    return [with_sgemm(name, (our_worker(**row) for row in rows[name])) for name in GROUPS if name in names]


def with_ours(group: Group) -> Group:
    """A group of other libraries' workers with our own of the same row, where it has none."""
    ours: list[Worker] = []
    for worker in group.workers:
        row = {**{name: worker.row[name] for name in ROW_FIELDS}, "peer": None}
        there = any(same_row(row, one.row) for one in (*ours, *group.workers))
        if row["method"] in METHODS and not there:
            ours.append(our_worker(**row))
    return with_sgemm(group.name, [*ours, *group.workers])


def _groups(workdir: Path, settings: Mapping[str, Any]) -> list[Group]:
    groups = our_groups(settings["only"])
    if settings["peers"]:
        from launch.peers.groups import peer_groups

        groups += map(with_ours, peer_groups(workdir))
    return groups


def begin(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Content of speed.json before anything is measured."""
    return {
        "machine": describe_machine(),
        "settings": {**settings, "transitions": TRANSITIONS},
        "finished": False,
        "groups": [],
        "failures": [],
        **sources(),
        **summarize_sgemm([]),
        "rows": [],
    }


def run(workdir: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Measure the groups that are missing; what is known is written as each of them ends."""
    settings = result["settings"]
    groups = [group for group in _groups(workdir, settings) if group.name not in result["groups"]]
    total = sum(actions(group, settings["rounds"]) for group in groups)
    with progress_bar(total, 0, "turns", "speed") as bar:

        def tick(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        for group in groups:
            measured, failed = measure(group, settings["rounds"], settings["seconds"], workdir / "logs", tick)
            for line in failed:
                bar.write(f"failed: {line}", file=sys.stderr)
            result |= bfloat16_ratio(measured)
            result["groups"] += [group.name]
            result["failures"] += failed
            result["rows"] += make_rows(group.name, measured)
            result |= summarize_sgemm(result["rows"])
            write_json(workdir / SPEED_FILE, result)
    result["finished"] = True
    write_json(workdir / SPEED_FILE, result)
    return result


def read_measurement(path: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was measured already, finished or not, if the file is there.

    Raises:
        InputError: it was made with other settings than those that the command line gives, is unfinished and was
            made on another machine, or is something else.
    """
    if not path.exists():
        return None
    result = read_json(path)
    fields = begin(settings)
    if not all(isinstance(result.get(name), type(fields[name])) for name in ("machine", "settings", "groups", "rows")):
        raise InputError(f"{path} was not written by launch.speed; choose another --workdir")
    for name, value in settings.items():
        there = result["settings"].get(name)
        if flags.FLAGS[name].present and there != value:
            raise InputError(f"{path} was measured with --{name}={there}; choose another --workdir to measure again")
    if not result["finished"] and result["machine"] != describe_machine():
        raise InputError(f"{path} was begun on another machine or with other versions; choose another --workdir")
    return result


def _check_flags() -> None:
    unknown = sorted(set(_ONLY.value) - set(GROUPS))
    if unknown or not (_ONLY.value or _PEERS.value):
        raise InputError(f"--only={','.join(_ONLY.value)} is unknown; use some of {','.join(GROUPS)}")
    if _ROUNDS.value < 1:
        raise InputError(f"--rounds={_ROUNDS.value} must be positive")
    if not 0 < _SECONDS.value < math.inf:
        raise InputError(f"--seconds={_SECONDS.value} must be positive")
    program.check_page(_PAGE)


def main() -> None:
    """Entry point."""
    workdir = Path(program.required(_WORKDIR)).absolute()
    _check_flags()
    settings = {name: flags.FLAGS[name].value for name in ("only", "peers", "rounds", "seconds")}
    result = read_measurement(workdir / SPEED_FILE, settings)
    if result is None or not result["finished"]:
        make_directory(workdir)
        result = run(workdir, begin(settings) if result is None else resume_record(result, sources()))
    else:
        print(f"{workdir} is measured already; its tables and picture are written anew")
    for page in [workdir / "speed.md", *([Path(_PAGE.value)] if _PAGE.value else [])]:
        write_page(result, page)
        print(f"wrote {page}")
    if result["failures"]:
        print(f"{len(result['failures'])} rows are missing: {result['failures'][0]}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    program.run(main)
