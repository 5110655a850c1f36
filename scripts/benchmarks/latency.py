"""The latency of a policy call: backends, network calls and precisions, against diffusion of the same network.

    python scripts/benchmark_latency.py                               (the 4M and the 66M U-Net, about 20 minutes)
    python scripts/benchmark_latency.py --networks unet1d --seconds 1
    python scripts/benchmark_latency.py --device cuda                 (compiled with CUDA graphs)

One row, random weights, the whole call: history of observations in, actions out. Every cell is measured in three runs,
one method after the other, each beside a reference matrix product of 512 x 512; a cell shows its best run. Diffusion
steps the same network in the same backend, with diffusers' schedulers. Writes `latency.json` and `latency.md`.
"""

from __future__ import annotations

import argparse
import copy
import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from isd_core.network import Cond, VelocityNet
from isd_core.paths import Linear
from isd_core.sampling import Sampler
from isd_core.support.cli import compose_config, resolved
from isd_core.support.files import atomic_write, write_json
from isd_core.support.progress import Progress
from isd_core.training import checkpoint
from isd_envs.spec import EnvSpec
from isd_policy.backend import Call, Inputs, PolicyBackend
from isd_policy.build import HEAD, build_policy
from isd_policy.deploy.export import graphs, int8
from isd_policy.deploy.export.onnx_policy import OnnxPolicy
from isd_policy.deploy.export.sessions import BFLOAT16, session_of
from isd_policy.latency import percentiles
from isd_policy.normaliser import MinMax
from isd_policy.objectives import DiffusionSampler
from isd_policy.policy import Normaliser, Policy
from scripts.support import command
from scripts.support.command import machine

OBSERVATIONS = {"object": 10, "robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}
ACTION = 7
FEW = (1, 2, 4)
CANDIDATES = 8
RUNS = 3
MOST_CALLS, FEWEST_CALLS = 400, 3
WARM_UP = 2
TARGETS_MS = {"unet1d": 5.0, "unet1d_published": 25.0}
"""p99 of a call with one network evaluation in the best backend."""


@dataclass(frozen=True)
class Method:
    """A cell of the table: what is called, and what it is called."""

    backend: str
    name: str
    call: Callable[[], Any]


def policy_of(network: str, device: str) -> Policy:
    """A policy of Lift's sizes with random weights."""
    config = resolved(compose_config("policy_train", ["data=none", f"network={network}"]))
    config["schema"] = {
        "observations": {key: [size] for key, size in OBSERVATIONS.items()},
        "action": ACTION,
        "constant": [],
        "env_args": EnvSpec("lift").env_args,
    }
    sizes = sum(OBSERVATIONS.values()), ACTION
    observation, action = (MinMax(-torch.ones(size), torch.ones(size)) for size in sizes)
    return build_policy(config, Normaliser(observation, action)).eval().to(device)


class Step(nn.Module):
    """One call of a policy's network, as a module to compile or export."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, t: Tensor, s: Tensor, obs: Tensor) -> Tensor:
        """x: [1, T, Da]; t, s: [1]; obs: [1, C] -> F like x."""
        return self.net(x, t, s, {"obs": obs})


def inputs_of(policy: PolicyBackend) -> Inputs:
    """One row."""
    row = {key: values[0] for key, values in policy.schema.zeros(1).items()}
    return policy.preprocess([Call([row] * policy.horizons.observation, (0,))])


def step_example(policy: Policy) -> tuple[Tensor, ...]:
    """Inputs of one network call."""
    obs, noise = graphs.example(policy, 1)
    one = torch.ones(1, device=policy.device)
    return noise, one, one, policy.condition(obs)["obs"]


def few_steps(policy: Policy, forward: Callable[[dict[str, Tensor], Tensor], Tensor]) -> Callable[[], np.ndarray]:
    """A call of a whole sampler."""
    inputs = inputs_of(policy)

    @torch.inference_mode()
    def call() -> np.ndarray:
        obs = {key: torch.from_numpy(value).to(policy.device) for key, value in inputs.obs.items()}
        return forward(obs, torch.from_numpy(inputs.noise).to(policy.device)).cpu().numpy()

    return call


def sampled(policy: Policy, sampler: Sampler, steps: int, net: VelocityNet) -> Callable[[], np.ndarray]:
    """A call of `steps` steps of a sampler with `net` in place of the policy's network, the rest in torch as it is."""

    def forward(obs: dict[str, Tensor], noise: Tensor) -> Tensor:
        chunk = sampler(net, noise, steps, policy.condition(obs))[:, policy.horizons.ahead]
        return policy.robot_actions(chunk)

    return few_steps(policy, forward)


def with_diffusion(policy: Policy, backend: str, net: VelocityNet) -> Iterator[Method]:
    """Diffusion in 100 and in 10 steps, of one network."""
    for name, kind, steps in (("DDPM-100", "ddpm", 100), ("DDIM-10", "ddim", 10)):
        sampler = DiffusionSampler(Linear(), kind)
        yield Method(backend, name, sampled(policy, sampler, steps, net))


def eager(policy: Policy) -> Iterator[Method]:
    """torch as it is."""
    for nfe in FEW:
        yield Method("eager", f"{nfe} NFE", few_steps(policy, lambda obs, noise, n=nfe: policy.plan(obs, noise, n)))  # type: ignore[misc]
    several = copy.copy(policy)
    several.use(1, candidates=CANDIDATES)
    rows = inputs_of(several)
    yield Method("eager", f"1 NFE, {CANDIDATES} candidates", lambda: several.infer(rows))
    yield from with_diffusion(policy, "eager", policy.net)


def compiled(policy: Policy) -> Iterator[Method]:
    """torch.compile of the network; on a GPU with CUDA graphs."""
    mode = "reduce-overhead" if policy.device.type == "cuda" else "default"
    step = torch.compile(Step(policy.net), mode=mode, dynamic=False, fullgraph=True)

    def net(x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        return step(x, t, s, cond["obs"]).clone()  # a CUDA graph writes the next answer into the same place

    for nfe in FEW:
        yield Method("compiled", f"{nfe} NFE", sampled(policy, policy.sampler, nfe, net))
    yield from with_diffusion(policy, "compiled", net)


def exported(policy: Policy) -> Iterator[Method]:
    """torch.export programs."""
    for nfe in FEW:
        yield Method("exported", f"{nfe} NFE", few_steps(policy, graphs.trace(policy, nfe, 1).module()))
    with torch.no_grad():
        step = torch.export.export(Step(policy.net), step_example(policy)).module()
    yield from with_diffusion(policy, "exported", lambda x, t, s, cond: step(x, t, s, cond["obs"]))


def onnx(policy: Policy, folder: Path, threads: int, precision: str = "float32") -> Iterator[Method]:
    """ONNX Runtime on the processor; OpenVINO for products of bfloat16 numbers."""
    backend = "openvino" if precision == BFLOAT16 else "onnxruntime"
    backend += "" if precision == "float32" else f", {precision}"
    inputs = inputs_of(policy)
    for nfe in FEW:
        file = folder / f"{precision}_{nfe}.onnx"
        graphs.write_onnx(graphs.trace(policy, nfe, 1), file)
        if precision == "int8":
            int8.quantise(file)
        runtime = OnnxPolicy.of(policy, file, nfe, batch=1, threads=threads, precision=precision)
        yield Method(backend, f"{nfe} NFE", lambda runtime=runtime: runtime.infer(inputs))  # type: ignore[misc]
    if precision == "float32":
        graphs.write_onnx(graphs.trace(policy, 1, CANDIDATES), file := folder / "candidates.onnx")
        several = OnnxPolicy.of(policy, file, 1, CANDIDATES, threads)
        several.use(candidates=CANDIDATES)
        rows = inputs_of(several)
        yield Method(backend, f"1 NFE, {CANDIDATES} candidates", lambda: several.infer(rows))
    yield from with_diffusion(policy, backend, onnx_step(policy, folder / f"{precision}_step.onnx", threads, precision))


def onnx_step(policy: Policy, file: Path, threads: int, precision: str) -> VelocityNet:
    """One network call of a graph."""
    names = ("x", "t", "s", "obs")
    with torch.no_grad():
        graphs.write_onnx(torch.export.export(Step(policy.net), step_example(policy)), file, names)
    if precision == "int8":
        int8.quantise(file)
    session = session_of(file, threads, precision)

    def net(x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        values = (value.contiguous().numpy() for value in (x, t, s, cond["obs"]))
        return torch.from_numpy(session.run(None, dict(zip(names, values, strict=True)))[0])

    return net


def bfloat16(policy: Policy) -> Iterator[Method]:
    """torch with products of 16-bit numbers."""

    def forward(obs: dict[str, Tensor], noise: Tensor) -> Tensor:
        with torch.autocast(policy.device.type, torch.bfloat16):
            return policy.plan(obs, noise, 1).float()

    yield Method("eager, bfloat16", "1 NFE", few_steps(policy, forward))


def methods_of(policy: Policy, folder: Path, threads: int) -> Iterator[Method]:
    """All cells of a network."""
    yield from eager(policy)
    yield from bfloat16(policy)
    yield from compiled(policy)
    yield from exported(policy)
    if policy.device.type == "cpu":
        yield from onnx(policy, folder, threads)
        yield from onnx(policy, folder, threads, "int8")
        if find_spec("openvino") is not None:
            yield from onnx(policy, folder, threads, BFLOAT16)


def timed(call: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Percentiles (ms) of as many calls as go into `seconds`."""
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < FEWEST_CALLS or (time.perf_counter() < end and len(taken) < MOST_CALLS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    found = percentiles(taken)
    assert found is not None
    return found


def measure(methods: Sequence[Method], seconds: float, label: str = "latency") -> list[dict[str, Any]]:
    """Three runs over all methods, each cell beside a reference product; rows with every run and their best."""
    a = torch.rand(512, 512)
    for method in methods:
        for _ in range(WARM_UP):
            method.call()
    rows: list[dict[str, Any]] = [{"backend": m.backend, "method": m.name, "runs": []} for m in methods]
    gc.collect()
    gc.disable()
    try:
        with Progress(RUNS * len(methods), label, "cell") as bar:
            for method, row in RUNS * list(zip(methods, rows, strict=True)):
                reference, found = timed(lambda: a @ a, min(seconds, 0.2)), timed(method.call, seconds)
                row["runs"].append({"p50": found["p50"], "p99": found["p99"], "reference_ms": reference["p50"]})
                bar.update(1, backend=method.backend, method=method.name)
    finally:
        gc.enable()
    for row in rows:
        row |= {key: min(run[key] for run in row["runs"]) for key in ("p50", "p99", "reference_ms")}
    return rows


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """backend -> how much slower 100-step diffusion is than one network call: the median over the runs."""
    cells = {(row["backend"], row["method"]): row for row in rows}
    found = {}
    for backend, method in cells:
        if method == "DDPM-100":
            pairs = zip(cells[backend, method]["runs"], cells[backend, "1 NFE"]["runs"], strict=True)
            found[backend] = float(np.median([slow["p50"] / fast["p50"] for slow, fast in pairs]))
    return found


def benchmark(network: str, device: str, threads: int, seconds: float) -> dict[str, Any]:
    """The rows of one network."""
    policy = policy_of(network, device)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = measure(list(methods_of(policy, Path(folder), threads)), seconds, network)
    return {
        "parameters": sum(parameter.numel() for parameter in policy.net.parameters()),
        "rows": rows,
        "ratios": ratios(rows),
    }


def markdown(content: Mapping[str, Any]) -> str:
    """Tables for a document."""
    parts = []
    for name, result in content["networks"].items():
        lines = [
            f"`network={name}`, {result['parameters'] / 1e6:.1f}M parameters:",
            "",
            "| backend | method | p50 ms | p99 ms | reference ms |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['backend']} | {row['method']} | {row['p50']:.2f} | {row['p99']:.2f} | {row['reference_ms']:.2f} |"
            for row in result["rows"]
        ]
        slower = ", ".join(f"{backend} {ratio:.0f} times" for backend, ratio in result["ratios"].items())
        lines += ["", f"100-step diffusion against one network call: {slower} slower."]
        best = min((row["p99"], row["backend"]) for row in result["rows"] if row["method"] == "1 NFE")
        target = TARGETS_MS.get(name)
        lines += [f"Best p99 at 1 NFE: {best[0]:.2f} ms ({best[1]})" + (f"; target {target:g} ms." if target else ".")]
        parts.append("\n".join(lines))
    made = content["machine"]
    parts.append(
        f"One row, {content['threads']} thread(s), {content['device']}, {made['processor']} ({made['cores']} cores), "
        f"torch {content['versions']['torch']}; the best of {RUNS} runs, beside a product of 512 x 512 matrices."
    )
    return "\n\n".join(parts) + "\n"


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark_latency.py", description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["unet1d", "unet1d_published"], help="config group `network`")
    parser.add_argument("--threads", type=int, default=1, help="of the network on the processor")
    parser.add_argument("--device", default="cpu", help="cpu | cuda")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a cell in a run")
    parser.add_argument("--out", type=Path, default=Path("runs/latency"), help="the folder of the results")
    return parser


def run(given: argparse.Namespace) -> int:
    """Measures what the flags ask for, prints the table and writes it; returns the exit code."""
    torch.set_num_threads(given.threads)
    networks = {name: benchmark(name, given.device, given.threads, given.seconds) for name in given.networks}
    content = {
        "threads": given.threads,
        "device": given.device,
        "seconds": given.seconds,
        "machine": machine(),
        "versions": checkpoint.provenance(HEAD.packages)["versions"],
        "networks": networks,
    }
    write_json(given.out / "latency.json", content)
    with atomic_write(given.out / "latency.md") as temporary:
        temporary.write_text(markdown(content))
    print(markdown(content))
    print(f"Written: {given.out}/latency.json, latency.md.")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    return command.run(run, flags(), arguments)
