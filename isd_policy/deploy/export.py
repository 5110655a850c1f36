"""`python -m isd_policy.deploy.export`: a bundle's sampler as an ONNX file and as a program of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from isd_core.sampling import check_nfe
from isd_core.support import seeds
from isd_core.support.cli import command, resolved
from isd_core.support.errors import InputError
from isd_policy.acting import Inputs
from isd_policy.deploy import bundles, exports, graphs, int8
from isd_policy.loading import load_policy
from isd_policy.normaliser import CONSTANT_RANGE
from isd_policy.policy import Policy
from isd_policy.validation import check_whole

OBSERVATIONS = 1000
TOLERANCES = {"float32": 1e-4, "int8": 0.2}
"""Largest difference from the policy, in half ranges of the actions: rounding explains the first, bytes the second."""
PART = 50
"""Rows of one call of the comparison."""

Graph = Callable[[Inputs], np.ndarray]


def random_inputs(policy: Policy, count: int, seed: int = 0) -> Inputs:
    """Observations over and beyond the range of the training data, and noise."""
    rng = seeds.numpy_rng(seed, "parity")
    scale = policy.normaliser.observation
    middle, half = ((scale.high + scale.low) / 2).cpu().numpy(), scale.half_range.cpu().numpy()
    lead = (count, policy.horizons.observation)
    state = (middle + half * rng.uniform(-1.5, 1.5, (*lead, len(middle)))).astype(np.float32)
    obs = {}
    for key, shape in policy.schema.shapes.items():
        if key in policy.schema.pictures:
            obs[key] = rng.integers(256, size=(*lead, *shape), dtype=np.uint8)
        else:
            obs[key], state = state[..., : shape[0]], state[..., shape[0] :]
    noise = rng.standard_normal((count, policy.horizons.prediction, policy.action_size)).astype(np.float32)
    return Inputs({key: np.ascontiguousarray(value) for key, value in obs.items()}, noise)


def largest_differences(policy: Policy, graphs: Mapping[str, Graph], nfe: int, count: int) -> dict[str, float]:
    """Of each graph's actions from the policy's over `count` random observations, in half ranges of the actions."""
    inputs = random_inputs(policy, count)
    low, high = policy.actions.bounds(policy.normaliser.action.low.cpu(), policy.normaliser.action.high.cpu())
    unit = np.maximum(((high - low) / 2).numpy(), CONSTANT_RANGE)
    worst = dict.fromkeys(graphs, 0.0)
    for i in range(0, count, PART):
        part = Inputs({key: value[i : i + PART] for key, value in inputs.obs.items()}, inputs.noise[i : i + PART])
        expected = policy.infer(part, nfe)
        for name, graph in graphs.items():
            worst[name] = max(worst[name], float((np.abs(graph(part) - expected) / unit).max()))
    return worst


def program_graph(path: Path, batch: int | None) -> Graph:
    """A written program as a function of any number of rows."""
    module = torch.export.load(path).module()

    def call(inputs: Inputs) -> np.ndarray:
        rows = len(inputs.noise)
        size = rows if batch is None else batch
        parts = []
        with torch.inference_mode():
            for i in range(0, rows, size):
                obs = {key: torch.from_numpy(value[i : i + size]) for key, value in inputs.obs.items()}
                parts.append(module(obs, torch.from_numpy(inputs.noise[i : i + size])).numpy())
        return np.concatenate(parts)

    return call


def write_export(
    bundle: bundles.Bundle, out: Path, nfe: int, batch: int | None, formats: list[str], precision: str
) -> exports.Export:
    """Writes a bundle's sampler in the given formats, with weights of the given precision.

    batch: the number of rows, None for any. Raises `RuntimeError` where a graph differs from the policy by more than
    `TOLERANCES` allows.
    """
    policy = load_policy(bundle)

    def fill(folder: Path) -> dict[str, object]:
        program = graphs.trace(policy, nfe, batch)
        written: dict[str, Graph] = {}
        if "onnx" in formats:
            graphs.write_onnx(program, file := folder / exports.ONNX)
            if precision == "int8":
                int8.quantise(file)
            size = policy.action_size
            written["onnx"] = exports.OnnxPolicy(file, policy.schema, policy.horizons, size, nfe, batch).infer
        if "program" in formats:
            graphs.write_program(program, file := folder / exports.PROGRAM)
            written["program"] = program_graph(file, batch)
        difference = largest_differences(policy, written, nfe, OBSERVATIONS)
        if (worst := max(difference.values())) > TOLERANCES[precision]:
            raise RuntimeError(f"The graphs differ from the policy by {worst:.1e} half ranges; nothing is written.")
        settings = {"nfe": nfe, "batch": batch, "precision": precision, "action_size": policy.action_size}
        return {"graph": settings | {"difference": difference}}

    return exports.read(exports.write(out, {**bundle.meta, "nfe": nfe}, fill))


@command("deploy_export")
def main(cfg: DictConfig) -> None:
    """Writes a bundle's sampler (normalise, network calls, decode) as graphs, and compares them with the policy."""
    config = resolved(cfg)
    formats = config["formats"]
    if not formats or set(formats) - {"onnx", "program"}:
        raise InputError(f"formats={formats}: expected one or both of onnx and program, as [onnx,program].")
    precision = config["precision"]
    if precision not in TOLERANCES:
        raise InputError(f"precision={precision}: expected one of {', '.join(TOLERANCES)}.")
    if precision == "int8" and (formats != ["onnx"] or config["batch"] != 1):
        raise InputError(
            "precision=int8 needs formats=[onnx] and batch=1: the rows of a call would share their scales."
        )
    if config["batch"] is not None:
        check_whole(config, "batch")
    bundle = bundles.read(config["bundle"])
    nfe = check_nfe(bundle.meta["nfe"] if config["nfe"] is None else config["nfe"])
    export = write_export(bundle, Path(config["out"]), nfe, config["batch"], formats, precision)
    differences = export.meta["graph"]["difference"]
    print(
        f"{bundle.meta['task']}, {nfe} NFE, {precision}, "
        + ("any batch" if config["batch"] is None else f"batch {config['batch']}")
        + "; largest difference from the policy over "
        + f"{OBSERVATIONS} random observations, in half ranges of the actions: "
        + ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
        + f". Written: {export.path}. Next: python -m isd_policy.run checkpoint={export.path} rate=20 seconds=10"
    )


if __name__ == "__main__":
    main()
