"""Speed and memory of image training: steps/s with exact derivatives and with differences, as a table and as JSON.

    python -m scripts.benchmark_image                                    (DiT-B/4, batch 4: about two minutes on a CPU)
    python -m scripts.benchmark_image --network tit_b4 dit_xl2 --batch 256 --precision bfloat16 --out gpu.json
    python -m scripts.benchmark_image --network in_context_xl1 --channels 32 --side 16 --checkpointing --batch 32
    python -m scripts.benchmark_image --loader CACHE                     (batches of a cache: from disk, from memory)

One optimiser step of iSD with Pre-CFG on random latents (4 x 32 x 32 by default); the first steps are not timed. Memory
is the most that the device held (CUDA), or the process's largest resident size, which later rows share (CPU).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from isd_core.support import files
from isd_core.support.cli import compose_config, resolved
from isd_core.support.device import pick_device
from isd_core.support.registry import build
from isd_core.training.batches import Shuffle
from isd_core.training.config import PRECISIONS
from isd_core.training.loss_module import LossModule
from isd_image.build import build_network
from isd_image.data import Cache, LabelledImages
from isd_image.data.shards import INDEX
from isd_image.model import ChannelNormaliser, ImageModel
from scripts.support import command

CLASSES = 1000


def measure(network: str, derivative: str, given: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds a step, and memory, of one combination."""
    batch, steps, precision = given.batch, given.steps, given.precision
    words = [f"network={network}", f"derivative={derivative}", "path=trigonometric", "weighting=adaptive", "run_dir=x"]
    words += [f"data.channels={given.channels}", f"data.size={given.side}", f"data.classes={CLASSES}", "trainer=image"]
    words += [f"network.checkpointing={given.checkpointing}"] if given.checkpointing else []
    config = resolved(compose_config("image_train", words))
    torch.manual_seed(0)
    latents = torch.randn(batch, given.channels, given.side, given.side)
    data = LabelledImages(latents, torch.arange(batch) % CLASSES, CLASSES, "random")
    model = ImageModel(build_network(config), ChannelNormaliser(*data.statistics()), data.draw).to(device)
    loss = LossModule(model, build("objective", config["objective"]), PRECISIONS[precision])
    if given.compile:
        loss.compile_step(reduce_overhead=False)
    optimizer = build("optimizer", config["trainer"]["optimizer"]).build(loss)
    rows = {key: value.to(device) for key, value in data.batch(torch.arange(batch)).items()}
    rng = torch.Generator(device).manual_seed(0)
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    times = []
    for step in range(steps + 2):
        started = time.perf_counter()
        loss(rows, rng, step).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    held = (
        torch.cuda.max_memory_allocated(device) if cuda else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    seconds = sorted(times[2:])[steps // 2]
    return {
        "network": network,
        "derivative": derivative,
        "batch": batch,
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps_per_second": 1 / seconds,
        "images_per_second": batch / seconds,
        "memory_gb": held / 1e9,
    }


def measure_loader(root: Path, batch: int, batches: int) -> None:
    """Prints the rate of shuffled batches of a cache, twice: the second time what was read is in memory."""
    index = files.read_json(root / INDEX)
    codec, size = index["codec"], index["size"] // index["codec"]["factor"]
    data = Cache(str(root), codec["name"], codec["factor"], size, mirror=False).split("train")
    order = Shuffle(len(data), batch, seed=0)
    for name in ("first time", "again"):
        started, held = time.perf_counter(), 0
        for step in range(batches):
            held += data.batch(order(step))["moments"].nbytes
        seconds = time.perf_counter() - started
        print(f"{name}: {batch * batches / seconds:.3g} images/s, {held / seconds / 1e9:.3g} GB/s")


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=["dit_b4"], help="network configs")
    parser.add_argument("--derivative", nargs="+", default=["jvp", "difference"], help="derivative configs")
    parser.add_argument("--batch", type=int, default=4, help="samples a step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps; the median counts")
    parser.add_argument("--channels", type=int, default=4, help="channels of a latent")
    parser.add_argument("--side", type=int, default=32, help="side of a latent")
    parser.add_argument("--checkpointing", action="store_true", help="recompute blocks in the backward pass")
    parser.add_argument("--compile", action="store_true", help="compile the step")
    parser.add_argument("--loader", type=Path, help="measure the batches of this cache instead")
    parser.add_argument("--precision", default="float32", choices=list(PRECISIONS), help="of the training")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it; returns the exit code."""
    if given.loader is not None:
        measure_loader(given.loader, given.batch, batches=50)
        return 0
    device = pick_device(given.device)
    rows = []
    print("| network | derivative | batch | steps/s | images/s | memory, GB |\n|---|---|---|---|---|---|")
    for network in given.network:
        for derivative in given.derivative:
            row = measure(network, derivative, given, device)
            rows.append(row)
            print(
                f"| {network} | {derivative} | {given.batch} | {row['steps_per_second']:.3g} "
                f"| {row['images_per_second']:.3g} | {row['memory_gb']:.3g} |",
                flush=True,
            )
    if given.out is not None:
        about = {"device": device.type, "threads": torch.get_num_threads(), "precision": given.precision}
        files.write_json(given.out, {"rows": rows, "machine": command.machine(), **about})
        print(f"Written: {given.out}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
