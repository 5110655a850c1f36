"""Flow matching: the diagonal alone, the multi-step baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Generator, Tensor

from isd_core.flow_map import FlowMap
from isd_core.guidance import Guidance, NoGuidance
from isd_core.network import Cond, VelocityNet, noise_like
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.paths import Path
from isd_core.support.registry import register
from isd_core.times import Diagonal, TimeLaw
from isd_core.weighting import MSE, Discrepancy, Uniform, Weighting


@register("objective", "flow_matching")
@dataclass(frozen=True)
class FlowMatching(Objective):
    """L_FM = |F(x_t; t, t) - v_t|^2 (arXiv 2210.02747). Sampled by `isd_core.sampling.DiagonalSampler`."""

    path: Path
    times: TimeLaw = field(default_factory=Diagonal)
    guidance: Guidance = field(default_factory=NoGuidance)
    discrepancy: Discrepancy = field(default_factory=MSE)
    weighting: Weighting = field(default_factory=Uniform)

    def __post_init__(self) -> None:
        self.times.check(self.path)

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """Prepared conditioning, noise and times, s = t."""
        cond = self.guidance.prepare(cond, rng, len(x))
        z = noise_like(x, cond, rng)
        t, _ = self.times.sample(len(x), self.path, rng, step)
        return Draw(x, z, t, t, cond)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Term: flow."""
        x, z, t, _, cond = draw[:5]
        x_t, v_t = FlowMap(self.path).interpolate(x, z, t)
        cond = self.guidance.told(cond, t)
        v = self.guidance.target(net, x_t, t, v_t, cond)
        flow = self.discrepancy(net(x_t, t, t, cond), v)
        return LossOut(self.weighting(flow, t, self.path).mean(), {"flow": flow.detach()})
