"""Two policies on the same starts: `python -m isd_envs.compare first=A.json second=B.json`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from isd_core.support import files
from isd_core.support.cli import command
from isd_core.support.errors import InputError
from isd_envs.rollouts.statistics import Comparison, mcnemar

Run = tuple[str, Mapping[str, Any], str]
"""Where a result comes from, for messages; the content of its file; the number of network evaluations."""


def compare(first: Path, second: Path, nfe: tuple[str, str], confidence: float = 0.95) -> Comparison:
    """The exact McNemar test on two runs of two result files (which may be the same file).

    Raises `InputError` where a file is no result, a run is absent, or the starts are not the same.
    """
    runs = [(str(path), files.read_json(path), run) for path, run in zip((first, second), nfe, strict=True)]
    return compared(runs[0], runs[1], confidence)


def compared(first: Run, second: Run, confidence: float = 0.95) -> Comparison:
    """The same on results that are read already."""
    (name, content, _), (other, others, _) = first, second
    outcomes, further = _outcomes(*first), _outcomes(*second)
    shared = sorted(set(outcomes) & set(further))
    if not shared or any(content["starts"][i] != others["starts"][i] for i in shared):
        raise InputError(f"{name} and {other} were not made from the same starts: evaluate both with the same seed.")
    return mcnemar([outcomes[i] for i in shared], [further[i] for i in shared], confidence)


def _outcomes(path: str, content: Mapping[str, Any], nfe: str) -> dict[int, bool]:
    try:
        runs = content["results"]
        return {int(episode["index"]): bool(episode["success"]) for episode in runs[nfe]["episodes"]}
    except KeyError as error:
        known = ", ".join(content["results"]) if "results" in content else "none"
        raise InputError(f"{path} has no run with nfe={nfe} (it lacks {error}); its runs: {known}.") from error


@command("env_compare")
def main(cfg: DictConfig) -> None:
    """Tells whether two policies differ, from their successes on the same starts (exact McNemar test)."""
    second = cfg.first if cfg.second is None else cfg.second
    second_nfe = cfg.nfe if cfg.second_nfe is None else cfg.second_nfe
    runs = (str(cfg.nfe), str(second_nfe))
    comparison = compare(Path(str(cfg.first)), Path(str(second)), runs, cfg.confidence)
    print(f"{cfg.first} ({runs[0]} NFE) against {second} ({runs[1]} NFE): {comparison.verdict()}.")
    print(
        f"Both succeed on {comparison.both} starts, only the first on {comparison.only_first}, only the second on "
        f"{comparison.only_second}."
    )


if __name__ == "__main__":
    main()
