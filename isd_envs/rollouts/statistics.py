"""Statistics of success rates: Wilson intervals, and the comparison of two policies on the same starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (low, high) of a success rate; (0, 1) when n is 0.

    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / n
    scale = 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / scale
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return low, high


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error; the error is 0 for a single value."""
    n, mean = len(values), sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(n - 1, 1)
    return mean, math.sqrt(variance / n)


def success_over_time(successful_steps: Sequence[int], n: int, max_steps: int, points: int = 20) -> dict[str, list]:
    """The share of n episodes that had succeeded by each of `points` steps up to the cap.

    successful_steps: the step of success of each successful episode. Returns {"steps": [...], "rate": [...]}.
    """
    steps = [round(max_steps * (i + 1) / points) for i in range(points)]
    return {"steps": steps, "rate": [sum(s <= step for s in successful_steps) / n for step in steps]}


def e_value(only_first: int, only_second: int) -> float:
    """The evidence against equal success rates, from the starts on which two policies differ.

    The wealth of a gambler who bets on each of them with the estimate (k + 1/2) / (n + 1) from those before
    (Krichevsky and Trofimov 1981): B(k1 + 1/2, k2 + 1/2) / B(1/2, 1/2) * 2^(k1 + k2). Under equal rates it is a
    martingale that begins at 1, so it ever reaches 1 / alpha with a probability of at most alpha (Ville 1939): looking
    after each start and stopping when it does costs nothing.
    """
    k, m = only_first + 0.5, only_second + 0.5
    log_beta = math.lgamma(k) + math.lgamma(m) - math.lgamma(k + m) - math.log(math.pi)
    return math.exp(log_beta + (only_first + only_second) * math.log(2))


def decided_after(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> int | None:
    """The number of starts, looked at one after another, that tell two policies apart; None if these do not."""
    only_first = only_second = 0
    for n, (a, b) in enumerate(zip(first, second, strict=True), start=1):
        only_first, only_second = only_first + (a and not b), only_second + (b and not a)
        if e_value(only_first, only_second) >= 1 / (1 - confidence):
            return n
    return None


@dataclass(frozen=True)
class Comparison:
    """Two policies on the same n starts. `only_first` starts succeed with the first policy alone, and so on.

    p_value: McNemar's exact test, valid where n was fixed beforehand. decided_after: starts after which the anytime
    test tells them apart (None: it does not), valid also where the rollouts stopped because of it.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    p_value: float
    confidence: float
    decided_after: int | None = None

    @property
    def different(self) -> bool:
        """Whether the exact McNemar test rejects equal success rates."""
        return self.p_value < 1 - self.confidence

    def verdict(self) -> str:
        """One sentence for a report."""
        first, second = self.both + self.only_first, self.both + self.only_second
        judged = "different" if self.different else f"not distinguishable at n = {self.n}"
        decided = "not decided" if self.decided_after is None else f"decided after {self.decided_after} starts"
        return (
            f"{first} against {second} of {self.n} starts: {judged} (exact McNemar p = {self.p_value:.3g}; anytime "
            f"test: {decided})"
        )


def mcnemar(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> Comparison:
    """The exact two-sided McNemar test on paired outcomes (McNemar 1947): a sign test on the starts that differ."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} outcomes against {len(second)}; the starts must be the same")
    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    only_first = sum(a and not b for a, b in pairs)
    only_second = sum(b and not a for a, b in pairs)
    differing = only_first + only_second
    tail = sum(math.comb(differing, k) for k in range(min(only_first, only_second) + 1)) / 2**differing
    return Comparison(
        n=len(pairs),
        both=sum(a and b for a, b in pairs),
        only_first=only_first,
        only_second=only_second,
        p_value=min(1.0, 2 * tail),
        confidence=confidence,
        decided_after=decided_after(first, second, confidence),
    )
