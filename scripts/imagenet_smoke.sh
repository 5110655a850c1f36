#!/usr/bin/env bash
# The ImageNet path end to end: raw images -> latent cache -> B/4 in several processes -> kill -> resume -> samples ->
# Fréchet distance. The defaults take a thousand images and about ten minutes on 2 cores; with other values it is the
# real run (docs/imagenet.md).
# Usage: IMAGES=... CODEC_SOURCE=... bash scripts/imagenet_smoke.sh
#   IMAGES         a folder with one folder of images a class, tar files, or a zip of <class>_<name>.jpg files
#   CODEC          codec config (default taef2), CODEC_SOURCE its weights (a folder, a file, or a hub name)
#   OUT            where everything goes (default runs/imagenet_smoke); an unfinished part is continued
#   SIZE           side of the crop in pixels (default 256)      MIRROR    encode mirrors too (default false)
#   SHARD          images a cache shard (default 100; 2048 for a million images)
#   RECIPE         training recipe (default isd_b4)              EXTRA     further overrides of the training
#   STEPS          optimiser steps (default 6)                   BATCH     samples a step (default 8)
#   EVERY          steps between checkpoints (default 3)         PROCESSES of the cache and the training (default 2)
#   KILL           1: kill the training after its first checkpoint, resume it, and compare with a run that was never
#                  killed (default); 0: train once
#   SAMPLES        images to evaluate (default 64)               EXTRACTOR overrides of the evaluation's extractor
#   WEIGHTS        ema | model: the weights to sample with (default model; ema for real runs)
#   PRECISION      of codec and training: float32 (default) | bfloat16 (for GPUs; many CPUs compute it slowly)
#   PYTHON         interpreter (default .venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

: "${IMAGES:?set IMAGES to a folder with one folder of images a class, to tar files, or to a zip (see the head of this script)}"
: "${CODEC:=taef2}" "${CODEC_SOURCE:=}" "${OUT:=runs/imagenet_smoke}" "${SIZE:=256}" "${MIRROR:=false}" "${SHARD:=100}"
: "${RECIPE:=isd_b4}" "${STEPS:=6}" "${BATCH:=8}" "${EVERY:=3}" "${PROCESSES:=2}" "${KILL:=1}" "${EXTRA:=}"
: "${SAMPLES:=64}" "${EXTRACTOR:=extractor=pixels extractor.side=8}" "${WEIGHTS:=model}" "${PRECISION:=float32}"
: "${PYTHON:=.venv/bin/python}"
export PYTHONPATH="$PWD" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

step() { echo; echo "== $* [${SECONDS} s]"; }
descendants() { local child; for child in $(pgrep -P "$1"); do echo "$child"; descendants "$child"; done; }
codec=("codec=$CODEC")
[ -z "$CODEC_SOURCE" ] || codec+=("codec.source=$CODEC_SOURCE")
mkdir -p "$OUT"

images="$IMAGES"
if [[ "$IMAGES" == *.zip ]]; then
    step "unpack into class folders"
    images="$OUT/images"
    [ -d "$images" ] || "$PYTHON" -m scripts.setup.class_folders "$IMAGES" "$images"
fi

step "cache: $images at $SIZE pixels by $CODEC"
# Without these two glibc maps and unmaps every activation: on a CPU a third of the encoding were page faults
MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=4294967296 "$PYTHON" -m isd_image.cache "images=$images" "out=$OUT/cache" \
    "${codec[@]}" "size=$SIZE" "mirror=$MIRROR" "precision=$PRECISION" "shard_size=$SHARD" batch_size=10 \
    "processes=$PROCESSES"

read -r channels factor classes < <("$PYTHON" - "$OUT/cache/cache.json" <<'END'
import json, sys
index = json.load(open(sys.argv[1]))
print(index["codec"]["channels"], index["codec"]["factor"], index["classes"])
END
)

train() { # train <run_dir>
    # shellcheck disable=SC2086
    "$PYTHON" -m torch.distributed.run --standalone "--nproc-per-node=$PROCESSES" -m isd_image.train \
        "recipe=$RECIPE" "${codec[@]}" "data.source.root=$OUT/cache" "data.channels=$channels" \
        "data.size=$((SIZE / factor))" "data.classes=$classes" "trainer.steps=$STEPS" "trainer.batch_size=$BATCH" \
        "trainer.precision=$PRECISION" "trainer.checkpoint_every=$EVERY" trainer.log_every=1 trainer.keep_checkpoints=1 \
        grids=null "run_dir=$1" $EXTRA
}

if [ "$KILL" = 1 ]; then
    step "train in $PROCESSES processes, killed after the first checkpoint"
    train "$OUT/run" &
    job=$!
    while kill -0 "$job" 2>/dev/null && ! compgen -G "$OUT/run/checkpoints/step_*/meta.json" >/dev/null; do sleep 1; done
    # torchrun starts its processes in sessions of their own: all of them have to be named
    kill -KILL "$job" $(descendants "$job") 2>/dev/null && echo "killed after $(ls "$OUT/run/checkpoints")" || true
    wait "$job" 2>/dev/null || true
    step "resume by the same command"
    train "$OUT/run"
    step "the same training, never killed"
    train "$OUT/uninterrupted"
    step "compare the two loss curves"
    "$PYTHON" - "$OUT/run/log.jsonl" "$OUT/uninterrupted/log.jsonl" <<'END'
import json, sys
killed, whole = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
assert [r["step"] for r in killed] == [r["step"] for r in whole], "the runs have logged different steps"
names = ("loss", "flow", "residual", "grad_norm")  # an adaptive weight keeps the loss near 1: its terms tell more
worst = max(abs(a[name] - b[name]) / abs(b[name]) for a, b in zip(killed, whole) for name in names)
for a, b in zip(killed, whole):
    print(f"step {a['step']}: flow {a['flow']:.6f} killed and resumed, {b['flow']:.6f} uninterrupted")
print(f"largest relative difference {worst:.1e}")
assert worst < 1e-5, "the resumed run is not the uninterrupted one"
END
else
    step "train in $PROCESSES processes"
    train "$OUT/run"
fi

step "samples"
"$PYTHON" -m isd_image.sample "checkpoint=$OUT/run" "nfe=[1,2]" count=20 scale=1 batch_size=10 "weights=$WEIGHTS" \
    "out=$OUT/samples.png"

step "reference statistics and Fréchet distance"
# shellcheck disable=SC2086
"$PYTHON" -m isd_image.reference "images=$images" "out=$OUT/reference.npz" "size=$SIZE" $EXTRACTOR
# shellcheck disable=SC2086
"$PYTHON" -m isd_image.evaluate "checkpoint=$OUT/run" "reference=$OUT/reference.npz" "nfe=[1,2]" "count=$SAMPLES" \
    batch_size=16 "processes=$PROCESSES" "weights=$WEIGHTS" $EXTRACTOR "out=$OUT/evaluation.json"

step "done: $OUT"
