"""Progress of long work: a bar on a terminal and in a notebook, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm.auto import tqdm

LOG_EVERY_SECONDS = 10.0


def clock(seconds: float) -> str:
    """Seconds as `m:ss` or `h:mm:ss`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts `total` units of work and shows the rate, the time left and whatever `update` is told.

    `initial` is what an earlier run has done already; it counts for the position and not for the rate. `quiet` shows
    nothing.
    """

    def __init__(self, total: int, desc: str, unit: str = "it", initial: int = 0, quiet: bool = False) -> None:
        self.total, self.desc, self.unit, self.initial, self.quiet = total, desc, unit, initial, quiet
        self.done = initial
        self.started = self._logged = time.monotonic()
        interactive = not quiet and (sys.stderr.isatty() or _in_notebook())
        self._bar = (
            tqdm(total=total, desc=desc, unit=unit, initial=initial, dynamic_ncols=True) if interactive else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def rate(self) -> float:
        """Units per second since the start of this run."""
        return (self.done - self.initial) / max(time.monotonic() - self.started, 1e-9)

    def update(self, n: int = 1, **shown: Any) -> None:
        """Adds `n` units of work; `shown` are values to print beside the count."""
        self.done += n
        values = {key: f"{value:.4g}" if isinstance(value, float) else str(value) for key, value in shown.items()}
        if self._bar is not None:
            self._bar.set_postfix(values, refresh=False)
            self._bar.update(n)
            return
        now = time.monotonic()
        if self.quiet:
            return
        if self.done >= self.total or now - self._logged >= LOG_EVERY_SECONDS:
            self._logged = now
            left = clock((self.total - self.done) / self.rate) if self.rate > 0 else "?"
            text = "".join(f"  {key} {value}" for key, value in values.items())
            print(
                f"{self.desc}: {self.done}/{self.total}  {self.rate:.3g} {self.unit}/s  {left} left{text}",
                file=sys.stderr,
                flush=True,
            )


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose standard error is no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config
