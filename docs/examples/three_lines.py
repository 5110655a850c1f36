"""Every head from Python: policies, the method alone, images."""

import tempfile

import torch
from torch import Tensor, nn

import isd_core
import isd_image


class Net(nn.Module):
    """F(x; t, s) in the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return self.body(torch.cat([x, t[:, None], s[:, None]], dim=1))


data = torch.randn(2000, 2) * torch.tensor([2.0, 0.5]) + 3
flow = isd_core.fit(Net(), data, objective=isd_core.isd(path="linear", times="logit_normal_pair"), steps=200)
first, second = flow.sample(1000, nfe=1).mean(dim=0)
print(f"mean of the samples: {first:.2f}, {second:.2f} (the data: 3.00, 3.00)")

with tempfile.TemporaryDirectory() as folder:
    run = isd_image.train("digits", guidance=isd_image.pre(2.0), steps=60, run_dir=folder, grids=None)
    print("samples:", run.sample(labels=[3, 7], nfe=1).shape)
    print("numbers:", run.evaluate(nfe=[1, 2], count=100)["nfe"])
