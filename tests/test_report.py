import csv
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPOSITORY

from smac_jax.errors import InputError
from smac_jax.measures import drop, regret
from smac_jax.report.collect import find_runs, find_unfinished
from smac_jax.report.content import make_content
from smac_jax.report.pairs import pool_runs
from smac_jax.report.style import source_colors
from smac_jax.report.write import write_report

MAZE, CHEETAH, KITCHEN = "pointmaze/umaze-v0", "mujoco/halfcheetah-medium-replay-v0", "kitchen/mixed-v0"
TASKS = {
    MAZE: ("pointmaze", "PointMaze_UMaze-v3"),
    CHEETAH: ("locomotion", "HalfCheetah-v5"),
    KITCHEN: ("kitchen", "FrankaKitchen-v1"),
    "mine/robot-v0": ("generic", "MyRobot-v0"),
}
PHONE = 390


def write_metrics(path, phase, steps, seeds, scores):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("phase", "step", "seed", "score", "return", "success", "length", "episodes", "wall_time"))
        for index, step in enumerate(steps):
            for seed, curve in zip(seeds, scores, strict=True):
                writer.writerow((phase, step, seed, curve[index], curve[index], "nan", 10, 50, 1.0))


def fabricate_run(workdir, dataset, algorithm, online, seeds, offline, scores, record=None, **changes):
    """The files of a run with (S, K) scores: `offline` of the pre-training, `scores` of the fine-tuning if `online`."""
    workdir.mkdir(parents=True)
    task, env_id = TASKS[dataset]
    run = {
        "program": "finetune" if online else "pretrain",
        "config": {"algorithm": algorithm, "online_algorithm": online, "task": task},
        "dataset": dataset,
        "env_spec": json.dumps({"id": env_id}),
        "seeds": list(seeds),
        **(record or {}),
    }
    (workdir / "config.json").write_text(json.dumps({"run": run}))
    if offline is not None:
        updates = np.linspace(0, 20_000, len(offline[0])).astype(int)
        write_metrics(
            workdir / ("offline_metrics.csv" if online else "metrics.csv"), "offline", updates, seeds, offline
        )
    if online:
        write_metrics(workdir / "metrics.csv", "online", np.arange(len(scores[0])) * 1000, seeds, scores)
    missing = [None] * len(seeds)
    last = scores if online else offline
    summary = {
        "algorithm": algorithm,
        "online_algorithm": online,
        "task": task,
        "dataset": dataset,
        "seeds": list(seeds),
        "compile_seconds": 5.0,
        "wall_time": 60.0,
        "offline_score": [curve[0] if online else curve[-1] for curve in last],
        "final_score": [curve[-1] for curve in last],
        "min_score": [min(curve) for curve in last],
        "drop": [drop(curve) for curve in last] if online else missing,
        "drop_noise": [0.01] * len(seeds) if online else missing,
        "regret": [regret(curve) for curve in last] if online else missing,
        "train_regret": missing,
        "updates_per_second": 100.0,
        "env_steps_per_second": 50.0 if online else None,
    }
    (workdir / "summary.json").write_text(json.dumps({**summary, **changes}))
    return workdir


def noisy_curves(rng, start, dip, end, seeds, points=11):
    """Scores (S, K) that go from `start` down by `dip` and up to `end`."""
    x = np.linspace(0, 1, points)
    mean = start + (end - start) * x - dip * np.exp(-(((x - 0.2) / 0.12) ** 2)) * (x > 0)
    scores = np.clip(mean + rng.normal(0, 0.025, (seeds, points)), 0, 1)
    scores[:, 0] = np.clip(start + rng.normal(0, 0.02, seeds), 0, 1)
    return scores.round(4).tolist()


def fabricate_benchmark(directory, datasets, pairs, seeds, alone=("bc",), seed=0):
    """A directory as `launch.benchmark` leaves it: `pairs` of methods on every dataset, and methods left `alone`."""
    rng = np.random.default_rng(seed)
    for dataset in datasets:
        folder = directory / dataset.split("/")[1]
        for algorithm in dict.fromkeys((*(offline for offline, _ in pairs), *alone)):
            level = 0.35 + 0.5 * rng.random()
            offline = None
            if algorithm != "none":
                offline = noisy_curves(rng, 0.05, 0.0, level, len(seeds))
                fabricate_run(folder / algorithm / "pretrain", dataset, algorithm, None, seeds, offline, None)
            for online in (online for offline_name, online in pairs if offline_name == algorithm):
                dip = 0.02 if algorithm == "smac" else 0.1 + 0.3 * rng.random()
                start = level if algorithm != "none" else 0.02
                scores = noisy_curves(rng, start, dip if algorithm != "none" else 0, min(1, level + 0.15), len(seeds))
                where = algorithm if algorithm != "none" else "scratch"
                fabricate_run(folder / where / online, dataset, algorithm, online, seeds, offline, scores)
    return directory


def report(directory):
    content = make_content(find_runs(directory), find_unfinished(directory), directory)
    files = write_report(content, directory)
    return content, {path.relative_to(directory).as_posix(): path for path in files}


def pair_of(directory, label, dataset=CHEETAH):
    return next(pair for pair in pool_runs(find_runs(directory))[dataset] if pair.label == label)


def cells(table, label):
    """Texts of a row by column."""
    row = next(row for row in table.rows if row.label == label)
    return {column: cell.text for column, cell in zip(table.columns, row.cells, strict=True)}


def best_labels(table):
    return [row.label for row in table.rows if any(cell.best for cell in row.cells)]


@pytest.fixture
def two_pairs(tmp_path):
    offline = [[0.1, 0.5], [0.1, 0.7]]
    fabricate_run(tmp_path / "smac" / "pre", CHEETAH, "smac", None, (0, 1), offline, None)
    fabricate_run(tmp_path / "bc" / "pre", CHEETAH, "bc", None, (0, 1), [[0.1, 0.2], [0.1, 0.3]], None)
    keeps, drops = [[0.5, 0.5, 0.5, 0.9], [0.7, 0.7, 0.7, 0.7]], [[0.5, 0.1, 0.3, 0.9], [0.7, 0.3, 0.3, 0.7]]
    fabricate_run(tmp_path / "smac" / "sac", CHEETAH, "smac", "sac", (0, 1), offline, keeps)
    fabricate_run(tmp_path / "smac" / "td3", CHEETAH, "smac", "td3", (0, 1), offline, drops)
    return tmp_path


def test_task_table_has_the_means_over_seeds(two_pairs):
    content, _ = report(two_pairs)
    [task] = content.tasks
    assert [row.label for row in task.table.rows] == ["smac → sac", "smac → td3", "bc"]
    row = cells(task.table, "smac → td3")
    assert row == {
        "seeds": "2",
        "offline": "0.600",
        # Lowest means of two: (0.1 + 0.3) / 2 and (0.3 + 0.3) / 2.
        "drop": "0.350",
        "drop noise": "0.010",
        "drop - noise": "0.340",
        # (1 - 0.45 + 1 - 0.5) / 2
        "regret": "0.525",
        "train regret": "-",
        "final": "0.800",
    }
    assert cells(task.table, "smac → sac")["drop - noise"] == "-0.010"
    assert cells(task.table, "bc") == dict.fromkeys(row, "-") | {"seeds": "2", "offline": "0.250", "final": "0.250"}
    assert best_labels(task.table) == best_labels(task.iqm) == ["smac → sac"]
    assert cells(task.iqm, "smac → td3")["regret"] == "0.525"


def test_improvement_of_smac_on_the_other_pairs(two_pairs):
    content, _ = report(two_pairs)
    regret_table = content.improvements[0]
    assert (regret_table.corner, regret_table.columns) == ("regret, beaten by", ["smac → sac", "smac → td3"])
    # Regrets are 0.4 and 0.3 with SAC, 0.55 and 0.5 with TD3.
    assert cells(regret_table, "smac → td3")["smac → sac"] == "1.000"
    assert cells(regret_table, "smac → sac") == {"smac → sac": "-", "smac → td3": "0.000"}


def test_smac_stands_beside_the_best_of_the_others(two_pairs):
    offline = [[0.1, 0.4], [0.1, 0.6]]
    for online, scores in (("sac", [0.5, 0.5, 0.0, 0.5]), ("iql", [0.5, 0.0, 0.0, 0.0])):
        fabricate_run(two_pairs / "iql" / online, CHEETAH, "iql", online, (0, 1), offline, [scores, scores])
    content, files = report(two_pairs)
    assert [row.label for row in content.against.rows] == [CHEETAH]
    [row] = content.against.rows
    assert [(cell.text, cell.spread) for cell in row.cells] == [
        ("0.600", ""),
        ("0.500", "iql"),
        # Seed 0 of SMAC's SAC and both of IQL's lose 0 and 0.25, of which 0.01 is noise.
        ("-0.010", ""),
        ("0.240", ""),
        # (0.4 + 0.3) / 2, and 1 - 1.5 / 4.
        ("0.350", "smac → sac"),
        ("0.625", "iql → sac"),
        ("44 %", ""),
    ]
    for name in ("report.md", "report.html"):
        assert "Against the other methods" in files[name].read_text()


@pytest.mark.parametrize("steps", [[0, 1000, 2000, 3000], [0, 500, 1000, 3000]], ids=["equal", "different"])
def test_pairs_evaluated_at_different_steps_are_said_to_be(two_pairs, steps):
    scores = [[0.5, 0.5, 0.0, 0.5]] * 2
    run = fabricate_run(two_pairs / "iql" / "sac", CHEETAH, "iql", "sac", (0, 1), [[0.1, 0.4], [0.1, 0.6]], scores)
    write_metrics(run / "metrics.csv", "online", steps, (0, 1), scores)
    content, files = report(two_pairs)
    line = f"Evaluated at different steps, over which regret is a mean: {CHEETAH}."
    for text in (content.against.note, files["report.md"].read_text(), files["report.html"].read_text()):
        assert (line in text) == (steps[1] == 500)


def test_nothing_stands_beside_smac_alone(two_pairs):
    content, files = report(two_pairs)
    assert content.against is None, "behaviour cloning was not fine-tuned"
    assert "Against" not in files["report.md"].read_text()


def test_a_pretraining_is_drawn_with_what_continues_it_and_listed_alone_otherwise(two_pairs):
    pairs = pool_runs(find_runs(two_pairs))[CHEETAH]
    assert [pair.label for pair in pairs if pair.online is None] == ["bc"]
    pair = pair_of(two_pairs, "smac → sac")
    np.testing.assert_array_equal(pair.offline.scores, [[0.1, 0.5], [0.1, 0.7]])
    np.testing.assert_array_equal(pair.continued.steps, [0, 1000, 2000, 3000])


def test_a_finetuning_without_copy_of_the_offline_curve_takes_that_of_its_pretraining(two_pairs):
    for path in two_pairs.rglob("offline_metrics.csv"):
        path.unlink()
    for path in two_pairs.rglob("config.json"):
        path.unlink()
    test_a_pretraining_is_drawn_with_what_continues_it_and_listed_alone_otherwise(two_pairs)


def test_runs_that_differ_in_their_seeds_are_one_pair(tmp_path):
    for seed, score in ((0, 0.4), (1, 0.6), (2, 0.8)):
        curve = [[score, score, score]]
        fabricate_run(tmp_path / f"seed{seed}", CHEETAH, "smac", "sac", (seed,), [[0.0, score]], curve)
    pair = pair_of(tmp_path, "smac → sac")
    assert sorted(pair.seeds) == [0, 1, 2]
    assert pair.measures["offline_score"].mean() == pytest.approx(0.6)
    assert pair.offline.scores.shape == (3, 2)


def test_runs_that_differ_in_more_stay_apart(tmp_path):
    for kappa in (0.1, 0.3):
        for seed in (0, 1):
            folder, record = tmp_path / f"kappa_{kappa}" / f"seed{seed}", {"config": {"kappa": kappa}}
            fabricate_run(folder, CHEETAH, "smac", "sac", (seed,), [[0.0, 0.5]], [[kappa, kappa]], record)
    pairs = pool_runs(find_runs(tmp_path))[CHEETAH]
    assert [pair.label for pair in pairs] == ["smac (kappa_0.1) → sac", "smac (kappa_0.3) → sac"]
    assert [pair.measures["offline_score"].tolist() for pair in pairs] == [[0.1, 0.1], [0.3, 0.3]]
    assert len(set(source_colors(pair.source for pair in pairs).values())) == 2


def test_a_method_without_offline_phase_has_its_online_name(tmp_path):
    fabricate_run(tmp_path / "rlpd", CHEETAH, "none", "rlpd", (0, 1), None, [[0.0, 0.5], [0.1, 0.6]])
    content, _ = report(tmp_path)
    assert [row.label for row in content.tasks[0].table.rows] == ["rlpd"]


def test_one_task_leaves_one_picture_and_one_table(tmp_path):
    directory = fabricate_benchmark(tmp_path, [MAZE], (("smac", "sac"),), (0, 1, 2), alone=())
    _, files = report(directory)
    assert list(files) == ["report.html", "report.md", "learning_curve.png"]
    table = files["report.md"].read_text().splitlines()
    assert table[0].startswith(f"| [{MAZE}](learning_curve.png) | seeds | offline |")
    assert {line.count("|") for line in table} == {10}
    assert not (directory / "figures").exists()


BASELINES = (
    *((offline, online) for offline in ("smac", "td3bc", "iql", "cql", "calql") for online in ("sac", "td3")),
    *((name, name) for name in ("td3bc", "iql", "cql", "calql")),
    ("calql", "wsrl"),
    ("none", "rlpd"),
)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    """A report on several tasks: two of many pairs, one of raw returns, one run unfinished."""
    directory = fabricate_benchmark(tmp_path_factory.mktemp("benchmark"), [MAZE, CHEETAH], BASELINES, (0, 1))
    fabricate_benchmark(directory, ["mine/robot-v0"], (("smac", "sac"), ("iql", "sac")), (0, 1), alone=())
    unfinished = directory / "umaze-v0" / "smac" / "td3bc"
    unfinished.mkdir()
    shutil.copy(unfinished.with_name("sac") / "config.json", unfinished)
    return directory, *report(directory)


def test_several_tasks_have_a_summary_and_a_picture_each(benchmark):
    _, content, files = benchmark
    assert list(files) == [
        "report.html",
        "report.md",
        "figures/mine.robot-v0.png",
        "figures/mujoco.halfcheetah-medium-replay-v0.png",
        "figures/pointmaze.umaze-v0.png",
        "learning_curve.png",
        "figures/over_tasks.png",
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files.values() if path.suffix == ".png")
    assert (content.over.datasets, content.over.left_out) == ([CHEETAH, MAZE], ["mine/robot-v0"])
    markdown = files["report.md"].read_text()
    links = re.findall(r"\]\(([^)]*)\)", markdown)
    assert set(links) == {name for name in files if name.endswith(".png")}
    for task in content.tasks:
        for row in task.table.rows:
            assert f"| {row.label} | 2 | {row.cells[1].text} ({row.cells[1].spread}) |" in markdown


def test_measures_over_tasks_are_those_of_all_their_runs(benchmark):
    _, content, _ = benchmark
    pooled = {task.dataset: {pair.label: pair for pair in task.pairs} for task in content.tasks}
    regrets = np.concatenate([pooled[dataset]["smac → sac"].measures["regret"] for dataset in (MAZE, CHEETAH)])
    row = cells(content.over.table, "smac → sac")
    assert (row["tasks"], row["runs"], row["regret"]) == ("2", "4", f"{np.sort(regrets)[1:3].mean():.3f}")
    [best] = best_labels(content.over.table)
    values = {row.label: cells(content.over.table, row.label)["regret"] for row in content.over.table.rows}
    assert values[best] == min(value for value in values.values() if value != "-")
    # All pairs are rows against the two of SMAC.
    assert [len(table.rows) for table in content.improvements] == [len(BASELINES)] * 4


def test_raw_returns_have_no_best_regret(benchmark):
    _, content, _ = benchmark
    marked = {task.dataset: bool(best_labels(task.table) and best_labels(task.iqm)) for task in content.tasks}
    assert marked == {CHEETAH: True, MAZE: True, "mine/robot-v0": False}


def test_unfinished_runs_are_named(benchmark):
    _, content, files = benchmark
    assert content.unfinished == ["umaze-v0/smac/td3bc"]
    assert "<code>umaze-v0/smac/td3bc</code>" in files["report.html"].read_text()


def test_page_is_self_contained_and_says_nothing_of_nan(benchmark):
    _, _, files = benchmark
    page, markdown = files["report.html"].read_text(), files["report.md"].read_text()
    assert not re.findall(r'(?:src|href|srcset)="(?!data:)', page)
    assert not re.search(r"<script|https?://|url\(", page)
    for text in (re.sub(r"base64,[^\"]*", "", page.partition("<body>")[2]), markdown):
        assert not re.search(r"\b(nan|None|inf)\b", text, re.IGNORECASE)
        assert "-0.000" not in text


def test_measures_that_are_missing_are_dashes(tmp_path):
    known = {"drop": [None, None], "drop_noise": [0.1, None], "regret": [None, 0.5], "final_score": [None, None]}
    fabricate_run(tmp_path / "run", CHEETAH, "smac", "sac", (0, 1), None, [[0.1, 0.2], [0.1, np.nan]], **known)
    content, files = report(tmp_path)
    row = cells(content.tasks[0].table, "smac → sac")
    assert (row["drop"], row["drop noise"], row["drop - noise"], row["regret"]) == ("-", "0.100", "-", "0.500")
    assert row["final"] == "-"
    assert "nan" not in files["report.md"].read_text()


def test_a_pretraining_alone_can_be_reported(tmp_path):
    fabricate_run(tmp_path / "run", MAZE, "bc", None, (0,), [[0.1, 0.5]], None)
    content, files = report(tmp_path)
    assert not content.improvements
    assert cells(content.tasks[0].table, "bc")["offline"] == "0.500"
    assert "learning_curve.png" in files


def test_foreign_and_broken_summaries(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "summary.json").write_text('{"speed": 1}')
    with pytest.raises(InputError, match="holds no finished run"):
        find_runs(tmp_path)


@pytest.mark.parametrize("broken", [b'{"speed"', b"[1]", b"1", b'{"speed": "\xff"}'])
def test_broken_json_of_others_is_passed_over_with_a_notice(tmp_path, caplog, broken):
    fabricate_run(tmp_path / "run", MAZE, "bc", None, (0,), [[0.1, 0.5]], None)
    for name in ("summary.json", "config.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(broken)
    (run,) = find_runs(tmp_path)
    assert run.workdir == tmp_path / "run"
    assert find_unfinished(tmp_path) == []
    for name in ("summary.json", "config.json"):
        assert f"passed over: {tmp_path / name / name} is" in caplog.text
    (tmp_path / "run" / "config.json").write_bytes(broken)
    (run,) = find_runs(tmp_path)
    assert run.settings is None


def test_colors_are_the_same_in_every_report_and_different_within_one():
    few, many = source_colors(["smac", "iql"]), source_colors(["awac", "iql", "smac", "mine", "cql", "bc", "td3bc"])
    assert few.items() <= many.items()
    assert len(set(many.values())) == 7


def test_program_writes_the_report(tmp_path):
    directory = fabricate_benchmark(tmp_path, [MAZE], (("smac", "sac"),), (0, 1), alone=())
    command = [sys.executable, "-m", "launch.report", f"--workdir={directory}"]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    offline = pair_of(directory, "smac → sac", MAZE).measures["offline_score"].mean()
    assert f"{MAZE} smac → sac: offline score {offline:.3f}, drop " in result.stdout
    assert (directory / "report.html").exists()


MEASURING = """<script>addEventListener("load", () => {
  document.querySelectorAll("details").forEach(fold => fold.open = true);
  const wide = [...document.querySelectorAll(".wide")];
  const text = [...document.querySelectorAll("td, th, p, .spread")];
  parent.postMessage(JSON.stringify({
    inner: innerWidth,
    document: document.documentElement.scrollWidth,
    images: [...document.images].filter(image => image.offsetWidth)
      .map(image => [image.getBoundingClientRect().right, image.naturalWidth]),
    tables: wide.map(box => box.getBoundingClientRect().right),
    scrolling: wide.filter(box => box.scrollWidth > box.clientWidth).length,
    font: Math.min(...text.map(element => parseFloat(getComputedStyle(element).fontSize))),
  }), "*");
});</script>"""
# A browser's window is never as narrow as a phone, a frame in it can be.
FRAME = """<iframe src="measured.html" style="border: 0; width: {width}px; height: 844px"></iframe><pre></pre>
<script>onmessage = event => document.querySelector("pre").textContent = event.data;</script>"""


def measure_in_browser(browser, page, folder):
    """Widths of a page and of its parts in px, as a browser lays it out on a phone."""
    (folder / "measured.html").write_text(page.replace("</body>", MEASURING + "</body>"))
    frame = folder / "frame.html"
    frame.write_text(FRAME.format(width=PHONE))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=10000", "--dump-dom", frame.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<pre>(.+?)</pre>", result.stdout)
    assert found, result.stdout + result.stderr
    return json.loads(found[1])


def test_page_fits_a_phone(benchmark, tmp_path):
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip(f"no browser on PATH: {', '.join(names)}")
    _, content, files = benchmark
    seen = measure_in_browser(browser, files["report.html"].read_text(), tmp_path)
    assert seen["inner"] == PHONE
    assert seen["document"] <= PHONE
    # A picture of each task and that of all tasks together, each in its version for phones; the overview is hidden.
    assert len(seen["images"]) == len(content.tasks) + 1
    assert all(right <= PHONE and 0 < width < 800 for right, width in seen["images"])
    assert all(right <= PHONE for right in seen["tables"])
    assert seen["scrolling"] >= len(content.tasks)
    assert seen["font"] >= 12
