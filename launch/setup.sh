# Sourced by the other scripts: makes .venv and installs the package with the extra named in $1, once.
extra=${1:-}
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "error: Python >= 3.11 is needed; install it, or name it: PYTHON=python3.11 $0" >&2
  exit 2
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
stamp=".venv/installed${extra:+-$extra}"
if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
  echo "installing the package and what it needs into .venv ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".${extra:+[$extra]}"
  touch "$stamp"
fi
