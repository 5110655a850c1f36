#!/usr/bin/env bash
# Demonstrations, iSD training, rollouts, a control loop and a report, from nothing but Python 3.11 or 3.12.
# Usage: bash scripts/demo.sh [--fresh] [--fresh-venv] [--quick] [--seed N] [--dir DIR]
#   --fresh           remove the results in DIR first; otherwise what is done is kept and the rest continues
#   --fresh-venv      remove .venv too and install again
#   --quick           every step at a toy size, in about a minute: shows that it runs, not what it reaches
#   --seed N          seed of demonstrations, training and evaluation (default 0)
#   --dir DIR         where the results go (default runs/demo, with --quick runs/demo-quick)
#   TORCH_INDEX_URL   another index for torch, such as a CPU build's
#   PYTHON            the Python (3.11 or 3.12) to make .venv with
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/setup/lib.sh

venv=() arguments=()
for argument in "$@"; do
    case "$argument" in
        -h | --help)
            sed -n '2,10s/^# \{0,1\}//p' scripts/demo.sh
            exit 0
            ;;
        --fresh-venv) venv=(--fresh) ;;
        *) arguments+=("$argument") ;;
    esac
done
prepare demo ${venv[@]+"${venv[@]}"}
exec .venv/bin/python -m scripts.demo.run ${arguments[@]+"${arguments[@]}"}
