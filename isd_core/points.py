"""Points on the path, which objectives and the velocities in their slots look at."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from isd_core.network import Cond


class Points(NamedTuple):
    """Points on the path. x_t, v: [n, ...] and t, s: [n]; v is the (guided) conditional velocity."""

    x_t: Tensor
    v: Tensor
    t: Tensor
    s: Tensor
    cond: Cond

    def rows(self, rows: slice) -> Points:
        """Some of the rows."""
        cond = {key: value[rows] for key, value in self.cond.items()}
        return Points(self.x_t[rows], self.v[rows], self.t[rows], self.s[rows], cond)
