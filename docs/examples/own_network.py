"""A network of one's own: registered under a name, used like ours, loaded wherever it is registered."""

import tempfile
from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn

import isd_policy
from isd_core.support.fields import Range


@isd_policy.register("network", "chunk_mlp", head="policy")
class ChunkMLP(nn.Module):
    """F(x; t, s, obs) over a chunk x [B, horizon, action_size] as one long vector."""

    def __init__(
        self,
        *,
        action_size: int,  # the program gives these four
        condition_size: int,
        horizon: int,
        clock: Callable[[Tensor], Tensor],
        width: Annotated[int, Range(least=8, most=4096)] = 128,  # and a config may set the rest
    ) -> None:
        super().__init__()
        self.clock = clock
        size = horizon * action_size
        self.body = nn.Sequential(
            nn.Linear(size + 2 + condition_size, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, size),
        )

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: dict[str, Tensor]) -> Tensor:
        times = torch.stack([self.clock(t), self.clock(s)], dim=1)
        return self.body(torch.cat([x.flatten(1), times, cond["obs"]], dim=1)).view_as(x)


rng = np.random.default_rng(0)
state = rng.uniform(-1, 1, (400, 3))
demos = isd_policy.Demonstrations.from_arrays(
    observations={"state": state}, actions=np.tanh(state[:, :2]), episode_ends=range(40, 401, 40)
)
with tempfile.TemporaryDirectory() as folder:
    mine = isd_policy.preset("network", "chunk_mlp")(width=64)
    policy = isd_policy.train(demos, network=mine, trainer="demo", steps=50, run_dir=f"{folder}/run")
    again = isd_policy.load(f"{folder}/run")
    print(f"{sum(p.numel() for p in policy.parameters())} parameters, width {again.source.config['network']['width']}.")
