"""Writes exports, and only those whose actions are the policy's."""

from __future__ import annotations

from pathlib import Path

from isd_policy.deploy.bundle.folder import Bundle
from isd_policy.deploy.export import graphs, int8
from isd_policy.deploy.export.folder import MANIFEST, ONNX, PROGRAM, Export, read
from isd_policy.deploy.export.onnx_policy import OnnxPolicy
from isd_policy.deploy.export.parity import Graph, largest_differences, program_graph
from isd_policy.deploy.export.sessions import BFLOAT16
from isd_policy.loading import load_policy

OBSERVATIONS = 1000
TOLERANCES = {"float32": 1e-4, BFLOAT16: 0.2, "int8": 0.2}
"""Largest difference from the policy, in half ranges of the actions: rounding explains it, to 24 bits or to 8."""


def write_export(bundle: Bundle, out: Path, nfe: int, batch: int | None, formats: list[str], precision: str) -> Export:
    """Writes a bundle's sampler in the given formats, with weights of the given precision.

    batch: the number of rows, None for any. Raises `InputError` for an `nfe` that the sampler cannot make, and
    `RuntimeError` where a graph differs from the policy by more than `TOLERANCES` allows.
    """
    policy = load_policy(bundle)
    policy.check_nfe(nfe)

    def fill(folder: Path) -> dict[str, object]:
        program = graphs.trace(policy, nfe, batch)
        written: dict[str, Graph] = {}
        if "onnx" in formats:
            graphs.write_onnx(program, file := folder / ONNX)
            if precision == "int8":
                int8.quantise(file)
            written["onnx"] = OnnxPolicy.of(policy, file, nfe, batch, precision=precision).infer
        if "program" in formats:
            graphs.write_program(program, file := folder / PROGRAM)
            written["program"] = program_graph(file, batch)
        difference = largest_differences(policy, written, nfe, OBSERVATIONS)
        if (worst := max(difference.values())) > TOLERANCES[precision]:
            raise RuntimeError(f"The graphs differ from the policy by {worst:.1e} half ranges; nothing is written.")
        settings = {"nfe": nfe, "batch": batch, "precision": precision, "action_size": policy.action_size}
        return {"graph": settings | {"difference": difference}}

    return read(MANIFEST.write(out, {**bundle.meta, "nfe": nfe}, fill))
