"""What holds for every test: few threads, no network, and a header that names the versions."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDS = {"sim": "robosuite", "robomimic": "robomimic"}


def pytest_report_header() -> str:
    """The versions that decide results, one line above the tests."""
    names = ("torch", "numpy", "mujoco", "robosuite", "robomimic", "gymnasium")
    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions() if d.metadata["Name"]}
    return "versions: " + ", ".join(f"{name} {found.get(name, 'absent')}" for name in names)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need an extra are skipped where it is not installed."""
    absent = {marker for marker, package in NEEDS.items() if util.find_spec(package) is None}
    for item in items:
        for marker in absent & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.skip(reason=f"needs the extra [{marker}]"))


@pytest.fixture(scope="session")
def processes():
    """processes(program, folder, count, *words): runs a program `count` times at once, with torchrun's variables."""

    def run(program: str, folder: Path, count: int, *words: str) -> None:
        (folder / "program.py").write_text(program)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(count)}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        command = [sys.executable, "program.py", *words]
        started = [
            subprocess.Popen(command, cwd=folder, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(count)
        ]
        assert [process.wait(300) for process in started] == [0] * count

    return run


@pytest.fixture
def global_state():
    """global_state(): what a call of the library leaves as it was, as one comparable value."""
    import random
    import signal

    import numpy as np
    import torch

    def state() -> dict[str, Any]:
        matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
        return {
            "torch's random numbers": torch.get_rng_state().numpy().tobytes(),
            "NumPy's random numbers": repr(np.random.get_state(legacy=False)),
            "Python's random numbers": random.getstate(),
            "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
            "TF32": (matrices.allow_tf32, convolutions.allow_tf32, torch.get_float32_matmul_precision()),
            "TF32 by its newer names": (matrices.fp32_precision, convolutions.conv.fp32_precision),
            "signal handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
            "default dtype and device": (torch.get_default_dtype(), torch.get_default_device()),
            "gradients": (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")),
        }

    return state


@pytest.fixture
def assert_derivative_compiles():
    """assert_derivative_compiles(net, derivative, x, t, s, cond): a loss with a network's derivative in it, compiled in
    one graph with its backward pass, has the eager loss and the eager gradient of every parameter."""
    import torch

    def check(net: Any, derivative: Any, x: Any, t: Any, s: Any, cond: Any) -> None:
        def step(x, t, s, cond):
            change = derivative.along(net, x, t, s, cond, dx=torch.ones_like(x), dt=1.0)
            return (net(x, t, s, cond) - change.detach()).square().mean()

        def loss_and_gradients(step):
            net.zero_grad()
            loss = step(x, t, s, cond)
            loss.backward()
            return loss.detach(), [p.grad.clone() for p in net.parameters()]

        torch._dynamo.reset()
        compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(loss_and_gradients(compiled), loss_and_gradients(step), atol=1e-4, rtol=1e-3)

    return check
