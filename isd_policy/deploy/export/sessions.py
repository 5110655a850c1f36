"""What computes an exported graph: ONNX Runtime, or OpenVINO where products shall be of bfloat16 numbers."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from isd_core.support.errors import InputError

BFLOAT16 = "bfloat16"
PRECISIONS = ("float32", BFLOAT16, "int8")


class Session(Protocol):
    """A graph in memory."""

    def run(self, names: None, feed: Mapping[str, np.ndarray]) -> Any:
        """All outputs, in order, of inputs by name."""


def session_of(file: Path, threads: int, precision: str = "float32") -> Session:
    """The session of a graph on the processor.

    Raises `InputError` for an unknown precision, and without the package or the instructions that it needs.
    """
    if precision not in PRECISIONS:
        raise InputError(f"{file}: the precision {str(precision)[:40]!r} is unknown; expected {', '.join(PRECISIONS)}.")
    return OpenVinoSession(file, threads) if precision == BFLOAT16 else onnx_session(file, threads)


def onnx_session(file: Path, threads: int) -> Session:
    """ONNX Runtime's. Its threads do not spin while they wait, because the control loop shares the cores."""
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"An ONNX policy needs onnxruntime ({error}): pip install 'isd-flow[export]'.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session: Session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session


class OpenVinoSession:
    """OpenVINO's, with products of bfloat16 numbers that are added up as float32.

    Its threads are not bound to cores, because the control loop shares them.
    """

    def __init__(self, file: Path, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            raise InputError(
                f"A policy exported with precision=bfloat16 needs openvino ({error}): pip install 'isd-flow[openvino]'."
            ) from error
        core = openvino.Core()
        if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError(
                "precision=bfloat16 needs a processor with bfloat16 instructions (AVX512-BF16 or AMX), which this one "
                "lacks: export the bundle with precision=float32 or int8."
            )
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(str(file), "CPU", settings).create_infer_request()
        self._turn = threading.Lock()  # a request holds one call's inputs and outputs

    def run(self, names: None, feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with self._turn:
            return [np.array(output) for output in self._request.infer(dict(feed)).to_tuple()]
