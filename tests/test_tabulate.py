import json
import subprocess
import sys

from conftest import REPOSITORY

from smac_jax.io.records import read_rows


def write_run(path, program, online, numbers, **flags):
    path.mkdir()
    command = [str(REPOSITORY / "launch" / f"{program}.py"), *(f"--{name}={value}" for name, value in flags.items())]
    (path / "config.json").write_text(json.dumps({"command_line": command}))
    (path / "metrics.csv").write_text("phase,step,seed,score\n")
    measures = {name: [0.5 + seed for seed in numbers] for name in ("offline_score", "final_score", "drop", "regret")}
    summary = {
        "algorithm": "smac",
        "online_algorithm": online,
        "task": "adroit_binary",
        "dataset": "adroit/pen-binary-v0",
        "seeds": numbers,
        "drop_noise": [0.25] * len(numbers),
        **measures,
    }
    (path / "summary.json").write_text(json.dumps(summary))


def test_a_row_a_seed_with_the_commands_that_made_it(tmp_path):
    runs = tmp_path / "here"
    runs.mkdir()
    write_run(runs / "wide", "pretrain", None, [0, 1], workdir=runs / "wide", seeds="0,1")
    write_run(runs / "wide-sac", "finetune", "sac", [0, 1], checkpoint=runs / "wide", workdir=runs / "wide-sac")
    output = tmp_path / "results" / "rows.csv"
    for _ in range(2):
        subprocess.run(
            [sys.executable, "-m", "launch.tabulate", f"--workdir={runs}", f"--output={output}"],
            cwd=REPOSITORY,
            check=True,
        )
    rows = read_rows(output)
    assert [(row["setting"], row["online_algorithm"], row["seed"]) for row in rows] == [
        ("wide-sac", "sac", "0"),
        ("wide-sac", "sac", "1"),
    ]
    assert (rows[1]["offline_score"], rows[1]["drop_noise"]) == ("1.5", "0.25")
    assert rows[0]["commands"] == (
        "python -m launch.pretrain --workdir=runs/wide --seeds=0,1 && "
        "python -m launch.finetune --checkpoint=runs/wide --workdir=runs/wide-sac"
    )
