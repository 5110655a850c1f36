#!/usr/bin/env bash
# The suite's core without the simulator in every Python that is here: makes their venvs, runs the tests, prints the table.
# Usage: bash scripts/matrix.sh [--dir DIR] [--record] [python ...]
#   --dir DIR   where the venvs go (default runs/matrix); those that are there are used as they are
#   --record    writes the results to docs/results/matrix.json and the table into docs/performance.md
#   python ...  interpreters: one in a venv runs the tests with what it has, of any other a venv is made;
#               without any, the Pythons 3.11, 3.12 and 3.13 that are found here
# A venv has the newest torch and numpy 2 that its Python can install, and none of the simulators.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup/lib.sh

if [[ "${1:-}" == "--help" || "${1:-}" == "-h" ]]; then
    sed -n '2,8s/^# \{0,1\}//p' scripts/matrix.sh
    exit 0
fi
python="$(find_python)" || exit 2
exec "$python" -m scripts.setup.matrix "$@"
