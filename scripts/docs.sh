#!/usr/bin/env bash
# Builds the documentation's site into build/site; the arguments go on to scripts/docs/build.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup/lib.sh
prepare test
exec .venv/bin/python -m scripts.docs.build "$@"
