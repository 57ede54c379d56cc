import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import REPOSITORY
from flax import serialization

from launch.stored import completed
from smac_jax.agent import AgentSpec, Standardizer, create_agents
from smac_jax.errors import InputError
from smac_jax.io import workdir as records_of
from smac_jax.io.checkpoints import CHECKPOINTS, Checkpoints
from smac_jax.io.records import METRICS_FIELDS, append_rows, read_rows, replace_rows, rewind
from smac_jax.io.workdir import CONFIG_FILE, claim, hold, read_json, write_json
from smac_jax.keys import stream_keys

RUN = {"program": "pretrain", "config": {"network": {"hidden_dims": (8, 8)}, "batch_size": 3}, "seeds": [0, 1]}


def tree_content(directory):
    return {path.relative_to(directory): path.is_file() and path.read_bytes() for path in directory.rglob("*")}


def one_line(caught):
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def make_state(widths=(8, 8), seed=0, optimizer="muon"):
    spec = AgentSpec(observation_dim=3, action_dim=2, hidden_dims=widths, optimizer=optimizer)
    standardizer = Standardizer(np.arange(3, dtype=np.float32) + seed, np.full(3, 2.0 + seed, np.float32))
    return create_agents(spec, stream_keys([seed, seed + 1], "init"), standardizer)


def assert_bit_identical(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        left, right = np.asarray(left), np.asarray(right)
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert left.tobytes() == right.tobytes()


def test_rows_are_appended_below_one_header(tmp_path):
    path = tmp_path / "metrics.csv"
    assert read_rows(path) == []
    append_rows(path, [])
    assert not path.exists()
    append_rows(path, [{"step": 1, "score": 0.5}], ("score", "step"))
    append_rows(path, [{"step": 2, "score": 1 / 3}], ("score", "step"))
    assert path.read_text().splitlines()[0] == "score,step"
    assert [(int(row["step"]), float(row["score"])) for row in read_rows(path)] == [(1, 0.5), (2, 1 / 3)]
    content = path.read_text()
    for fields in (("step", "score"), ("score", "step", "return"), ("score",)):
        with pytest.raises(InputError, match=r"metrics\.csv has other columns than .*; move it away, or") as caught:
            append_rows(path, [dict.fromkeys(fields, 3)])
        one_line(caught)
    assert path.read_text() == content
    with pytest.raises(ValueError, match="unknown"):
        append_rows(path, [{"step": 3, "score": 0.0, "unknown": 1}], ("score", "step"))


def test_a_table_is_replaced_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "deep" / "rows.csv"
    replace_rows(path, [{"step": 1}, {"step": 2}], ("step",))
    assert [row["step"] for row in read_rows(path)] == ["1", "2"]
    with pytest.raises(ValueError, match="unknown"):
        replace_rows(path, [{"step": 3}, {"unknown": 4}], ("step",))
    assert len(read_rows(path)) == 2
    for place in (tmp_path, path / "rows.csv"):
        with pytest.raises(InputError, match=r"cannot write .*; choose another file") as caught:
            replace_rows(place, [{"step": 1}], ("step",))
        one_line(caught)
    assert list(tmp_path.rglob("*.csv")) == [path]


@pytest.mark.parametrize(
    ("tail", "step", "expected"),
    [
        ("", 2, [1, 2]),
        ("", 10, [1, 2, 3, 10]),
        ("", -1, []),
        ("offline,2,1", 2, [1, 2]),
        # Nothing tells whether the number of a row that does not end is whole.
        ("offline,10,1,0.5", 10, [1, 2, 3, 10]),
    ],
)
def test_rewind_drops_later_and_unfinished_rows(tmp_path, tail, step, expected):
    path = tmp_path / "metrics.csv"
    append_rows(path, [{"phase": "offline", "step": number, "seed": 0} for number in (1, 2, 3, 10)])
    with path.open("a") as file:
        file.write(tail)
    rewind(path, step)
    assert [int(row["step"]) for row in read_rows(path)] == expected
    assert path.read_text().endswith("\n")
    append_rows(path, [{"phase": "offline", "step": 99, "seed": 0}])
    assert read_rows(path)[-1] == {"phase": "offline", "step": "99", "seed": "0"}
    assert list(tmp_path.iterdir()) == [path]


def test_rewind_of_an_unfinished_header_starts_anew(tmp_path):
    path = tmp_path / "metrics.csv"
    rewind(path, 5)
    assert not path.exists()
    path.write_text("phase,st")
    rewind(path, 5)
    append_rows(path, [dict.fromkeys(METRICS_FIELDS, 0)], METRICS_FIELDS)
    assert len(read_rows(path)) == 1
    assert tuple(read_rows(path)[0]) == METRICS_FIELDS


def test_json_writes_nan_as_null(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"drop": [float("nan"), 0.25], "deep": {"regret": np.float64("nan")}, 3: (1, None)})
    assert read_json(path) == {"drop": [None, 0.25], "deep": {"regret": None}, "3": [1, None]}
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_standard_with_infinities(tmp_path):
    write_json(tmp_path / "summary.json", {"regret": float("inf")})
    json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)


def test_reading_json_names_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match=r"config\.json is missing; give"):
        read_json(tmp_path / CONFIG_FILE)
    (tmp_path / CONFIG_FILE).write_text('{"run": {"prog')
    with pytest.raises(InputError, match=r"config\.json is not valid JSON") as caught:
        read_json(tmp_path / CONFIG_FILE)
    one_line(caught)
    for broken, message in ((b"[1]", "is no JSON object"), (b'{"run": "\xff"}', "is not valid JSON")):
        (tmp_path / CONFIG_FILE).write_bytes(broken)
        with pytest.raises(InputError, match=rf"config\.json {message}.*; start the run again") as caught:
            read_json(tmp_path / CONFIG_FILE)
        one_line(caught)


def test_directory_belongs_to_the_run_that_claimed_it(tmp_path):
    workdir = tmp_path / "deep" / "run"
    assert claim(workdir, RUN) is False
    recorded = read_json(workdir / CONFIG_FILE)
    assert recorded["run"]["config"]["network"]["hidden_dims"] == [8, 8]
    assert {"versions", "git_commit", "device", "command_line"} <= recorded.keys()
    content = tree_content(workdir)
    assert claim(workdir, RUN) is True
    other = {**RUN, "config": {"network": {"hidden_dims": (8, 8)}, "batch_size": 4}}
    with pytest.raises(InputError) as caught:
        claim(workdir, other)
    assert "different run (config.batch_size: 3 there, 4 now); choose another --workdir" in one_line(caught)
    with pytest.raises(InputError, match="seeds: "):
        claim(workdir, {**RUN, "seeds": [0]})
    assert tree_content(workdir) == content


def test_a_directory_is_held_by_one_at_a_time_until_the_block_ends(tmp_path):
    workdir = tmp_path / "run"
    for begun in (False, True):
        with hold(workdir, RUN) as found:
            assert found is begun
            content = tree_content(workdir)
            with pytest.raises(InputError) as caught, hold(workdir, RUN):
                pass
            assert f"another process is at work in {workdir}; wait for it" in one_line(caught)
            assert tree_content(workdir) == content
    with pytest.raises(KeyError), hold(workdir, RUN):
        raise KeyError
    with hold(workdir, RUN):
        pass


def test_a_directory_of_another_run_is_not_touched_by_holding_it(tmp_path):
    claim(tmp_path, RUN)
    content = tree_content(tmp_path)
    with pytest.raises(InputError, match="different run"), hold(tmp_path, {**RUN, "seeds": [0]}):
        pass
    assert tree_content(tmp_path) == content


def test_a_run_begun_by_an_earlier_version_goes_on_with_what_its_record_lacks(tmp_path):
    claim(tmp_path, RUN)
    now = {**RUN, "config": {**RUN["config"], "added": 0.0}}

    def complete(run):
        return {**run, "config": {"added": 0.0, **run["config"]}}

    with pytest.raises(InputError, match=r"config\.added: None there, 0\.0 now"), hold(tmp_path, now):
        pass
    with hold(tmp_path, now, complete) as begun:
        assert begun
    changed = {**now, "config": {**now["config"], "added": 1.0}}
    with pytest.raises(InputError, match=r"config\.added: 0\.0 there, 1\.0 now"), hold(tmp_path, changed, complete):
        pass
    other = {"program": "landscape", "points": 3}
    with pytest.raises(InputError, match="holds a different run"), hold(tmp_path, other, complete):
        pass


def test_a_record_without_a_configuration_is_compared_as_it_is(tmp_path):
    for broken in (
        {"program": "pretrain"},
        {"program": "pretrain", "config": None},
        {"program": "pretrain", "config": {}},
    ):
        assert completed(broken) == broken
    claim(tmp_path, {"program": "pretrain"})
    with (
        pytest.raises(InputError, match="holds a different run"),
        hold(tmp_path, {**RUN, "program": "pretrain"}, completed),
    ):
        pass


def test_a_killed_process_holds_nothing(tmp_path):
    code = f"from smac_jax.io.workdir import hold\nwith hold(Path({str(tmp_path)!r}), {{}}): print(flush=True); input()"
    command = [sys.executable, "-c", f"from pathlib import Path\n{code}"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as process:
        assert process.stdout.readline()
        with pytest.raises(InputError, match="another process is at work"), hold(tmp_path, {}):
            pass
        process.kill()
        process.wait()
    with hold(tmp_path, {}) as begun:
        assert begun


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path, monkeypatch):
    claim(tmp_path, RUN)
    begun = read_json(tmp_path / CONFIG_FILE)
    monkeypatch.setattr(records_of, "git_commit", lambda: "another")
    for _ in range(2):
        claim(tmp_path, RUN)
    monkeypatch.setattr(records_of, "__version__", "99")
    claim(tmp_path, RUN)
    now = read_json(tmp_path / CONFIG_FILE)
    first, second = now.pop("resumed")
    assert now == begun
    assert first["git_commit"] == second["git_commit"] == "another"
    assert first["versions"] == begun["versions"]
    assert second["versions"] == {**begun["versions"], "smac-jax": "99"}
    assert {"device", "command_line"} <= first.keys() & second.keys()


def test_a_finished_run_that_is_looked_at_keeps_its_record(tmp_path, monkeypatch):
    claim(tmp_path, RUN)
    (tmp_path / "summary.json").write_text("{}")
    content = tree_content(tmp_path)
    monkeypatch.setattr(records_of, "git_commit", lambda: "another")
    assert claim(tmp_path, RUN)
    assert tree_content(tmp_path) == content


@pytest.mark.parametrize("name", ["metrics.csv", "summary.json", "checkpoints"])
def test_foreign_files_are_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match=f"holds {name} of an unknown run; choose another --workdir"):
        claim(tmp_path, RUN)
    assert tree_content(tmp_path) == {(tmp_path / name).relative_to(tmp_path): b"precious"}


def test_a_file_is_no_working_directory(tmp_path):
    path = tmp_path / "file"
    path.write_text("precious")
    for workdir in (path, path / "below"):
        with pytest.raises(InputError, match="choose another --workdir") as caught:
            claim(workdir, RUN)
        one_line(caught)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_checkpoint_restores_every_bit(tmp_path, optimizer):
    state = make_state(optimizer=optimizer).replace(step=np.int32(7))
    later = jax.tree.map(lambda leaf: leaf + np.float32(1e-7) if leaf.dtype == np.float32 else leaf, state)
    record = {"episodes": np.array([3, 4]), "actions": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, {"seconds": {"wall": 1.5}}, agent=state, collector=record)
    checkpoints.save(20, {"seconds": {"wall": 2.5}}, agent=later, collector=record)
    checkpoints.close()

    reopened = Checkpoints(tmp_path)
    assert reopened.latest_step == 20
    assert reopened.counters() == {"seconds": {"wall": 2.5}}
    assert_bit_identical(reopened.restore("agent", make_state(seed=5, optimizer=optimizer)), later)
    zeros = jax.tree.map(np.zeros_like, record)
    assert_bit_identical(reopened.restore("collector", zeros), record)
    reopened.close()


def test_newest_two_checkpoints_are_kept_and_none_is_a_pickle(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, {}, agent=make_state())
    checkpoints.close()
    directory = tmp_path / CHECKPOINTS
    assert {path.name for path in directory.iterdir() if path.name.isdigit()} == {"2", "3"}
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".joblib", ".npy"}
        # Every pickle of protocol 2 or later begins with this byte and its protocol.
        assert path.read_bytes()[:2] not in {bytes([0x80, protocol]) for protocol in range(2, 6)}


def test_checkpoint_of_other_networks_is_refused(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, agent=make_state())
    for other in (make_state((16, 16)), make_state((8, 8, 8)), make_state(optimizer="adam")):
        with pytest.raises(InputError, match="does not fit the configured networks") as caught:
            checkpoints.restore("agent", other)
        assert "use the configuration it was trained with" in one_line(caught)
    checkpoints.close()


def test_checkpoint_from_before_an_optional_part_is_read(tmp_path):
    state = make_state()
    parts = serialization.to_state_dict(state)
    assert parts.pop("anchor", ...) is None
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {}, agent=parts)
    assert_bit_identical(checkpoints.restore("agent", make_state(seed=5)), state)
    checkpoints.close()


def test_missing_checkpoint_is_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest_step is None
    for restore in (checkpoints.counters, lambda: checkpoints.restore("agent", make_state())):
        with pytest.raises(InputError, match="holds no checkpoint yet") as caught:
            restore()
        one_line(caught)
    checkpoints.close()


def test_missing_checkpoint_is_not_blamed_on_the_networks(tmp_path):
    with pytest.raises(InputError) as caught:
        Checkpoints(tmp_path).restore("agent", make_state())
    assert "networks" not in str(caught.value)
