"""An export: one folder with a policy's sampler as graphs that need none of the policy's code.

    policy.export/
        export.json  policy.onnx  program.pt2

`export.json` is the bundle's card with the graphs' settings, their parity with the policy, and the SHA-256 of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from isd_core.training.checkpoint import Checkpoint
from isd_policy.deploy import manifest
from isd_policy.deploy.manifest import Manifest

MANIFEST = Manifest(
    file="export.json",
    kind="export",
    version=2,
    keys=("kind", "config", "step", "seed", "initial_noise", "horizons", "observations", "actions", "graph"),
    maker="isd_policy.deploy.export",
)
ONNX, PROGRAM = "policy.onnx", "program.pt2"
NOISE, PREFIX, LENGTH, ACTIONS = "noise", "prefix", "prefix_length", "actions"


@dataclass(frozen=True)
class Export(Checkpoint):
    """An export's folder and its card (`meta`), in which `graph` holds nfe, batch (None for any), the network's action
    size and the largest difference from the policy.
    """

    def file(self, name: str) -> Path:
        """The path of one of its files, checked against the recorded hash; `InputError` if damaged or not there."""
        return manifest.check(self.path, name, self.meta["sha256"])


def read(path: str | Path) -> Export:
    """Opens an export. Raises `InputError` when there is none, when it is damaged, and for another format."""
    return Export(*MANIFEST.read(path))
