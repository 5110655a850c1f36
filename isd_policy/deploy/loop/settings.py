"""How a control loop runs."""

from __future__ import annotations

from dataclasses import dataclass

from isd_core.support.errors import InputError
from isd_policy.validation import check_positive, check_whole

MODES = ("async", "sync")


@dataclass(frozen=True)
class LoopSettings:
    """Times in seconds. Raises `InputError` for a value out of range.

    rate: ticks a second. mode: `async` asks for the next chunk so early that it arrives when the executed part of
    the last one ends, `sync` asks then and holds the robot meanwhile. blend: actions over which a chunk takes over
    from the one before. prefix: whether a policy that was trained with a delay is told, with every call, the
    actions that the robot will be given while the call runs, as many as the last calls took. lead: ticks before the
    end of the executed part at which to ask; None follows the measured latency. patience: the share of a period
    that a tick without an action waits for one. hold: how long the robot may be held for want of an action before
    it is stopped. stale: the age at which an observation is too old to ask with. watchdog: how long the loop may
    stand still before the robot is stopped; None: no watchdog. first_chunk: the limit on an epoch's first chunk,
    which is computed before the loop is armed. warm_up: the limit on the warm-up; 0: none. seed: of the policy's
    noise.
    """

    rate: float = 20.0
    mode: str = "async"
    blend: int = 4
    prefix: bool = True
    lead: int | None = None
    patience: float = 0.5
    hold: float = 1.0
    stale: float = 0.5
    watchdog: float | None = 2.0
    first_chunk: float = 30.0
    warm_up: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"mode={self.mode}: a loop is {' or '.join(MODES)}.")
        if not isinstance(self.prefix, bool):
            raise InputError(f"prefix={self.prefix}: expected true or false.")
        given = vars(self)
        check_positive(
            given, "rate", "hold", "stale", "first_chunk", *(["watchdog"] if self.watchdog is not None else [])
        )
        check_whole(given, "blend", "seed", *(["lead"] if self.lead is not None else []), least=0)
        if self.warm_up:
            check_positive(given, "warm_up")
        if self.patience:
            check_positive(given, "patience")
        if self.patience >= 1:
            raise InputError(f"patience={self.patience}: expected a share of the period, below 1.")

    @property
    def period(self) -> float:
        """Seconds between two ticks."""
        return 1 / self.rate
