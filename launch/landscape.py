"""Scores along the straight way from an offline policy to what fine-tuning has made of it.

    python -m launch.landscape --offline=DIR --online=DIR --workdir=DIR [--points=11] [--episodes=N]

--offline is a pretrain run and --online a finetune run of the same data and seeds. Mixes the parameters of their newest
actors in equal steps and evaluates each mixture by its mode, on the same episodes at every point. Writes landscape.csv
(one row a point and seed), landscape.png and summary.json into --workdir: the scores at both ends, the valley between
them, which is how far the lowest score lies below the lower end, and the fall, the most that is lost on the way. On a
way that only rises both are 0, but for the noise of the episodes. The same command again goes on where it stopped.
"""

import os
from pathlib import Path

import jax
import numpy as np
from absl import flags

from launch import program, session
from launch.load import LoadedAgent, load_agent
from smac_jax.agent import mix_actors
from smac_jax.errors import InputError
from smac_jax.io.logger import evaluation_rows
from smac_jax.io.records import append_rows, read_rows
from smac_jax.io.workdir import SUMMARY_FILE, claim, read_run, write_json
from smac_jax.measures import fall, valley
from smac_jax.report.collect import score_unit
from smac_jax.report.landscape import landscape_figure
from smac_jax.report.style import WIDE, png

_OFFLINE = flags.DEFINE_string("offline", None, "Working directory of the pretrain run.")
_ONLINE = flags.DEFINE_string("online", None, "Working directory of a finetune run that continued it.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory for the landscape; made if missing.")
_POINTS = flags.DEFINE_integer("points", 11, "Policies to evaluate, both ends included.", lower_bound=2)
_EPISODES = flags.DEFINE_integer(
    "episodes",
    None,
    "Episodes of each point and seed; by default those of the fine-tuning's evaluations.",
    lower_bound=1,
)

_FIELDS = ("point", "share", "seed", "score", "return", "success", "length", "episodes")


def load_ends(offline: Path, online: Path) -> tuple[LoadedAgent, LoadedAgent]:
    """Load both agents.

    Raises:
        InputError: either is no run of its phase, or they differ in data, seeds or the actor's shape.
    """
    for path, phase, wanted in ((offline, "pretrain", "--offline"), (online, "finetune", "--online")):
        if (found := read_run(path)["program"]) != phase:
            raise InputError(f"{path} is a run of {found}; give {wanted} the directory of a {phase} run")
    records = read_run(offline), read_run(online)
    for name in ("dataset", "dataset_sha256", "env_spec", "dims", "seeds"):
        if records[0][name] != records[1][name]:
            raise InputError(f"{online} has another {name} than {offline}; give --online a fine-tuning of --offline")
    ends = load_agent(offline), load_agent(online)
    shapes = [jax.tree.map(np.shape, end.state.actor.params) for end in ends]
    if shapes[0] != shapes[1]:
        raise InputError(f"{online} has an actor of another shape than {offline}; give --online a fine-tuning of it")
    return ends


def finished_points(path: Path, seeds: int, episodes: int) -> int:
    """Points that a landscape.csv has all seeds of; what there is of the next one is taken out of the file."""
    # A row that was cut off has not all of its last column.
    rows = [row for row in read_rows(path) if row["episodes"] == str(episodes)]
    points = len(rows) // seeds
    if path.exists():
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        append_rows(temporary, rows[: points * seeds], _FIELDS)
        if points:
            os.replace(temporary, path)
        else:
            path.unlink()
    return points


def main() -> None:
    """Entry point."""
    paths = Path(program.required(_OFFLINE)), Path(program.required(_ONLINE))
    workdir = Path(program.required(_WORKDIR))
    offline, online = load_ends(*paths)
    episodes = _EPISODES.value or online.config.eval.episodes
    record = {
        "program": "landscape",
        "offline": str(paths[0]),
        "online": str(paths[1]),
        "steps": [offline.step, online.step],
        "points": _POINTS.value,
        "episodes": episodes,
    }
    claim(workdir, record)
    csv, seeds = workdir / "landscape.csv", offline.seeds
    done, shares = finished_points(csv, len(seeds), episodes), np.linspace(0.0, 1.0, _POINTS.value)
    evaluate = session.make_evaluator(offline.env_spec, offline.task, seeds, episodes, offline.dims)
    with session.progress_bar(len(shares), done, "points", "landscape") as bar:
        for point in range(done, len(shares)):
            # Always the offline checkpoint's episodes, so that neighbours differ by their policies alone.
            results = evaluate(mix_actors(offline.state, online.state, float(shares[point])), offline.step)
            rows = evaluation_rows("offline", offline.step, seeds, results, 0.0)
            place = {"point": point, "share": round(float(shares[point]), 6)}
            append_rows(csv, [{**place, **{name: row[name] for name in _FIELDS[2:]}} for row in rows], _FIELDS)
            bar.update()
    # (S, P), from the file, which an interrupted run has begun.
    scores = np.array([float(row["score"]) for row in read_rows(csv)]).reshape(len(shares), len(seeds)).T
    dataset = read_run(paths[0])["dataset"]
    algorithm = offline.config.algorithm
    title = f"{dataset}, {algorithm} → {online.config.online_algorithm}"
    unit = score_unit(offline.config.task, offline.env_spec.id)
    figure = landscape_figure(title, algorithm, unit, shares, scores, WIDE)
    (workdir / "landscape.png").write_bytes(png(figure))
    measures = {
        "offline_score": scores[:, 0],
        "online_score": scores[:, -1],
        "lowest_score": scores.min(axis=1),
        "valley": np.array([valley(row) for row in scores.tolist()]),
        "fall": np.array([fall(row) for row in scores.tolist()]),
    }
    for name, values in measures.items():
        print(f"{name.replace('_', ' ')}: {values.mean():.3f} ({', '.join(f'{value:.3f}' for value in values)})")
    mean = scores.mean(axis=0).tolist()
    of_mean = {"valley_of_mean": valley(mean), "fall_of_mean": fall(mean)}
    print(f"of the mean over seeds: valley {of_mean['valley_of_mean']:.3f}, fall {of_mean['fall_of_mean']:.3f}")
    summary = {"dataset": dataset, "seeds": seeds, **{name: values.tolist() for name, values in measures.items()}}
    write_json(workdir / SUMMARY_FILE, {**summary, **of_mean})
    print(f"wrote {csv}, {workdir / 'landscape.png'} and {workdir / SUMMARY_FILE}")


if __name__ == "__main__":
    program.run(main)
