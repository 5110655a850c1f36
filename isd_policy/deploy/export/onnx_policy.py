"""A policy computed from an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from isd_core.support.errors import InputError
from isd_policy.backend import Inputs, PolicyBackend, Prefix, check_initial_noise
from isd_policy.build import schema_of
from isd_policy.deploy.export.folder import LENGTH, NOISE, ONNX, PREFIX, Export
from isd_policy.deploy.export.sessions import session_of
from isd_policy.horizons import Horizons
from isd_policy.observations import ObservationSchema
from isd_policy.policy import Policy


class OnnxPolicy(PolicyBackend):
    """A policy computed on the processor from an ONNX graph, with the graph's number of network calls.

    file: the graph, for any number of rows or, with `batch`, for so many; threads: of the network, None takes torch's
    number; precision: of its products, which decides what computes it (`session_of`); action_range and longest_prefix:
    see `PolicyBackend`. Raises `InputError` without the package that computes it.
    """

    def __init__(
        self,
        file: Path,
        schema: ObservationSchema,
        horizons: Horizons,
        action_size: int,
        action_range: tuple[np.ndarray, np.ndarray],
        nfe: int,
        batch: int | None = None,
        initial_noise: str = "gaussian",
        threads: int | None = None,
        training_range: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
        longest_prefix: int | None = None,
        precision: str = "float32",
    ) -> None:
        self.session = session_of(file, torch.get_num_threads() if threads is None else threads, precision)
        self.schema, self.horizons, self.nfe, self.initial_noise = (
            schema,
            horizons,
            nfe,
            check_initial_noise(initial_noise),
        )
        self.batch, self._action_size = batch, action_size
        self._training_range = {} if training_range is None else training_range
        self._action_range, self._longest_prefix = action_range, longest_prefix
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
            (np.asarray(card["actions"]["low"], np.float32), np.asarray(card["actions"]["high"], np.float32)),
            graph["nfe"],
            graph["batch"],
            card["initial_noise"],
            threads,
            {
                key: (np.asarray(about["low"], np.float32), np.asarray(about["high"], np.float32))
                for key, about in card["observations"].items()
                if "low" in about
            },
            card.get("longest_prefix"),  # not there in exports from before there were any
            graph["precision"],
        )

    @classmethod
    def of(
        cls,
        policy: Policy,
        file: Path,
        nfe: int,
        batch: int | None = None,
        threads: int | None = None,
        precision: str = "float32",
    ) -> OnnxPolicy:
        """The graph of a policy in memory, written into `file` with so many network calls."""
        return cls(
            file,
            policy.schema,
            policy.horizons,
            policy.action_size,
            policy.action_range,
            nfe,
            batch,
            threads=threads,
            longest_prefix=policy.longest_prefix,
            precision=precision,
        )

    @property
    def action_size(self) -> int:
        return self._action_size

    @property
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        return self._action_range

    @property
    def longest_prefix(self) -> int | None:
        return self._longest_prefix

    @property
    def training_range(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        return self._training_range

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return (self.nfe,)

    def check_nfe(self, nfe: int) -> int:
        if nfe != self.nfe:
            raise InputError(f"nfe={nfe}: this export has {self.nfe}; export the bundle again with nfe={nfe}.")
        return nfe

    def predict(self, inputs: Inputs, nfe: int | None = None) -> np.ndarray:
        self.use(nfe)
        inputs, rows = repeated(inputs), len(inputs.noise)
        size = rows if self.batch is None else self.batch
        return np.concatenate([self._run(inputs, slice(i, i + size)) for i in range(0, rows, size)])

    def _run(self, inputs: Inputs, rows: slice) -> np.ndarray:
        """Some rows; a graph of a fixed batch gets copies of the last one as well."""
        feed = {key: value[rows] for key, value in (*inputs.obs.items(), (NOISE, inputs.noise))}
        count = len(feed[NOISE])
        if (prefix := inputs.prefix or self.prefix([None] * len(inputs.noise))) is not None:
            feed |= {PREFIX: prefix.actions[rows], LENGTH: prefix.length[rows]}
        if self.batch is not None and count < self.batch:
            feed = {key: np.concatenate([v, np.repeat(v[-1:], self.batch - count, axis=0)]) for key, v in feed.items()}
        actions: np.ndarray = self.session.run(None, feed)[0][:count]
        return actions


def repeated(inputs: Inputs) -> Inputs:
    """The same calls with the observations and the prefix of each candidate beside its noise."""
    if (count := inputs.candidates) == 1:
        return inputs
    prefix = None if inputs.prefix is None else Prefix(*(np.repeat(part, count, axis=0) for part in inputs.prefix))
    return Inputs({key: np.repeat(value, count, axis=0) for key, value in inputs.obs.items()}, inputs.noise, prefix)
