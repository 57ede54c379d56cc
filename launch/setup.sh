# Sourced by the other scripts: makes .venv and installs the package with the extra named in $1, once.
extra=${1:-}
python=${PYTHON:-python3}
# The mujoco that is needed has no wheels for 3.14.
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || {
  echo "error: Python 3.11, 3.12 or 3.13 is needed; install it, or name it: PYTHON=python3.11 $0" >&2
  exit 2
}
# Where venv fails halfway, as without ensurepip, it leaves an interpreter that has no pip.
.venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv
stamp=".venv/installed${extra:+-$extra}"
if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
  echo "installing the package and what it needs into .venv ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}"
  touch "$stamp"
fi
