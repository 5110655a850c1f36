"""What a network is trained by: the identities of the flow map, and plain flow matching."""

from isd_core.objectives.base import Draw, FlowMapObjective, LossOut, Objective
from isd_core.objectives.drifting import Drifting
from isd_core.objectives.eulerian import ClampedTarget, Eulerian, NormalisedTangent
from isd_core.objectives.flow_matching import FlowMatching
from isd_core.objectives.lagrangian import Lagrangian
from isd_core.objectives.semigroup import Semigroup, SemigroupWithLimit

__all__ = [
    "ClampedTarget",
    "Draw",
    "Drifting",
    "Eulerian",
    "FlowMapObjective",
    "FlowMatching",
    "Lagrangian",
    "LossOut",
    "NormalisedTangent",
    "Objective",
    "Semigroup",
    "SemigroupWithLimit",
]
