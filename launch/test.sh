#!/usr/bin/env bash
# Set everything up, then lint, check types and run the tests.
# Usage: ./launch/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/setup.sh test
.venv/bin/ruff check .
.venv/bin/ruff format --check .
.venv/bin/mypy
tests() {
  # 5 says that there was nothing to run, as arguments may have it.
  .venv/bin/python -m pytest "$@" || [ $? -eq 5 ]
}
# The fixtures of a file are made once, by one process; more than four would take more memory than time.
tests -m "not alone" --numprocesses=auto --maxprocesses=4 --dist=loadfile "$@"
tests -m alone "$@"
