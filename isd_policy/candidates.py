"""Several chunks for one observation, of which one is executed.

A one-step map that has not been trained to its end sends a few noises far astray. Of K chunks from K noises, computed
in one call, the one in the middle of the others is none of these. As it is a sample, it stays on one of several ways,
where a mean would lie between them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isd_core.support.errors import InputError

CHOICES = ("medoid", "coherent")
MOST = 1024


def check_candidates(candidates: int, choose: str, initial_noise: str) -> None:
    """Raises `InputError` for a number of candidates that is none, and for what would do nothing."""
    if isinstance(candidates, bool) or not isinstance(candidates, int) or not 1 <= candidates <= MOST:
        raise InputError(f"candidates={candidates}: expected a whole number from 1 (no choice) to {MOST}.")
    if choose not in CHOICES:
        raise InputError(
            f"choose={choose}: of several candidates the one nearest to the others is taken (medoid), or the one "
            "nearest to what is left of the last chunk (coherent)."
        )
    if candidates > 1 and initial_noise == "zeros":
        raise InputError(
            f"candidates={candidates} from initial_noise=zeros are the same chunk {candidates} times: use "
            "initial_noise=gaussian, or candidates=1."
        )


def chosen(chunks: np.ndarray, choose: str, unit: np.ndarray, left: Sequence[np.ndarray | None] = ()) -> np.ndarray:
    """[B, K, n, Da] candidates -> [B, n, Da], one of each row's.

    unit: [Da] what counts as far in each number of an action; left: for each row what is left of its last chunk from
    the newest observation on, [m, Da], or None, for choose=coherent.
    """
    rows = chunks / unit
    if choose == "coherent" and left:
        rests = (None if rest is None or not len(rest) else rest / unit for rest in left)
        numbers = [medoid(row) if rest is None else nearest(row, rest) for row, rest in zip(rows, rests, strict=True)]
    else:
        numbers = [medoid(row) for row in rows]
    picked: np.ndarray = chunks[np.arange(len(chunks)), numbers]
    return picked


def medoid(chunks: np.ndarray) -> int:
    """The number of the chunk with the smallest sum of distances to the others, [K, n, Da]."""
    flat = chunks.reshape(len(chunks), -1)
    finite = np.flatnonzero(np.isfinite(flat).all(axis=1))
    if not len(finite):
        return 0
    distances = np.linalg.norm(flat[finite, None] - flat[None, finite], axis=-1)  # [K, K]
    return int(finite[np.argmin(distances.sum(axis=1))])


def nearest(chunks: np.ndarray, rest: np.ndarray) -> int:
    """The number of the chunk [K, n, Da] nearest to `rest` [m, Da] over the actions that both have (arXiv 2408.17355,
    backward coherence).
    """
    common = min(chunks.shape[1], len(rest))
    distances = np.linalg.norm((chunks[:, :common] - rest[:common]).reshape(len(chunks), -1), axis=-1)
    return int(np.argmin(np.where(np.isfinite(distances), distances, np.inf)))
