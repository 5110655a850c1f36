"""Flow maps trained from scratch: the method, without a robot, an image or the rank of a tensor.

    flow = isd_core.fit(net, data, objective=isd_core.isd(path="linear", times="logit_normal_pair"), steps=2000)
    x = flow.sample(1000, nfe=1)

Every objective of configs/objective is a function here (`isd`, `meanflow`, `shortcut`, `ict`, ...) that makes a preset.
Your own parts are added by `register`. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING, Any

from isd_core.support import lazy

if TYPE_CHECKING:
    from isd_core.derivatives import CentralDifference as CentralDifference
    from isd_core.derivatives import Derivative as Derivative
    from isd_core.derivatives import ExactJVP as ExactJVP
    from isd_core.fitting import Flow as Flow
    from isd_core.fitting import fit as fit
    from isd_core.flow_map import FlowMap as FlowMap
    from isd_core.guidance import Guidance as Guidance
    from isd_core.network import VelocityNet as VelocityNet
    from isd_core.objectives import Eulerian as Eulerian
    from isd_core.objectives import FlowMapObjective as FlowMapObjective
    from isd_core.objectives import FlowMatching as FlowMatching
    from isd_core.objectives import Lagrangian as Lagrangian
    from isd_core.objectives import Objective as Objective
    from isd_core.objectives import Semigroup as Semigroup
    from isd_core.paths import Linear as Linear
    from isd_core.paths import Path as Path
    from isd_core.paths import Trigonometric as Trigonometric
    from isd_core.paths import VarianceExploding as VarianceExploding
    from isd_core.presets import Preset as Preset
    from isd_core.presets import preset as preset
    from isd_core.roles import build as build
    from isd_core.roles import register as register
    from isd_core.sampling import Sampler as Sampler
    from isd_core.support.errors import InputError as InputError
    from isd_core.times import TimeLaw as TimeLaw
    from isd_core.training.config import TrainerConfig as TrainerConfig
    from isd_core.training.trainer import Trainer as Trainer
    from isd_core.weighting import Discrepancy as Discrepancy
    from isd_core.weighting import Weighting as Weighting


def _preset(name: str) -> Any:
    """The function that makes presets of a choice of configs/objective."""
    if not (lazy.CONFIGS / "objective" / f"{name}.yaml").is_file():
        raise AttributeError(f"module 'isd_core' has no attribute {name!r}")
    from isd_core.presets import preset

    return preset("objective", name)


__getattr__, __dir__, __all__ = lazy.exports(__name__, _preset)
