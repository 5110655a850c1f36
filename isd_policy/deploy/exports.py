"""An export: one folder with a policy's sampler as graphs that need none of the policy's code.

    policy.export/
        export.json  policy.onnx  program.pt2

`export.json` is the bundle's card with the graphs' settings, their parity with the policy, and the SHA-256 of all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isd_core.support.errors import InputError
from isd_core.training.checkpoint import Checkpoint
from isd_policy.acting import Inputs, PolicyBackend, check_initial_noise
from isd_policy.build import schema_of
from isd_policy.deploy import sealed
from isd_policy.horizons import Horizons
from isd_policy.observations import ObservationSchema

FORMAT = 2
CARD = "export.json"
ONNX, PROGRAM = "policy.onnx", "program.pt2"
NOISE, ACTIONS = "noise", "actions"
KEYS = ("kind", "config", "step", "seed", "initial_noise", "horizons", "graph")


@dataclass(frozen=True)
class Export(Checkpoint):
    """An export's folder and its card (`meta`), in which `graph` holds nfe, batch (None for any), the network's action
    size and the largest difference from the policy.
    """

    def file(self, name: str) -> Path:
        """The path of one of its files, checked against the recorded hash; `InputError` if damaged or not there."""
        return sealed.check(self.path, name, self.meta["sha256"])


def find(path: str | Path) -> Path | None:
    """The export that `path` stands for, itself or a file in it; None when there is none."""
    path = Path(path)
    folder = path.parent if path.is_file() else path
    return folder if (folder / CARD).is_file() else None


def write(folder: Path, card: Mapping[str, Any], fill: sealed.Fill) -> Path:
    """Writes an export of the files that `fill` makes, whose `graph` it returns. `InputError` when `folder` exists."""
    return sealed.write(folder, CARD, {"format": FORMAT, **card}, fill)


def read(path: str | Path) -> Export:
    """Opens an export. Raises `InputError` when there is none, when it is damaged, and for another format."""
    folder = find(path)
    if folder is None:
        raise InputError(
            f"There is no export at {path}: expected a folder with {CARD}. isd_policy.deploy.export makes one."
        )
    return Export(folder, sealed.read(folder, CARD, FORMAT, "export", KEYS))


def session_of(file: Path, threads: int) -> Any:
    """ONNX Runtime's session of a graph, on the processor; `InputError` without the package.

    Its threads do not spin while they wait, because the control loop shares the cores.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"An ONNX policy needs onnxruntime ({error}): pip install 'isd-flow[export]'.") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


class OnnxPolicy(PolicyBackend):
    """A policy computed by ONNX Runtime on the processor, with the graph's number of network calls.

    file: the graph, for any number of rows or, with `batch`, for so many; threads: of the network, None takes torch's
    number. Raises `InputError` without the package onnxruntime.
    """

    def __init__(
        self,
        file: Path,
        schema: ObservationSchema,
        horizons: Horizons,
        action_size: int,
        nfe: int,
        batch: int | None = None,
        initial_noise: str = "gaussian",
        threads: int | None = None,
    ) -> None:
        self.session = session_of(file, torch.get_num_threads() if threads is None else threads)
        self.schema, self.horizons, self.nfe, self.initial_noise = (
            schema,
            horizons,
            nfe,
            check_initial_noise(initial_noise),
        )
        self.batch, self._action_size = batch, action_size
        self.reset()

    @classmethod
    def open(cls, export: Export, threads: int | None = None) -> OnnxPolicy:
        """The policy of an export; `InputError` where it has no ONNX file or a damaged one."""
        card, graph = export.meta, export.meta["graph"]
        return cls(
            export.file(ONNX),
            schema_of(export.config),
            Horizons(**card["horizons"]),
            graph["action_size"],
            graph["nfe"],
            graph["batch"],
            card["initial_noise"],
            threads,
        )

    @property
    def action_size(self) -> int:
        return self._action_size

    def use(self, nfe: int | None = None, initial_noise: str | None = None) -> None:
        if nfe not in (None, self.nfe):
            raise InputError(f"nfe={nfe}: this export has {self.nfe}; export the bundle again with nfe={nfe}.")
        super().use(nfe, initial_noise)

    def infer(self, inputs: Inputs, nfe: int | None = None) -> np.ndarray:
        self.use(nfe)
        rows = len(inputs.noise)
        size = rows if self.batch is None else self.batch
        return np.concatenate([self._run(inputs, slice(i, i + size)) for i in range(0, rows, size)])

    def _run(self, inputs: Inputs, rows: slice) -> np.ndarray:
        """Some rows; a graph of a fixed batch gets copies of the last one as well."""
        feed = {key: value[rows] for key, value in (*inputs.obs.items(), (NOISE, inputs.noise))}
        count = len(feed[NOISE])
        if self.batch is not None and count < self.batch:
            feed = {key: np.concatenate([v, np.repeat(v[-1:], self.batch - count, axis=0)]) for key, v in feed.items()}
        actions: np.ndarray = self.session.run(None, feed)[0][:count]
        return actions
