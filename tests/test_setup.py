"""The shell scripts that set everything up, with a Python that only notes how it is called."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from minari.storage.remotes import DEFAULT_REMOTE, get_cloud_storage
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
NOTING_PYTHON = """#!/bin/sh
echo "$@" >> calls
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi
"""


@pytest.mark.parametrize("arguments", [(), ("runs/mine",)])
def test_quickstart_installs_the_package_alone_and_works_where_it_is_told(tmp_path, arguments):
    (tmp_path / "launch").mkdir()
    for name in ("setup.sh", "quickstart.sh"):
        shutil.copy(ROOT / "launch" / name, tmp_path / "launch")
    python = tmp_path / "noting_python"
    python.write_text(NOTING_PYTHON)
    python.chmod(0o755)
    (tmp_path / "pyproject.toml").touch()
    script = tmp_path / "launch" / "quickstart.sh"
    subprocess.run([script, *arguments], env={**os.environ, "PYTHON": str(python)}, check=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    (installation,) = [call for call in calls if "pip install" in call]
    assert installation.endswith("-e .")
    workdir = arguments[0] if arguments else "runs/quickstart"
    assert calls[-1] == f"-m launch.report --workdir={workdir}"


def test_the_dependencies_provide_what_minaris_default_remote_imports():
    scheme = DEFAULT_REMOTE.partition(":")[0]
    names = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (ours,) = (found for name in names if (found := Requirement(name)).name == "minari")
    assert scheme in ours.extras, f"--download asks {DEFAULT_REMOTE}"
    get_cloud_storage()
