"""Scores along the straight way from an offline policy to what fine-tuning has made of it.

    python -m launch.landscape --offline=DIR --online=DIR --workdir=DIR [--points=11] [--episodes=N]

--offline is a pretrain run and --online a finetune run of the same data and seeds. Mixes the parameters of their newest
actors in equal steps and evaluates each mixture by its mode, on the same episodes at every point. Writes landscape.csv
(one row a point and seed), landscape.png and summary.json into --workdir: the scores at both ends, the valley between
them, which is how far the lowest score lies below the lower end, and the fall, the most that is lost on the way. On a
way that only rises both are 0, but for the noise of the episodes. The same command again goes on where it stopped.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from launch import program, session
from launch.load import LoadedAgent, load_agent
from smac_jax.agent import mix_actors
from smac_jax.errors import InputError
from smac_jax.io.logger import evaluation_rows
from smac_jax.io.records import append_rows, read_rows, rewind
from smac_jax.io.workdir import SUMMARY_FILE, hold, read_run, write_json
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


def measure(offline: LoadedAgent, online: LoadedAgent, shares: np.ndarray, episodes: int, path: Path) -> np.ndarray:
    """Scores (S, P) of all seeds at shares (P,) of the way; those that the CSV file holds already are kept."""
    seeds = offline.seeds
    # A row that was cut off goes first, then the others of its point.
    rewind(path, len(shares), "point")
    done = len(read_rows(path)) // len(seeds)
    rewind(path, done - 1, "point")
    evaluate = session.make_evaluator(offline.env_spec, offline.task, seeds, episodes, offline.dims)
    with session.progress_bar(len(shares), done, "points", "landscape") as bar:
        for point, share in list(enumerate(shares.tolist()))[done:]:
            # Always the offline checkpoint's episodes, so that neighbours differ by their policies alone.
            results = evaluate(mix_actors(offline.state, online.state, share), offline.step)
            rows = evaluation_rows("offline", offline.step, seeds, results, 0.0)
            place = {"point": point, "share": round(share, 6)}
            append_rows(path, [{**place, **{name: row[name] for name in _FIELDS[2:]}} for row in rows], _FIELDS)
            bar.update()
    return np.array([float(row["score"]) for row in read_rows(path)]).reshape(len(shares), len(seeds)).T


def summarize(scores: np.ndarray) -> dict[str, Any]:
    """What summary.json says of scores (S, P): lists by seed, and valley and fall of their mean."""
    ways, mean = scores.tolist(), scores.mean(axis=0).tolist()
    return {
        "offline_score": [way[0] for way in ways],
        "online_score": [way[-1] for way in ways],
        "lowest_score": [min(way) for way in ways],
        "valley": [valley(way) for way in ways],
        "fall": [fall(way) for way in ways],
        "valley_of_mean": valley(mean),
        "fall_of_mean": fall(mean),
    }


def main() -> None:
    """Entry point."""
    paths = Path(program.required(_OFFLINE)), Path(program.required(_ONLINE))
    workdir = Path(program.required(_WORKDIR))
    offline, online = load_ends(*paths)
    records = [read_run(path) for path in paths]
    episodes = _EPISODES.value or online.config.eval.episodes
    ends = {"offline": records[0], "online": records[1], "steps": [offline.step, online.step]}
    csv, picture, summary = (workdir / name for name in ("landscape.csv", "landscape.png", SUMMARY_FILE))
    shares = np.linspace(0.0, 1.0, _POINTS.value)
    with hold(workdir, {"program": "landscape", **ends, "points": _POINTS.value, "episodes": episodes}):
        scores = measure(offline, online, shares, episodes, csv)
    dataset, algorithm = records[0]["dataset"], offline.config.algorithm
    title = f"{dataset}, {algorithm} → {online.config.online_algorithm}"
    unit = score_unit(offline.config.task, offline.env_spec.id)
    picture.write_bytes(png(landscape_figure(title, algorithm, unit, shares, scores, WIDE)))
    measures = summarize(scores)
    for name, values in measures.items():
        by_seed = f" ({', '.join(f'{value:.3f}' for value in values)})" if isinstance(values, list) else ""
        print(f"{name.replace('_', ' ')}: {np.mean(values):.3f}{by_seed}")
    write_json(summary, {"dataset": dataset, "seeds": offline.seeds, **measures})
    print(f"wrote {csv}, {picture} and {summary}")


if __name__ == "__main__":
    program.run(main)
