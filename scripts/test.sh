#!/usr/bin/env bash
# The test suite, from nothing but Python 3.11 or 3.12: makes .venv, installs what the tests need, runs pytest.
# Usage: bash scripts/test.sh [--fresh] [pytest arguments]
#   --fresh           remove .venv and install again
#   TORCH_INDEX_URL   another index for torch, such as a CPU build's
#   PYTHON            the Python (3.11 or 3.12) to make .venv with
# Without pytest arguments the whole suite runs, in as many processes as there are cores, four at most.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup/lib.sh

fresh=()
if [[ "${1:-}" == "--help" || "${1:-}" == "-h" ]]; then
    sed -n '2,7s/^# \{0,1\}//p' scripts/test.sh
    exit 0
elif [[ "${1:-}" == "--fresh" ]]; then
    fresh=(--fresh)
    shift
fi
prepare test ${fresh[@]+"${fresh[@]}"}
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}" # on a busy machine spinning threads cost several times the work
if (($# == 0)); then
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    set -- --numprocesses=logical --maxprocesses=4 --dist=loadfile
fi
exec .venv/bin/python -m pytest "$@"
