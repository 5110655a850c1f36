#!/usr/bin/env bash
# Data of one's own, from each form to a policy: arrays, a file by a mapping, a LeRobot data set, states of robosuite.
# On two cores: some minutes, the first time more (numba compiles the engine). What an extra is missing for is left out.
# LeRobot's own commands run where ISD_LEROBOT_PYTHON names the interpreter of an environment with LeRobot.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${1:-runs/bring_your_own}
PYTHON=${PYTHON:-python}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
SMALL=(network=unet1d_small "network.widths=[32,64]" trainer=demo trainer.steps=200 trainer.batch_size=64 trainer.device=cpu)
mkdir -p "$OUT"

has() { $PYTHON -c "import $1" 2>/dev/null; }
step() { printf '\n== %s\n' "$*"; }

step "Arrays in a program"
$PYTHON docs/examples/own_data.py

step "Any HDF5 file, by a mapping"
$PYTHON - "$OUT/log.hdf5" <<'PY'
import sys
import h5py
import numpy as np

rng = np.random.default_rng(0)
with h5py.File(sys.argv[1], "w") as file:
    for i in range(20):
        place = rng.uniform(-1, 1, 2)
        rows = []
        for _ in range(30):
            rows.append((place, -0.2 * place))
            place = place - 0.2 * place
        file[f"log/run_{i}/obs/state"], file[f"log/run_{i}/act"] = map(np.array, zip(*rows))
PY
MAPPED=("observations={state: obs/state}" actions=act rate=10)
$PYTHON -m isd_policy.data.inspect "$OUT/log.hdf5" "${MAPPED[@]}"
$PYTHON -m isd_policy.train task=own data="$OUT/log.hdf5" "${MAPPED[@]/#/dataset.}" "${SMALL[@]}" run_dir="$OUT/mapped"

if has pyarrow && has av; then
  step "The same as a LeRobot data set v3.0: written, read back, trained on"
  [ -d "$OUT/lerobot" ] || $PYTHON -m isd_policy.data.convert data="$OUT/log.hdf5" "${MAPPED[@]}" out="$OUT/lerobot" \
    format=lerobot "lerobot.task=To the middle."
  $PYTHON -m isd_policy.data.inspect "$OUT/lerobot"
  $PYTHON -m isd_policy.train task=own data="$OUT/lerobot" "${SMALL[@]}" run_dir="$OUT/lerobot_policy"
  [ -d "$OUT/policy.isd" ] || $PYTHON -m isd_policy.deploy.bundle checkpoint="$OUT/lerobot_policy" out="$OUT/policy.isd"
fi

if [ -d "$OUT/policy.isd" ] && [ -n "${ISD_LEROBOT_PYTHON:-}" ]; then
  step "LeRobot's own commands with the plug-in: trained there and loaded here, trained here and loaded there"
  rm -rf "$OUT/plugin"
  $PYTHON -m build --wheel --no-isolation --outdir "$OUT/plugin" isd_policy/deploy/lerobot_plugin >/dev/null
  $PYTHON -m zipfile -e "$OUT"/plugin/*.whl "$OUT/plugin/site"
  SITE="$(realpath "$OUT/plugin/site"):$PWD"
  [ -d "$OUT/theirs" ] || PYTHONPATH="$SITE" HF_HUB_OFFLINE=1 "$ISD_LEROBOT_PYTHON" -m lerobot.scripts.lerobot_train \
    --policy.type=isd --policy.push_to_hub=false --policy.device=cpu --policy.settings='["network=unet1d_small",
    "network.widths=[32,64]", "trainer.warmup=50", "trainer.optimizer.lr=1e-3"]' --dataset.repo_id=own/log \
    --dataset.root="$OUT/lerobot" --output_dir="$OUT/theirs" --steps=100 --batch_size=16 --num_workers=0
  $PYTHON -c "import sys, isd_policy; print(isd_policy.load(sys.argv[1]).act({'state': [0.5, -0.5]})[0])" "$OUT/theirs"
  [ -d "$OUT/converted" ] || $PYTHON -m isd_policy.deploy.pretrained checkpoint="$OUT/policy.isd" out="$OUT/converted"
  PYTHONPATH="$SITE" "$ISD_LEROBOT_PYTHON" - "$OUT/converted" <<'PY'
import sys
import torch
from lerobot_policy_isd.modeling_isd import ISDPolicy

print(ISDPolicy.from_pretrained(sys.argv[1]).select_action({"observation.state": torch.tensor([[0.5, -0.5]])}))
PY
else
  step "LeRobot's own commands: left out, since ISD_LEROBOT_PYTHON names no interpreter or there is no LeRobot data set"
fi

if has robosuite; then
  step "States of robosuite: observations of them, and a policy that the simulator judges"
  [ -f "$OUT/lift.hdf5" ] || $PYTHON -m isd_envs.demos task=lift episodes=20 workers=2 seed=0 out="$OUT/lift.hdf5"
  [ -f "$OUT/states.hdf5" ] || $PYTHON - "$OUT/lift.hdf5" "$OUT/states.hdf5" <<'PY'
import shutil
import sys
import h5py

shutil.copyfile(sys.argv[1], sys.argv[2])
with h5py.File(sys.argv[2], "r+") as file:
    for demo in file["data"].values():
        for key in ("obs", "next_obs", "rewards", "dones"):
            del demo[key]
PY
  [ -f "$OUT/low_dim.hdf5" ] || $PYTHON -m isd_envs.observe data="$OUT/states.hdf5" out="$OUT/low_dim.hdf5" workers=2
  $PYTHON -m isd_policy.train task=lift data="$OUT/low_dim.hdf5" "${SMALL[@]}" run_dir="$OUT/observed"
  $PYTHON -m isd_policy.evaluate checkpoint="$OUT/observed" nfe=1 episodes=20 workers=2
fi

step "Done"
echo "Written: $OUT. Next: docs/lerobot.md, docs/extending.md"
