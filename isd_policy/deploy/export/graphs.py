"""The whole few-step sampler as one graph: normalise, network calls, decode, with the noise as an input."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from isd_core.support.errors import InputError
from isd_policy.deploy.export.folder import ACTIONS, LENGTH, NOISE, PREFIX
from isd_policy.policy import Policy

LARGEST_BATCH = 1024


class SamplerGraph(nn.Module):
    """`Policy.plan` with a fixed number of network calls, as a module of its own."""

    def __init__(self, policy: Policy, nfe: int) -> None:
        super().__init__()
        self.policy, self.nfe = policy, policy.check_nfe(nfe)

    def forward(self, obs: Mapping[str, Tensor], noise: Tensor, *prefix: Tensor) -> Tensor:
        """obs: key -> [B, To, ...]; noise: [B, T, Da] -> [B, T - To + 1, robot's Da].

        prefix: given actions [B, most, robot's Da] and how many count [B], for a policy that was trained with a delay.
        """
        return self.policy.plan(obs, noise, self.nfe, prefix=(prefix[0], prefix[1]) if prefix else None)


def example(policy: Policy, batch: int) -> tuple[Any, ...]:
    """Inputs of the right shapes: zeros for the observations, the noise and the prefix, where there is one."""
    obs = policy.schema.zeros(batch, policy.horizons.observation)
    inputs = [torch.zeros(batch, policy.horizons.prediction, policy.action_size)]
    if policy.longest_prefix is not None:
        inputs += [torch.zeros(batch, policy.longest_prefix, policy.robot_action_size), torch.zeros(batch).long()]
    place = policy.device
    return {key: torch.from_numpy(value).to(place) for key, value in obs.items()}, *(i.to(place) for i in inputs)


def trace(policy: Policy, nfe: int, batch: int | None) -> ExportedProgram:
    """The sampler as a torch.export program for a fixed batch, or for any up to `LARGEST_BATCH` with None.

    Raises `InputError` where the sampler cannot be written as a graph, as those that draw noise on their way.
    """
    graph = SamplerGraph(policy, nfe).eval()
    inputs = example(policy, 2 if batch is None else batch)
    rows = None if batch is not None else {0: Dim("batch", min=1, max=LARGEST_BATCH)}
    obs, _, *prefix = inputs
    shapes = None if rows is None else (dict.fromkeys(obs, rows), rows, *([(rows,) * len(prefix)] if prefix else []))
    try:
        with torch.no_grad(), _quiet():
            return export(graph, inputs, dynamic_shapes=shapes)
    except Exception as error:  # the tracer's exceptions have no common class
        raise InputError(
            f"The sampler {type(policy.sampler).__name__} with nfe={nfe} cannot be exported as one graph: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. Flow-map, diagonal, regression and "
            "MIP samplers can."
        ) from error


def write_program(program: ExportedProgram, path: Path) -> None:
    """Writes a program for torch (`torch.export.load`), without the inputs that it was traced with."""
    program.example_inputs = None
    torch.export.save(program, path)


def write_onnx(program: ExportedProgram, path: Path, names: Sequence[str] = ()) -> None:
    """Writes a program as ONNX, weights inside. names: of its inputs; where there are none it is a sampler's, whose
    inputs are the observations' keys, `noise` and, with a delay, `prefix` and `prefix_length`. Output: `actions`.
    """
    try:
        import onnxscript  # noqa: F401 (torch's exporter is written in it)
    except ImportError as error:
        raise InputError(f"An ONNX file needs the extra [export] ({error}): pip install 'isd-flow[export]'.") from error
    given = program.example_inputs[0]
    inputs = names or [*given[0], *(NOISE, PREFIX, LENGTH)[: len(given) - 1]]
    with _quiet():
        converted = torch.onnx.export(program, input_names=inputs, output_names=[ACTIONS], verbose=False)
    assert converted is not None
    converted.save(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn of their own internals."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
