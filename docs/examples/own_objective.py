"""An objective of one's own: as a composition of ours, and as a class."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

import isd_core
from isd_core.flow_map import FlowMap
from isd_core.network import Cond, VelocityNet
from isd_core.objectives import Draw, LossOut, Objective


class Net(nn.Module):
    """F(x; t, s) in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return self.body(torch.cat([x, t[:, None], s[:, None]], dim=1))


@isd_core.register("objective", "straight")
@dataclass(frozen=True)
class Straight(Objective):
    """Flow matching with times drawn uniformly: |F(x_t; t, t) - v_t|^2."""

    path: isd_core.Path

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """All that is random in a step."""
        z = torch.randn(x.shape, generator=rng, device=rng.device)
        t = torch.rand(len(x), generator=rng, device=rng.device) * self.path.T
        return Draw(x, z, t, t, cond)

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """The loss at a draw."""
        x_t, v_t = FlowMap(self.path).interpolate(draw.x, draw.z, draw.t)
        error = (net(x_t, draw.t, draw.t, draw.cond) - v_t).square().mean(dim=1)
        return LossOut(error.mean(), {"flow": error.detach()})


torch.manual_seed(0)  # the first weights are the network's own affair
data = torch.randn(2000, 2) * 0.1 + torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(1000, 1)

# A composition: MeanFlow's conditional velocity in the target, the network's own in the tangent, on every sample.
composed = isd_core.meanflow(tangent={"type": "own_diagonal"}, share=1.0, times="beta_pair")
flow = isd_core.fit(Net(), data, objective=composed, steps=1000)
across, along = flow.sample(1000, nfe=1).std(dim=0)
print(f"composition, 1 NFE: spread {across:.2f}, {along:.2f} (the data: 1.00, 0.10)")

# A class: `straight` is now a choice like ours, also on the command line of a program that imports this file.
flow = isd_core.fit(Net(), data, objective="straight", sampler="diagonal", steps=1000)
across, along = flow.sample(1000, nfe=20).std(dim=0)
print(f"class, 20 NFE: spread {across:.2f}, {along:.2f} (the data: 1.00, 0.10)")
