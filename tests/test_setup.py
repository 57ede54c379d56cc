"""The shell scripts that set everything up, with a Python that only notes how it is called."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from minari.storage.remotes import DEFAULT_REMOTE, get_cloud_storage
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
NOTING_PYTHON = """#!/bin/sh
echo "$@" >> calls
if [ "$1 $2" = "-m venv" ]; then mkdir -p .venv/bin; cp -f "$0" .venv/bin/python; fi
"""


# An interpreter that says it is another version: VERSION is a tuple's text.
OTHER_VERSION = """#!/bin/sh
exec python3 -c "import sys; sys.version_info = VERSION; exec(sys.argv[1])" "$2"
"""


def write_script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def run_quickstart(folder, python, *arguments, check=True):
    (folder / "launch").mkdir()
    for name in ("setup.sh", "quickstart.sh"):
        shutil.copy(ROOT / "launch" / name, folder / "launch")
    (folder / "pyproject.toml").touch()
    environment = {**os.environ, "PYTHON": str(python)}
    command = [folder / "launch" / "quickstart.sh", *arguments]
    return subprocess.run(command, env=environment, check=check, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [(), ("runs/mine",)])
def test_quickstart_installs_the_package_alone_and_works_where_it_is_told(tmp_path, arguments):
    run_quickstart(tmp_path, write_script(tmp_path / "noting_python", NOTING_PYTHON), *arguments)
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


@pytest.mark.parametrize("version", [(3, 10, 9), (3, 14, 0)])
def test_a_python_that_cannot_have_the_dependencies_is_refused(tmp_path, version):
    python = write_script(tmp_path / "python", OTHER_VERSION.replace("VERSION", str(version)))
    ended = run_quickstart(tmp_path, python, check=False)
    assert ended.returncode == 2, ended.stdout
    assert ended.stderr.startswith("error: Python 3.11, 3.12 or 3.13 is needed")
    assert not (tmp_path / ".venv").exists()


def test_the_package_asks_for_the_python_that_the_script_asks_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    found = [version for version in ("3.10", "3.11", "3.12", "3.13", "3.14") if version in SpecifierSet(wanted)]
    assert found == ["3.11", "3.12", "3.13"]


def test_an_environment_without_pip_is_made_anew(tmp_path):
    """What `python3 -m venv` leaves behind where ensurepip fails, as on a system without python3-venv."""
    python = write_script(tmp_path / "noting_python", NOTING_PYTHON)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    write_script(tmp_path / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    run_quickstart(tmp_path, python)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "-m venv --clear .venv" in calls
    assert [call for call in calls if "pip install" in call]


def test_a_whole_environment_is_kept(tmp_path):
    python = write_script(tmp_path / "noting_python", NOTING_PYTHON)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(python, tmp_path / ".venv" / "bin" / "python")
    run_quickstart(tmp_path, python)
    assert "-m venv" not in (tmp_path / "calls").read_text()
