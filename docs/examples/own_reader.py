"""A reader of one's own format: chosen by name, or found by itself."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import isd_policy
from isd_core.support.fields import Count


@isd_policy.register("reader", "rows")
@dataclass(frozen=True)
class Rows(isd_policy.Reader):
    """Text with a row of numbers for every step, of which the last `actions` are the action."""

    kind = "rows of numbers"
    actions: Count = 1
    episode: Count = 50  # steps of an episode

    def read(self, path: Path, options: isd_policy.ReadOptions) -> isd_policy.Demonstrations:
        """All steps of the file."""
        rows = np.loadtxt(path)
        return isd_policy.Demonstrations.from_arrays(
            observations={"state": rows[:, : -self.actions]},
            actions=rows[:, -self.actions :],
            episode_ends=range(self.episode, len(rows) + 1, self.episode),
            source=str(path),
        )

    def recognises(self, path: Path, external: bool = False) -> bool:
        """Such files are found without `reader=`."""
        return path.suffix == ".rows"


with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "log.rows"
    np.savetxt(file, np.random.default_rng(0).normal(size=(200, 5)))
    demos = isd_policy.read(file, reader={"type": "rows", "actions": 2}, rate=20)
    print(f"{len(demos)} episodes of {demos.schema.shapes['state'][0]} numbers, actions of {demos.actions.shape[1]}.")
    print(f"Found by itself: {len(isd_policy.read(file))} episodes.")
