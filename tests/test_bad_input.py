import fcntl
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import h5py
import numpy as np
import pytest
from conftest import REPOSITORY
from forking import Ended, run_module

from configs import smac
from launch.checks import check_config
from launch.program import parse_seeds
from smac_jax.data.minari_dataset import environment_spec, hash_episodes, open_dataset, read_episodes
from smac_jax.envs.tasks import TASKS
from smac_jax.errors import InputError
from smac_jax.io.workdir import claim

PROGRAMS = {
    "pretrain": ("--config", "--dataset", "--workdir", "--seeds", "--download"),
    "finetune": ("--checkpoint", "--algorithm", "--dataset", "--seeds", "--workdir", "--download"),
    "evaluate": ("--checkpoint", "--episodes"),
    "report": ("--workdir",),
    "landscape": ("--offline", "--online", "--workdir", "--points", "--episodes"),
    "benchmark": ("--suite", "--workdir", "--backend", "--jobs", "--download", "--dry_run"),
    "make_dataset": (
        *("--recipe", "--output", "--source", "--download", "--env", "--checkpoint", "--episodes", "--steps", "--seed"),
        *("--describe", "--page"),
    ),
}
CONFIG = "--config=configs/smac.py:pointmaze-small"
PRETRAIN = ("pretrain", CONFIG, "--dataset={dataset}", "--workdir={new}")
FINETUNE = ("finetune", "--workdir={new}")
SCRATCH = (*FINETUNE, "--algorithm=rlpd", "--dataset={dataset}")
LANDSCAPE = ("landscape", "--workdir={new}")
MAKE = ("make_dataset", "--recipe=pointmaze", "--episodes=1")
REPLAY = ("make_dataset", "--recipe=replay", "--output=replay/new-v0")

OFFLINE_FILES = ", ".join(f"configs/{name}.py" for name in ("bc", "calql", "cql", "iql", "smac", "smac_paper", "td3bc"))

# Command line, and what its message must say.
CASES = {
    "unknown flag": ((*PRETRAIN, "--batchsize=3"), "'batchsize'"),
    "field of wrong type": ((*PRETRAIN, "--config.batch_size=many"), "--config.batch_size=many"),
    "stray argument": ((*PRETRAIN, "stray"), "unexpected argument 'stray'"),
    "no config": (("pretrain", "--dataset={dataset}", "--workdir={new}"), "--config is missing"),
    "no dataset": (("pretrain", CONFIG, "--workdir={new}"), "--dataset is missing"),
    "absent dataset": ((*PRETRAIN, "--dataset=pointmaze/absent-v0"), "'pointmaze/absent-v0'"),
    "task of another dataset": ((*PRETRAIN, "--config=configs/smac.py:kitchen"), "use the task pointmaze"),
    "negative seed": ((*PRETRAIN, "--seeds=0,-1"), "--seeds=0,-1 must be"),
    "directory of another run": ((*PRETRAIN, "--workdir={run}"), "holds a different run"),
    "directory where another process is at work": (
        (*PRETRAIN, "--workdir={busy}"),
        "another process is at work in {busy}; wait for it, or choose another --workdir",
    ),
    "directory where another process fine-tunes": (
        (*SCRATCH, "--config=configs/rlpd.py:pointmaze-small", "--workdir={busy}"),
        "another process is at work in {busy}; wait for it, or choose another --workdir",
    ),
    "no checkpoint": (FINETUNE, "--checkpoint is missing"),
    "checkpoint is no run": ((*FINETUNE, "--checkpoint={empty}"), "config.json is missing; give"),
    "checkpoint is fine-tuned": ((*FINETUNE, "--checkpoint={finetuned}"), "give the directory of a pretrain run"),
    "settled field": (
        (*FINETUNE, "--checkpoint={run}", "--config.network.critics=5"),
        "--config.network.critics is settled by the checkpoint; pretrain",
    ),
    "unknown algorithm": ((*FINETUNE, "--checkpoint={run}", "--algorithm=ppo"), "sac|td3|td3bc"),
    "network that was not trained": (
        (*FINETUNE, "--checkpoint={run}", "--algorithm=iql"),
        "smac has trained no state value, which --algorithm=iql goes on from; choose another",
    ),
    "dataset beside a checkpoint": ((*FINETUNE, "--checkpoint={run}", "--dataset={dataset}"), "leave them out"),
    "from scratch without configuration": (
        (*FINETUNE, "--algorithm=rlpd", "--config.batch_size=8"),
        "rlpd starts from scratch: give --config=configs/rlpd.py:TASK and --dataset, or a --checkpoint",
    ),
    "other data under the same id": ((*FINETUNE, "--checkpoint={run}"), "its content differs"),
    "evaluation of no run": (("evaluate", "--checkpoint={empty}"), "config.json is missing; give"),
    "report on no runs": (("report", "--workdir={empty}"), "holds no finished run; run pretrain"),
    "page without description": ((*MAKE, "--output=a/b-v0", "--page={new}.md"), "--page goes with --describe"),
    "output of a description": (("make_dataset", "--describe={dataset}", "--output=a/b-v0"), "--output goes with"),
    "page in no folder": (("make_dataset", "--describe={dataset}", "--page={new}/page.md"), "make it first"),
    "page that is a folder": (
        ("make_dataset", "--describe={dataset}", "--page={empty}"),
        "--page={empty} is a folder; name a Markdown file",
    ),
    "datasets in a file": ((*PRETRAIN, "--workdir={new}"), "MINARI_DATASETS_PATH={suite}/below is no folder; set it"),
    "existing dataset": ((*MAKE, "--output={dataset}"), "exists already; choose another --output"),
    "negative recording seed": ((*MAKE, "--output=pointmaze/new-v0", "--seed=-1"), "--seed=-1 must not be negative"),
    "unknown field": ((*PRETRAIN, "--config.batchsize=3"), "batch_size"),
    "unknown task": ((*PRETRAIN, "--config=configs/smac.py:maze"), "unknown task 'maze'; use one of kitchen"),
    "unknown config": (
        (*PRETRAIN, "--config=configs/smack.py:pointmaze"),
        f"no configuration file 'configs/smack.py'; run from the project's root, where there are {OFFLINE_FILES}",
    ),
    "unknown config behind a space": (
        ("pretrain", "--config", "configs/smack.py:pointmaze", "--dataset={dataset}", "--workdir={new}"),
        "no configuration file 'configs/smack.py'; run",
    ),
    "config without a file": ((*PRETRAIN, "--config="), "no configuration file ''; run"),
    "config of a method without offline phase": (
        (*PRETRAIN, "--config=configs/rlpd.py:pointmaze-small"),
        f"configs/rlpd.py configures no offline method; use one of {OFFLINE_FILES}",
    ),
    "config of no method": ((*PRETRAIN, "--config=configs/common.py:pointmaze-small"), "configures no offline method"),
    "config of fine-tuning": ((*PRETRAIN, "--config=configs/finetune.py:pointmaze"), "configures no offline method"),
    "config of a suite": ((*PRETRAIN, "--config=configs/suites/smoke.py"), "configures no offline method"),
    "config of a suite elsewhere": ((*PRETRAIN, "--config={suite}"), "suite.py configures no offline method"),
    "config of an offline method from scratch": (
        (*SCRATCH, "--config=configs/smac.py:pointmaze-small", "--workdir={new}"),
        "configs/smac.py does not configure rlpd; use one of configs/rlpd.py",
    ),
    "unknown config from scratch behind a space": (
        (*SCRATCH, "--config", "configs/smack.py:pointmaze-small", "--workdir={new}"),
        "where there are configs/rlpd.py",
    ),
    "config file beside a checkpoint": (
        (*FINETUNE, "--checkpoint={run}", "--config=configs/smac.py:pointmaze-small"),
        "--config is that of the --checkpoint; set its fields by --config.a.b=value",
    ),
    "foreign config.json": ((*FINETUNE, "--checkpoint={foreign}"), "{foreign}"),
    "evaluation of foreign config.json": (("evaluate", "--checkpoint={foreign}"), "{foreign}"),
    "dataset id without version": ((*MAKE, "--output=pointmaze/new"), "pointmaze/new"),
    "pretraining not begun": ((*FINETUNE, "--checkpoint={begun}"), "holds no checkpoint yet"),
    "data of an environment that cannot be made": (
        (*PRETRAIN, "--dataset=pointmaze/homeless-v0"),
        "cannot make the environment PointMaze_Nowhere-v9",
    ),
    "rewards of no sparse maze": (
        (*PRETRAIN, "--dataset=pointmaze/halved-v0"),
        "pointmaze/halved-v0 episode 2: the reward 0.5 is not that of a sparse maze",
    ),
    "an empty episode": (
        (*PRETRAIN, "--dataset=pointmaze/empty-v0"),
        "pointmaze/empty-v0 episode 3 is empty; filter it out",
    ),
    "rewards as text": (
        (*PRETRAIN, "--dataset=pointmaze/text-v0"),
        "pointmaze/text-v0 episode 1 has rewards of type object; numbers are needed",
    ),
    "actions of unequal length": (
        (*PRETRAIN, "--dataset=pointmaze/ragged-v0"),
        "pointmaze/ragged-v0 episode 4 has actions of type object; numbers are needed",
    ),
    "nothing to make": (("make_dataset",), "give --recipe with --output, or --describe"),
    "flag of another recipe": ((*REPLAY, "--episodes=2"), "--recipe=replay has no --episodes"),
    "no demonstrations": (
        ("make_dataset", "--recipe=adroit_binary", "--output=adroit/new-v0"),
        "--source is missing",
    ),
    "roll-out of no run": (
        ("make_dataset", "--recipe=rollout", "--output=pointmaze/new-v0", "--checkpoint={empty}"),
        "config.json is missing; give",
    ),
    "description of no dataset": (
        ("make_dataset", "--describe=pointmaze/absent-v0", "--page={new}"),
        "cannot open the dataset 'pointmaze/absent-v0'",
    ),
    "unknown maze": (
        (*MAKE, "--output=pointmaze/new-v0", "--env=PointMaze_Open-v3"),
        "no maze PointMaze_Open-v3; use one of PointMaze_UMaze-v3",
    ),
    "unknown environment": ((*REPLAY, "--env=Nowhere-v0"), "no environment Nowhere-v0"),
    "landscape without an end": ((*LANDSCAPE, "--offline={begun}"), "--online is missing"),
    "landscape the wrong way round": (
        (*LANDSCAPE, "--offline={finetuned}", "--online={begun}"),
        "is a run of finetune; give --offline the directory of a pretrain run",
    ),
    "landscape of one point": (
        (*LANDSCAPE, "--offline={begun}", "--online={finetuned}", "--points=1"),
        "flag --points=1: 1 is not integer >= 2",
    ),
    "landscape over two datasets": (
        (*LANDSCAPE, "--offline={run}", "--online={finetuned}"),
        "has another dataset_sha256 than {run}; give --online a fine-tuning of",
    ),
    "landscape of a run not begun": (
        (*LANDSCAPE, "--offline={begun}", "--online={finetuned}"),
        "holds no checkpoint yet",
    ),
    "evaluation of a run not begun": (("evaluate", "--checkpoint={begun}"), "holds no checkpoint yet"),
}


def content(directory):
    return {path: path.is_file() and path.read_bytes() for path in directory.rglob("*")}


def prepare(directory, dataset_id):
    """Working directories in several states, without the time it takes to train."""
    dataset = open_dataset(dataset_id)
    run = {
        "program": "pretrain",
        "config": smac.get_config("pointmaze-small").to_dict(),
        "dataset": dataset_id,
        "dataset_sha256": hash_episodes(read_episodes(dataset, TASKS["pointmaze"])),
        "env_spec": environment_spec(dataset).to_json(),
        "dims": (6, 2),
        "seeds": [0],
    }
    claim(directory / "begun", run)
    claim(directory / "run", {**run, "dataset_sha256": "of other data"})
    claim(directory / "finetuned", {**run, "program": "finetune"})
    (directory / "empty").mkdir()
    (directory / "suite.py").write_text("from configs.suites.smoke import get_config")
    (directory / "busy").mkdir()
    (directory / "busy" / "run.lock").touch()
    (directory / "foreign").mkdir()
    (directory / "foreign" / "config.json").write_text('{"learning_rate": 1}')


def make_homeless(metadata, file):
    spec = json.loads(metadata["env_spec"]) | {"id": "PointMaze_Nowhere-v9", "entry_point": "no_such_module:Maze"}
    metadata["env_spec"] = json.dumps(spec)


def make_halved(metadata, file):
    file["episode_2/rewards"][0] = 0.5


def make_empty(metadata, file):
    for name in ("actions", "rewards", "terminations", "truncations"):
        file[f"episode_3/{name}"].resize(0, axis=0)


def make_text(metadata, file):
    steps = len(file["episode_1/rewards"])
    del file["episode_1/rewards"]
    file.create_dataset("episode_1/rewards", data=["0.0"] * steps, dtype=h5py.string_dtype())


def make_ragged(metadata, file):
    steps = len(file["episode_4/actions"])
    del file["episode_4/actions"]
    actions = file.create_dataset("episode_4/actions", steps, dtype=h5py.vlen_dtype(np.float32))
    for step in range(steps):
        actions[step] = np.zeros(2 + step % 2, np.float32)


def add_broken_datasets(minari, dataset_id):
    """Copies of a dataset, each with one thing wrong with it."""
    for break_dataset in (make_homeless, make_halved, make_empty, make_text, make_ragged):
        broken_id = f"pointmaze/{break_dataset.__name__.removeprefix('make_')}-v0"
        shutil.copytree(minari / dataset_id, minari / broken_id)
        record = minari / broken_id / "data" / "metadata.json"
        metadata = json.loads(record.read_text()) | {"dataset_id": broken_id}
        with h5py.File(record.with_name("main_data.hdf5"), "a") as file:
            break_dataset(metadata, file)
        record.write_text(json.dumps(metadata))


class Outcome(NamedTuple):
    process: Ended
    message: str
    changed: set


def execute(program, *arguments, **environment):
    return run_module(f"launch.{program}", list(arguments), REPOSITORY, environment)


@pytest.fixture(scope="module")
def outcomes(tiny_pointmaze, tmp_path_factory):
    """What each case did; they run two at a time, each in a folder of its own."""
    dataset_id, shared = tiny_pointmaze
    template, root = tmp_path_factory.mktemp("template"), tmp_path_factory.mktemp("cases")
    minari = shutil.copytree(shared, root / "minari")
    add_broken_datasets(minari, dataset_id)

    def run_case(number):
        name, (command, message) = list(CASES.items())[number]
        folder = root / str(number)
        shutil.copytree(template, folder)
        names = ("new", "empty", "busy", "foreign", "run", "finetuned", "begun", "suite.py")
        places = {name.removesuffix(".py"): folder / name for name in names} | {"dataset": dataset_id}
        before = content(folder)
        with (folder / "busy" / "run.lock").open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            elsewhere = {"MINARI_DATASETS_PATH": f"{places['suite']}/below"} if name == "datasets in a file" else {}
            process = execute(*(argument.format(**places) for argument in command), **elsewhere)
        after = content(folder)
        changed = {path for path in before | after if before.get(path) != after.get(path)}
        return Outcome(process, message.format(**places), changed)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
        patch.setenv("MINARI_DATASETS_PATH", str(minari))
        prepare(template, dataset_id)
        datasets = content(minari)
        results = dict(zip(CASES, pool.map(run_case, range(len(CASES))), strict=True))
        assert content(minari) == datasets
    return results


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_line_and_exit_code_two(outcomes, name):
    process, message, changed = outcomes[name]
    errors = [line for line in process.stderr.splitlines() if line.startswith("error:")]
    assert process.returncode == 2, process.stderr
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in process.stderr
    assert "\\" not in errors[0], "an exception's repr is no message"
    assert not changed


@pytest.fixture(scope="module")
def help_pages():
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(PROGRAMS, pool.map(lambda program: execute(program, "--help"), PROGRAMS), strict=True))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_names_every_flag(help_pages, program):
    assert help_pages[program].returncode == 0, help_pages[program].stderr
    assert "error:" not in help_pages[program].stderr
    for flag in PROGRAMS[program]:
        assert f"\n  {flag}: " in help_pages[program].stdout


INTERRUPTED = """
import runpy, sys
from launch import program

def interrupt(*_):
    raise KeyboardInterrupt

program.required = interrupt
runpy.run_module(f"launch.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    ("program", "arguments", "goes_on"),
    [
        ("pretrain", [f"--config={REPOSITORY}/configs/smac.py:pointmaze-small"], True),
        ("finetune", ["--algorithm=rlpd", f"--config={REPOSITORY}/configs/rlpd.py:pointmaze-small"], True),
        ("benchmark", [f"--suite={REPOSITORY}/configs/suites/smoke.py"], True),
        ("make_dataset", ["--recipe=pointmaze"], False),
        ("evaluate", [], False),
        ("report", [], False),
    ],
)
def test_an_interrupted_program_promises_what_it_keeps(tmp_path, program, arguments, goes_on):
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    ended = run_module("interrupted", [program, *arguments], tmp_path)
    assert ended.returncode == 1, ended.stderr
    (line,) = ended.stderr.splitlines()
    assert line == "interrupted" + ("; the same command goes on from the last checkpoint" if goes_on else "")


@pytest.mark.parametrize("seeds", ["1,1", "-1", "a", "1.5", "", str(2**32)])
def test_bad_seeds_are_refused(seeds):
    assert parse_seeds(["3", "0"]) == [3, 0]
    with pytest.raises(InputError, match=f"--seeds={seeds} "):
        parse_seeds(seeds.split(","))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("offline.steps", -1),
        ("online.updates_per_step", 0),
        ("kappa", 0.0),
        ("temperature", float("nan")),
        ("network.activation", "step"),
        ("network.hidden_dims", (64, 0)),
        ("network.hidden_dims", ()),
        ("optimizer.name", "sgd"),
        ("online.offline_fraction", 1.5),
        ("optimizer.actor", -1e-4),
        ("optimizer.critic", float("nan")),
        ("optimizer.temperature", float("inf")),
        ("online.actor_learning_rate", float("nan")),
        ("optimizer.advantage", -1e-4),
        # The maze's critic has no layers of its own for them.
        ("online.advantage_learning_rate", 1e-4),
        ("terms.discount", 1.5),
        # Failures of sparse tasks last for ever.
        ("terms.discount", 1.0),
        ("terms.tau", -0.1),
        ("terms.td.weight", -1.0),
        ("terms.td.smoothing", -1.0),
        ("terms.score_penalty.weight", float("nan")),
        ("terms.score_penalty.policy_fraction", 2.0),
        ("terms.score_penalty.policy_fraction", -0.5),
        ("terms.score_penalty.batch_fraction", 0.0),
        ("terms.min_log_snr", 10.0),
    ],
)
def test_impossible_configuration_is_refused(field, value):
    config = smac.get_config("pointmaze-small")
    check_config(config)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(InputError) as caught:
        check_config(config)
    assert field.split(".")[-1].removesuffix("name") in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
