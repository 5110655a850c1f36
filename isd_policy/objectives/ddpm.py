"""Denoising diffusion as in Diffusion Policy (arXiv 2303.04137): the many-step baseline, on diffusers' schedulers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Generator, Tensor

from isd_core.network import Cond, VelocityNet, noise_like
from isd_core.objectives.base import Draw, LossOut, Objective
from isd_core.paths import Path
from isd_core.sampling import Sampler, row_generators
from isd_core.support.errors import InputError
from isd_core.support.registry import register
from isd_core.weighting import MSE, Discrepancy

STEPS = 100


def scheduler(kind: str) -> Any:
    """diffusers' DDPM or DDIM scheduler: 100 steps, squared-cosine betas, samples clipped to [-1, 1]."""
    try:
        from diffusers import DDIMScheduler, DDPMScheduler
    except ImportError as error:
        raise InputError("objective=ddpm needs the package diffusers: pip install 'diffusers'.") from error
    kinds = {"ddpm": DDPMScheduler, "ddim": DDIMScheduler}
    if kind not in kinds:
        raise InputError(f"sampler.kind={kind} is unknown; known: {', '.join(kinds)}.")
    return kinds[kind](num_train_timesteps=STEPS, beta_schedule="squaredcos_cap_v2", clip_sample=True)


@cache
def noising() -> Any:
    """The schedule that training adds noise by: never stepped, so one serves every step."""
    return scheduler("ddpm")


def time_of(k: Tensor, path: Path) -> Tensor:
    """Diffusion step k = 0 ... 99 as path time, (k + 1) / 100 of T."""
    return (k + 1) / STEPS * path.T


@register("objective", "ddpm", head="policy")
@dataclass(frozen=True)
class DDPM(Objective):
    """E |F(sqrt(a_k) x + sqrt(1 - a_k) z; k) - z|^2 (arXiv 2006.11239, eq. 14). Its fixed point is E[z | x_k, cond]."""

    path: Path
    discrepancy: Discrepancy = field(default_factory=MSE)

    def draw(self, x: Tensor, cond: Cond, rng: Generator, step: int) -> Draw:
        """Noise and diffusion steps; extra: the noised actions."""
        z = noise_like(x, cond, rng)
        k = torch.randint(STEPS, (len(x),), generator=rng, device=rng.device)
        t = time_of(k, self.path).to(x.dtype)
        return Draw(x, z, t, t, cond, extra=noising().add_noise(x, z, k))

    def loss(self, net: VelocityNet, draw: Draw) -> LossOut:
        """Term: noise, [B]."""
        error = self.discrepancy(net(draw.extra, draw.t, draw.s, draw.cond), draw.z)
        return LossOut(error.mean(), {"noise": error.detach()})


@register("sampler", "diffusion", head="policy")
@dataclass(frozen=True)
class DiffusionSampler(Sampler):
    """kind=ddpm: ancestral sampling, usually with nfe = 100; kind=ddim: deterministic, usually nfe = 10."""

    path: Path
    kind: str = "ddpm"

    @property
    def max_nfe(self) -> int:
        return STEPS

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return (STEPS,) if self.kind == "ddpm" else (10,)

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        schedule = scheduler(self.kind)
        schedule.set_timesteps(self.check_nfe(nfe))
        rngs = row_generators(z)
        x = z
        for k in schedule.timesteps:
            t = time_of(k, self.path).to(z).expand(len(z))
            x = schedule.step(net(x, t, t, cond), k, x, generator=rngs).prev_sample
        return x
