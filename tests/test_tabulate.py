import dataclasses
import json
import shlex
import subprocess
import sys

import pytest
from conftest import REPOSITORY
from forking import run_module
from ml_collections import ConfigDict

from configs import finetune, smac
from launch.reproduce import checkpoint, overrides
from launch.session import make_terms
from smac_jax.errors import InputError
from smac_jax.io.records import read_rows


def write_run(path, program, config, online, seeds):
    path.mkdir(parents=True)
    run = {"program": program, "config": config.to_dict(), "dataset": "adroit/pen-binary-v0", "seeds": seeds}
    (path / "config.json").write_text(json.dumps({"run": run}))
    (path / "metrics.csv").write_text("phase,step,seed,score\n")
    measures = {name: [0.5 + seed for seed in seeds] for name in ("offline_score", "final_score", "drop", "regret")}
    summary = {
        "algorithm": "smac",
        "online_algorithm": online,
        "task": "adroit_binary",
        "dataset": "adroit/pen-binary-v0",
        "seeds": seeds,
        "drop_noise": [0.25] * len(seeds),
        **measures,
    }
    (path / "summary.json").write_text(json.dumps(summary))


def older_pretraining():
    """A configuration of before some of today's fields, with a value of its own."""
    config = smac.get_config("adroit_binary-small")
    config.kappa = 0.25
    del config.online.actor_learning_rate, config.terms.value, config.terms.td.bootstrap
    config.network.value = False
    return config


def test_a_row_a_seed_with_the_commands_that_make_it(tmp_path):
    runs, output = tmp_path / "here", tmp_path / "results" / "rows.csv"
    online = finetune.from_checkpoint(smac.get_config("adroit_binary-small"), "sac")
    write_run(runs / "wide", "pretrain", older_pretraining(), None, [0, 1])
    write_run(runs / "wide-slow-sac", "finetune", online, "sac", [0, 1])
    for _ in range(2):
        printed = subprocess.run(
            [sys.executable, "-m", "launch.tabulate", f"--workdir={runs}", f"--output={output}"],
            cwd=REPOSITORY,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    rows = read_rows(output)
    assert [(row["setting"], row["online_algorithm"], row["seed"]) for row in rows] == [
        ("wide-slow-sac", "sac", "0"),
        ("wide-slow-sac", "sac", "1"),
    ]
    assert (rows[1]["offline_score"], rows[1]["drop_noise"]) == ("1.5", "0.25")
    first, second = (shlex.split(command) for command in rows[0]["commands"].split(" && "))
    assert first[:5] == [
        "python",
        "-m",
        "launch.pretrain",
        "--config=configs/smac.py:adroit_binary-small",
        "--dataset=adroit/pen-binary-v0",
    ]
    assert {"--seeds=0,1", "--workdir=runs/wide", "--config.kappa=0.25", "--config.terms.value.weight=0.0"} <= set(
        first
    )
    assert {"--checkpoint=runs/wide", "--algorithm=sac", "--workdir=runs/wide-slow-sac"} <= set(second)
    # Means over the two seeds; the drop of an unchanged policy is subtracted from theirs.
    assert "| wide-slow-sac | 2 | 1.000 | 1.000 | 0.750 | 1.000 | 1.000 |" in printed


def tabulate(runs, output):
    return run_module("launch.tabulate", [f"--workdir={runs}", f"--output={output}"], REPOSITORY)


def test_what_cannot_be_tabulated_leaves_the_older_table(tmp_path):
    runs, output = tmp_path / "here", tmp_path / "rows.csv"
    output.write_text("precious")
    write_run(runs / "wide", "pretrain", older_pretraining(), None, [0])
    without = tabulate(runs, output)
    online = finetune.from_checkpoint(smac.get_config("adroit_binary-small"), "sac")
    write_run(runs / "alone-sac", "finetune", online, "sac", [0])
    orphan = tabulate(runs, output)
    (runs / "alone-sac").rename(runs / "wide-sac")
    folder = tabulate(runs, runs)
    below_file = tabulate(runs, output / "rows.csv")
    messages = {
        "holds no finished fine-tuning": without,
        "began from no run beside it": orphan,
        f"cannot write {runs}": folder,
        f"cannot write {output / 'rows.csv'}": below_file,
    }
    for message, ended in messages.items():
        assert ended.returncode == 2, ended.stderr
        assert ended.stderr.startswith("error: ")
        assert message in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
    assert output.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "rows.csv"]


def test_overrides_turn_the_defaults_into_the_configuration():
    defaults, wanted = smac.get_config("adroit_binary-small"), older_pretraining()
    wanted.online.actor_learning_rate = 0.0
    made = ConfigDict(defaults.to_dict())
    for flag in overrides(wanted, defaults):
        name, _, value = flag.removeprefix("--config.").partition("=")
        before = made
        *path, last = name.split(".")
        for part in path:
            before = before[part]
        before[last] = type(before[last])(value) if not isinstance(before[last], bool) else value == "True"
    assert dataclasses.asdict(make_terms(made)) == dataclasses.asdict(make_terms(wanted))
    assert (made.kappa, made.online.actor_learning_rate, made.network.value) == (0.25, 0.0, False)
    assert overrides(defaults, defaults) == []


def test_a_fine_tuning_without_its_pre_training_is_refused(tmp_path):
    with pytest.raises(InputError, match="began from no run beside it"):
        checkpoint(tmp_path / "alone-sac", tmp_path)
