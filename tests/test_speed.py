import itertools
import json
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest
from absl import flags
from conftest import REPOSITORY
from forking import run_module
from PIL import Image

from launch import speed
from launch.speed import GROUPS, METHODS, our_groups, our_worker, with_ours
from smac_jax.errors import InputError
from smac_jax.io.workdir import git_commit
from smac_jax.speed.machine import BFLOAT16, PRODUCTS, SGEMM, describe_machine
from smac_jax.speed.names import ENVIRONMENT
from smac_jax.speed.page import group_table, render, write_page
from smac_jax.speed.rows import bfloat16_ratio, make_rows, same_row, summarize_sgemm
from smac_jax.speed.timing import Measured, actions, measure
from smac_jax.speed.workers import ROW_FIELDS, Group, Worker, start, thread_variables, wait_until_ready

# A worker without JAX: it chatters, notes when it runs, and does what its row's method says.
FAKE = """
import json, sys, time
from pathlib import Path
from smac_jax.speed.workers import open_channel, serve

row = json.loads(sys.argv[1])
with open_channel() as channel:
    print("chatter")
    if row["method"] == "broken":
        raise ValueError("no such thing")
    if row["method"] == "garbled":
        channel.write("what is this\\n")
        channel.flush()
    turns = 0

    def run():
        global turns
        turns += 1
        if row["method"] == "mortal" and turns > 2:
            sys.exit("it was too much")
        begin = time.time()
        time.sleep(0.01)
        with Path(sys.argv[2]).open("a") as diary:
            diary.write(json.dumps([row["method"], begin, time.time()]) + "\\n")
        print("more chatter")
        return row["seeds"]

    serve(channel, {"compile_seconds": None, "flops_per_update": 1e6, "side": 3}, run, lambda: {"turns": turns})
"""


def fake_worker(folder, **changes):
    row = our_worker(**changes).row
    script = folder / "fake.py"
    script.write_text(textwrap.dedent(FAKE))
    return Worker(
        [sys.executable, str(script), json.dumps(row), str(folder / "diary")], {"PYTHONPATH": str(REPOSITORY)}, row
    )


def test_workers_of_a_group_run_one_at_a_time_and_in_turns(tmp_path):
    ticks = []
    methods = ("sac", "smac", "td3")
    group = Group("some", [fake_worker(tmp_path, method=method, seeds=2) for method in methods])
    measured, failures = measure(group, 2, 0.05, tmp_path / "logs", ticks.append)
    assert not failures
    assert [one.worker.row["method"] for one in measured] == list(methods)
    for one in measured:
        # Two seeds in 10 ms.
        assert len(one.rates) == 2
        assert all(20 < rate < 200 for rate in one.rates)
        assert one.said["side"] == 3
        assert one.said["peak_memory_mb"] > 1
        assert one.said["turns"] > 8, "what is profiled at the end is said of the row"
    assert len(ticks) == actions(group, 2)

    diary = [json.loads(line) for line in (tmp_path / "diary").read_text().splitlines()]
    assert all(first[2] <= second[1] for first, second in itertools.pairwise(diary))
    order = [name for index, (name, *_) in enumerate(diary) if index == 0 or diary[index - 1][0] != name]
    assert order == ["sac", "smac", "td3", "smac", "sac"], "every other round goes backwards"


def test_a_worker_that_fails_is_named_and_the_others_go_on(tmp_path):
    methods = ("broken", "sac", "garbled", "mortal")
    group = Group("some", [fake_worker(tmp_path, method=method) for method in methods])
    measured, failures = measure(group, 2, 0.03, tmp_path / "logs", lambda _: None)
    assert [one.worker.row["method"] for one in measured] == ["sac"]
    reasons = {line.split("-")[0]: line for line in failures}
    assert "ValueError: no such thing (see logs/some-broken-" in reasons["broken"]
    assert "it printed 'what is this'" in reasons["garbled"]
    assert "it was too much" in reasons["mortal"]
    assert str(tmp_path) not in "".join(failures)


def test_a_worker_ends_with_its_input(tmp_path):
    process = start(fake_worker(tmp_path, method="sac"), tmp_path / "log")
    assert wait_until_ready(process)["flops_per_update"] == 1e6
    process.popen.stdin.close()
    assert json.loads(process.popen.stdout.read())["peak_memory_mb"] > 1
    assert process.popen.wait(30) == 0
    assert "chatter" in (tmp_path / "log").read_text()


def test_our_worker_measures_a_tiny_agent_of_two_seeds(tmp_path):
    tiny = {"hidden_dims": (8,), "batch_size": 4}
    group = Group("tiny", [our_worker(method="sac", **tiny), our_worker(method="td3", seeds=2, **tiny)])
    measured, failures = measure(group, 2, 0.1, tmp_path, lambda _: None)
    assert not failures
    sac, td3 = make_rows("tiny", measured)
    assert sac["ratio_to_sac"] == 1.0
    assert td3["ratio_to_sac"] is None, "another number of seeds"
    assert sac["flops_per_update"] > td3["flops_per_update"] > 0
    assert sac["updates_per_second"] > 100
    assert sac["compile_seconds"] > 0.05
    assert sac["peak_share"] is None, "nothing measured the machine"
    assert 0 < sac["products_share"] < 1
    low, high = td3["updates_per_second_spread"]
    assert low <= td3["updates_per_second"] <= high


def test_the_machine_is_measured_as_a_worker(tmp_path):
    group = Group("machine", [our_worker(method=SGEMM), our_worker(method=BFLOAT16)])
    measured, failures = measure(group, 1, 0.1, tmp_path, lambda _: None)
    assert not failures
    float32, bfloat16 = measured
    assert float32.rates[0] > 0.5, "GFLOPS"
    assert float32.said["side"] in (512, 1024, 2048)
    ratio = bfloat16.rates[0] / float32.rates[0]
    assert bfloat16_ratio(measured) == {"bfloat16_to_sgemm": ratio, "bfloat16_to_sgemm_spread": [ratio, ratio]}
    assert make_rows("machine", measured) == []


def test_threads_are_set_for_every_library(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false --xla_dump_to=x")
    one, two = thread_variables(1), thread_variables(2)
    assert one["OMP_NUM_THREADS"] == "1"
    assert set(one["XLA_FLAGS"].split()) == {
        "--xla_dump_to=x",
        "--xla_cpu_multi_thread_eigen=false",
        "intra_op_parallelism_threads=1",
    }
    assert two["OMP_NUM_THREADS"] == "2"
    assert two["XLA_FLAGS"] == "--xla_dump_to=x", "the parent's limit is not the row's"


def test_groups_hold_what_is_compared():
    groups = {group.name: [worker.row for worker in group.workers] for group in our_groups(GROUPS)}
    assert list(groups) == list(GROUPS)
    reference = [row for row in groups["reference"] if row["method"] not in PRODUCTS]
    assert {(row["method"], row["optimizer"]) for row in reference} == {
        (method, optimizer) for method in METHODS for optimizer in ("adam", "muon")
    }
    assert [row["overrides"] for row in reference if row["overrides"]]
    assert {row["seeds"] for row in groups["seeds"]} == {1, 2, 3, 8}
    calls = [row["overrides"].get("online.updates_per_step", 1) for row in groups["calls"] if "online" in row["method"]]
    assert calls == [1, 2, 10, 100]
    for rows in groups.values():
        assert all(set(ROW_FIELDS) <= set(row) for row in rows)
        assert {row["threads"] for row in rows} == {row["threads"] for row in rows if row["method"] == SGEMM}
        assert len({json.dumps(row) for row in rows}) == len(rows)
    assert [group.name for group in our_groups(["batch"])] == ["batch"]


def test_peers_are_joined_by_our_own_row_where_it_is_missing(tmp_path):
    def peer(method, **changes):
        return fake_worker(tmp_path, method=method, **changes)

    plain = {"network.critic_layer_norm": False}
    offline = with_ours(Group("a", [peer("iql", peer="d3rlpy", overrides=plain)]))
    assert [(one.row["method"], one.row["peer"]) for one in offline.workers] == [
        (SGEMM, None),
        ("iql", None),
        ("iql", "d3rlpy"),
    ]
    assert offline.workers[1].row["overrides"] == plain
    own = [peer("online-sac"), peer("online-sac", peer="sb3")]
    assert with_ours(Group("b", own)).workers[1:] == own


def fabricate(rates, **changes):
    said = {"compile_seconds": 1.5, "flops_per_update": 2e8, "optimizer_flops": 0.0, "peak_memory_mb": 500.0}
    said |= {name: changes.pop(name) for name in list(changes) if name in (*said, "products_share", "step_parts")}
    return Measured(our_worker(**changes), said, rates)


def test_rows_compare_round_by_round():
    measured = [
        fabricate([100.0, 50.0, 80.0], method=SGEMM),
        fabricate([100.0, 50.0, 80.0], method="sac"),
        fabricate([50.0, 30.0, 40.0]),
        fabricate([25.0, 10.0, 20.0], optimizer="muon", optimizer_flops=1e8),
        fabricate([10.0, 5.0, 4.0], method="sac", peer="sb3", flops_per_update=None),
    ]
    sac, smac, muon, peer = make_rows("reference", measured)
    assert sac["ratio_to_sac_spread"] == [1.0, 1.0]
    assert (smac["updates_per_second"], smac["ratio_to_sac"], smac["ratio_to_sac_spread"]) == (40.0, 0.5, [0.5, 0.6])
    # 80 GFLOPS are the peak: 2e8 x 40 are a tenth, and (2e8 + 1e8) x 20 are 0.075 of it.
    assert smac["peak_share"] == pytest.approx(0.1)
    assert muon["peak_share"] == pytest.approx(0.075)
    assert muon["ratio_to_sac"] == 0.25
    assert (peer["ours_to_peer"], peer["ours_to_peer_spread"], peer["peak_share"]) == (10.0, [10.0, 20.0], None)
    for row in (sac, smac, muon, peer):
        assert row["group"] == "reference"
        assert {*ROW_FIELDS, "updates_per_second", "flops_per_update", "peak_share", "compile_seconds"} <= set(row)
    assert same_row(json.loads(json.dumps(smac)), smac)


def test_the_loop_is_compared_with_the_slower_of_its_parts():
    measured = [
        fabricate([400.0, 100.0], method=ENVIRONMENT, flops_per_update=None),
        fabricate([200.0, 200.0], method="sac"),
        fabricate([160.0, 50.0], method="online-sac"),
    ]
    environment, _, loop = make_rows("loop", measured)
    # Of the first round the update is the slower part, 1 / 200 s of 1 / 160 s; of the second the environment.
    assert (loop["loop_ratio"], loop["loop_ratio_spread"]) == (1.625, [1.25, 2.0])
    assert "loop_ratio" not in environment
    assert "loop_ratio" not in make_rows("loop", measured[1:])[-1], "nothing measured the environment"


def test_the_environment_is_measured_alone(tmp_path):
    group = Group("loop", [our_worker(method=ENVIRONMENT, seeds=2)])
    [measured], failures = measure(group, 1, 0.1, tmp_path, lambda _: None)
    assert not failures
    assert measured.rates[0] > 100


def test_the_program_is_compared_with_its_updates_alone():
    evaluated = {"eval.every": 10}
    measured = [
        fabricate([200.0, 100.0], method="smac"),
        fabricate([190.0, 98.0], method="program-smac", flops_per_update=None),
        fabricate([180.0, 95.0], method="program-smac", flops_per_update=None, overrides=evaluated),
    ]
    scan, program, with_evaluations = make_rows("program", measured)
    assert "scan_ratio" not in scan
    assert program["scan_ratio"] == pytest.approx((0.95 + 0.98) / 2)
    assert with_evaluations["scan_ratio_spread"] == pytest.approx([0.9, 0.95])


def test_the_program_is_measured_with_its_evaluations(tmp_path):
    short = {"log_every": 20, "eval.episodes": 1, "eval.every": 100}
    worker = our_worker(hidden_dims=(8,), batch_size=4, method="program-smac", overrides=short)
    measured, failures = measure(Group("program", [worker]), 1, 0.1, tmp_path, lambda _: None)
    assert not failures
    [row] = make_rows("program", measured)
    assert row["updates_per_second"] > 20
    assert row["scan_ratio"] is None, "nothing measured the updates alone"


NO_PEAK = {"threads": 1, "sgemm_gflops": None}
SETTINGS = {"only": ["reference", "widths"], "peers": True, "rounds": 3, "seconds": 0.5, "transitions": 100_000}


def test_seeds_at_once_are_compared_with_as_many_runs_of_one():
    rates = {1: [100.0, 90.0], 8: [200.0, 150.0]}
    measured = [fabricate(rates[seeds], seeds=seeds, threads=threads) for seeds in (1, 8) for threads in (1, 2)]
    for row in make_rows("seeds", measured):
        ratio = row.get("single_runs_ratio")
        assert ratio == (None if row["seeds"] == 1 else pytest.approx(0.55))
    assert "| 8 | 2 | 175 | 0.55 (0.50 to 0.60) |" in group_table(make_rows("seeds", measured))


def fabricated_result():
    """Content of a finished speed.json."""
    factors = {"smac": 0.5, "sac": 1.0, "td3": 1.4, "td3bc": 1.3, "iql": 1.2, "cql": 0.1, "calql": 0.1}
    sgemm = fabricate([60.0, 50.0, 55.0], method=SGEMM)

    def rates(factor):
        return [100.0 * factor, 95.0 * factor, 104.0 * factor]

    methods = [
        fabricate(
            rates(factor * (0.3 if optimizer == "muon" else 1.0)),
            method=method,
            optimizer=optimizer,
            optimizer_flops=5e8 if optimizer == "muon" else 0.0,
        )
        for optimizer in ("adam", "muon")
        for method, factor in factors.items()
    ]
    variant = fabricate(rates(0.4), overrides={"terms.score_penalty.batch_fraction": 1.0})
    widths = [
        fabricate(rates(factors[method] * 256**2 / width**2), method=method, hidden_dims=(width,) * layers)
        for width, layers in ((128, 2), (256, 2), (512, 3))
        for method in ("smac", "sac")
    ]
    peers = [
        fabricate(rates(factor), method="td3bc", peer=peer, overrides={"network.critic_layer_norm": False})
        for peer, factor in ((None, 1.0), ("d3rlpy", 0.2))
    ]
    groups = {"reference": [sgemm, *methods, variant], "widths": [sgemm, *widths], "td3bc-256x256": [sgemm, *peers]}
    rows = [row for name, measured in groups.items() for row in make_rows(name, measured)]
    return {
        "machine": describe_machine() | {"cpu": "A processor", "cores": 1, "memory_gb": 7.8},
        "settings": SETTINGS,
        "finished": True,
        "failures": [],
        "groups": list(groups),
        **summarize_sgemm(rows),
        "rows": rows,
    }


def test_page_says_what_was_measured_and_on_what(tmp_path):
    page = render(fabricated_result(), "speed.png")
    assert "![What an update costs](speed.png)" in page
    assert "A processor, of which 1 core could be used, with 8 GiB of memory" in page
    assert "55 GFLOPS with 1 thread." in page
    assert "took turns, 3 of 0.5 s each" in page
    assert page.index("A processor") < page.index("| method |")
    for line in (
        "Hidden layers: 2 x 256; batch size: 256; critics: 2; seeds: 1; threads: 1.",
        "| SMAC | - | Adam | 50.0 | 0.50 (0.50 to 0.50) | 0.20 | 18 % | 1.50 | 500 |",
        "| SAC | - | Muon | 30.0 | 0.30 (0.30 to 0.30) | 0.20 + 0.50 | 38 % | 1.50 | 500 |",
        "| SMAC | `terms.score_penalty.batch_fraction=1.0` | Adam | 40.0 |",
        "| SAC | 3 x 512 | 25.0 | 1.00 (1.00 to 1.00) |",
        "our configuration with `network.critic_layer_norm=False`.",
        "| d3rlpy | TD3+BC | 20.0 | 5.00 (5.00 to 5.00) | 0.20 | 7 % | 1.50 | 500 |",
    ):
        assert line in page
    for table in page.split("\n## ")[1:]:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1


def test_page_tells_the_products_from_what_surrounds_them():
    slow = fabricate([50.0], method="sac", products_share=0.25)
    parts = {"act": 1e-5, "update": 2e-4, "insert": 3e-6, "environment": 4e-5}
    online = fabricate([40.0], method="online-sac", step_parts=parts)
    rows = make_rows("online", [fabricate([100.0], method=SGEMM), slow, online])
    table = group_table(rows)
    assert "| share of peak | time in products | acting, µs | updating, µs | inserting, µs |" in table
    assert "| 10 % | 25 % | - | - | - | - |" in table
    assert "| 8 % | - | 10.0 | 200 | 3.00 | 40.0 |" in table


def test_tables_keep_their_order_whichever_was_measured_first():
    result = fabricated_result()
    result["rows"].reverse()
    titles = [line for line in render(result, None).splitlines() if line.startswith("## ")]
    assert titles == ["## Methods", "## Width and depth", "## Other libraries, offline"]


def test_page_and_picture_are_named_alike(tmp_path):
    result = fabricated_result()
    write_page(result, tmp_path / "costs.md")
    assert "(costs.png)" in (tmp_path / "costs.md").read_text()
    with Image.open(tmp_path / "costs.png") as picture:
        assert picture.width > picture.height > 500
    result["rows"] = [row | {"group": "batch"} for row in result["rows"] if row["group"] == "widths"]
    write_page(result, tmp_path / "none.md")
    assert not (tmp_path / "none.png").exists(), "these rows have no picture"
    assert ".png" not in (tmp_path / "none.md").read_text()


def test_page_names_failures():
    result = fabricated_result() | {"failures": ["sb3-sac: ImportError: no torch"]}
    assert "## Failed\n\n- sb3-sac: ImportError: no torch" in render(result, None)


FLAGS = ("--workdir", "--peers", "--only", "--rounds", "--seconds", "--page")
BAD = {
    "no directory": ((), "--workdir is missing"),
    "unknown group": (
        ("--workdir={new}", "--only=width"),
        "--only=width is unknown; use some of reference,penalty,widths",
    ),
    "nothing to measure": (("--workdir={new}", "--only="), "--only= is unknown"),
    "no rounds": (("--workdir={new}", "--rounds=0"), "--rounds=0 must be positive"),
    "no time": (("--workdir={new}", "--seconds=nan"), "--seconds=nan must be positive"),
    "page in no folder": (("--workdir={new}", "--page={new}/page.md"), "make it first"),
    "other settings": (
        ("--workdir={finished}", "--rounds=7"),
        "was measured with --rounds=3; choose another --workdir to measure again",
    ),
    "directory is a file": (("--workdir={file}",), "choose another --workdir"),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What the program does by case: bad input, help, and a directory that is measured already."""
    folder = tmp_path_factory.mktemp("speed")
    places = {name: folder / name for name in ("new", "finished", "file")}
    places["finished"].mkdir()
    places["file"].write_text("")
    (places["finished"] / "speed.json").write_text(json.dumps(fabricated_result()))
    commands = {name: [part.format(**places) for part in parts] for name, (parts, _) in BAD.items()}
    commands |= {"help": ["--help"], "again": [f"--workdir={places['finished']}", f"--page={folder}/page.md"]}
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(lambda command: run_module("launch.speed", command, REPOSITORY), commands.values())
        return folder, dict(zip(commands, ended, strict=True))


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_two(processes, name):
    folder, outcomes = processes
    assert outcomes[name].returncode == 2, outcomes[name].stderr
    [error] = [line for line in outcomes[name].stderr.splitlines() if line.startswith("error:")]
    assert BAD[name][1] in error
    assert "Traceback" not in outcomes[name].stderr
    assert not (folder / "new").exists()


def test_help_names_every_flag(processes):
    process = processes[1]["help"]
    assert process.returncode == 0
    assert all(f"\n  {flag}: " in process.stdout for flag in FLAGS)


def test_a_finished_measurement_is_rendered_and_not_repeated(processes):
    folder, outcomes = processes
    assert outcomes["again"].returncode == 0, outcomes["again"].stderr
    assert "is measured already" in outcomes["again"].stdout
    assert (folder / "finished" / "speed.md").read_text().replace("speed.png", "page.png") == (
        folder / "page.md"
    ).read_text()
    assert (folder / "page.png").exists()
    assert json.loads((folder / "finished" / "speed.json").read_text()) == json.loads(json.dumps(fabricated_result()))


def test_an_interrupted_measurement_goes_on_with_the_groups_that_are_missing(tmp_path, monkeypatch):
    groups = [Group(name, [fake_worker(tmp_path, method=name)]) for name in ("one", "two")]
    monkeypatch.setattr(speed, "_groups", lambda workdir, settings: groups)
    monkeypatch.setattr(speed, "describe_machine", lambda: {"cpu": "A processor"})
    flags.FLAGS(["speed"])
    settings = {"only": [], "peers": False, "rounds": 2, "seconds": 0.01}
    result = speed.run(tmp_path, speed.begin(settings) | {"groups": ["one"], "rows": [{"group": "one", **NO_PEAK}]})
    assert result["groups"] == ["one", "two"]
    assert [row["group"] for row in result["rows"]] == ["one", "two"]
    assert result["finished"]
    assert result["git_commit"] == git_commit()
    assert "resumed" not in result
    file = tmp_path / speed.SPEED_FILE
    assert speed.read_measurement(file, settings) == json.loads(file.read_text()) == json.loads(json.dumps(result))
    file.write_text(json.dumps(result | {"finished": False, "machine": {"cpu": "Another"}}))
    with pytest.raises(InputError, match="begun on another machine"):
        speed.read_measurement(file, settings)
    for foreign in ({}, {"settings": 1}, {**result, "rows": None}):
        file.write_text(json.dumps(foreign))
        with pytest.raises(InputError, match=r"speed\.json was not written by launch\.speed; choose another --workdir"):
            speed.read_measurement(file, settings)
