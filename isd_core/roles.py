"""The core's roles, declared: `isd_core.register` and `isd_core.build` know them all."""

from isd_core import (
    curricula,
    derivatives,
    guidance,
    intermediate,
    network,
    objectives,
    paths,
    sampling,
    times,
    velocities,
    weighting,
)
from isd_core.support.registry import ROLES, build, register
from isd_core.training import ema, loggers, optimizer

DECLARING = (
    *(curricula, derivatives, guidance, intermediate, network, objectives, paths, sampling, times, velocities),
    *(weighting, ema, loggers, optimizer),
)

__all__ = ["DECLARING", "ROLES", "build", "register"]
