"""The 1-D temporal U-Net over action chunks (Chi et al., arXiv 2303.04137), with the two times of a flow map.

A one-dimensional convolution is written as a two-dimensional one of height 1: a chunk [B, T, C] seen as [B, C, 1, T] is
already in channels-last memory, for which the two-dimensional kernels are the fast ones, so that nothing is copied on
the way in or out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from isd_core.network import KNOWN, Cond
from isd_core.networks.embedding import TimeEmbedding
from isd_core.networks.group_norm import GroupNorm
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive, Size
from isd_core.support.registry import register
from isd_policy.networks.interval import GUIDANCE, interval
from isd_policy.networks.prefix import PREFIX, predicted, with_prefix

ACTIVATIONS: dict[str, type[nn.Module]] = {"mish": nn.Mish, "silu": nn.SiLU}


def conv(size_in: int, size_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution along the chunk that keeps its length (divided by `stride`)."""
    return nn.Conv2d(size_in, size_out, (1, kernel), (1, stride), (0, kernel // 2))


class ConvBlock(nn.Sequential):
    """Convolution, GroupNorm, activation: [B, C_in, 1, T] -> [B, C_out, 1, T]."""

    def __init__(self, size_in: int, size_out: int, kernel: int, groups: int, activation: type[nn.Module]) -> None:
        super().__init__(conv(size_in, size_out, kernel), GroupNorm(groups, size_out), activation())


class ResidualBlock(nn.Module):
    """Two convolution blocks with FiLM between them, and a 1x1 residual where the width changes."""

    def __init__(
        self,
        size_in: int,
        size_out: int,
        condition: int,
        kernel: int,
        groups: int,
        activation: type[nn.Module],
        scale: bool,
    ) -> None:
        super().__init__()
        self.first = ConvBlock(size_in, size_out, kernel, groups, activation)
        self.second = ConvBlock(size_out, size_out, kernel, groups, activation)
        self.film = nn.Linear(condition, 2 * size_out if scale else size_out)
        self.scale = scale
        self.residual = conv(size_in, size_out, 1) if size_in != size_out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x: [B, C_in, 1, T]; condition: [B, condition], already activated -> [B, C_out, 1, T]."""
        film = self.film(condition)[:, :, None, None]
        h = self.first(x)
        if self.scale:
            scale, shift = film.chunk(2, dim=1)
            h = torch.addcmul(shift, h, scale)
        else:
            h = h + film
        return self.second(h) + self.residual(x)


class Level(nn.Module):
    """Two residual blocks, the first of which changes the width."""

    def __init__(self, size_in: int, size_out: int, block: Callable[[int, int], ResidualBlock]) -> None:
        super().__init__()
        self.first, self.second = block(size_in, size_out), block(size_out, size_out)

    def forward(self, x: Tensor, condition: Tensor, told: Tensor | None = None) -> Tensor:
        """x: [B, C_in, 1, T]; condition: [B, condition] -> [B, C_out, 1, T]; told: added between the blocks."""
        h = self.first(x, condition)
        return self.second(h if told is None else h + told, condition)


@register("network", "unet1d", head="policy")
class UNet1D(nn.Module):
    """F(x; t, s, obs) for chunks x [B, horizon, action_size] and cond["obs"] [B, condition_size].

    With widths (256, 512, 1024), `features="t"`, Mish and `film="scale_and_shift"` this is the published layout of
    Diffusion Policy: 65.77M parameters for Lift's 19 observations, two steps of history and absolute actions of size
    10.

    widths: channels of each level; every level but the last halves the chunk's length.
    embedding, frequency_dim, hidden: width of the time embedding, of its Fourier features and of its networks.
    max_frequency: highest frequency of those features, in radians per unit of the network's clock.
    guided: it also takes the guidance interval, cond["omega"], cond["t_min"] and cond["t_max"], each [B] (1, 0 and 1
    where they are absent): what guidance=interval trains.
    prefix_time: where it is given, the network also takes the first actions of a chunk, `cond["prefix"]`, as further
    channels with their mask `cond["known"]`, whose weights begin at zero: what `delay` trains.
    Raises `InputError` for sizes that do not fit each other.
    """

    def __init__(
        self,
        *,
        action_size: int,
        condition_size: int,
        horizon: int,
        clock: Callable[[Tensor], Tensor],
        widths: Sequence[Size] = (64, 128, 256),
        kernel: Size = 5,
        groups: Size = 8,
        embedding: Size = 64,
        frequency_dim: Size = 64,
        hidden: Size = 256,
        features: str = "t_s",
        max_frequency: Positive = 1.0,
        activation: str = "silu",
        film: str = "scale_and_shift",
        guided: bool = False,
        prefix_time: float | None = None,
    ) -> None:
        super().__init__()
        self.told = GUIDANCE if guided else ()
        self.inputs = self.told if prefix_time is None else (*self.told, PREFIX, KNOWN)
        _check(widths, kernel, groups, horizon, activation, film)
        act = ACTIVATIONS[activation]
        self.time = TimeEmbedding(
            embedding,
            clock=clock,
            features=features,
            combine="concat",
            frequency_dim=frequency_dim,
            max_frequency=max_frequency,
            hidden=hidden,
            activation=act,
        )
        self.activation = act()

        def block(size_in: int, size_out: int) -> ResidualBlock:
            condition = embedding + condition_size + len(self.told)
            return ResidualBlock(size_in, size_out, condition, kernel, groups, act, film == "scale_and_shift")

        sizes = list(zip([action_size, *widths[:-1]], widths, strict=True))
        self.down = nn.ModuleList(Level(i, o, block) for i, o in sizes)
        self.shrink = nn.ModuleList(conv(width, width, 3, stride=2) for width in widths[:-1])
        self.middle = Level(widths[-1], widths[-1], block)
        self.up = nn.ModuleList(Level(2 * o, i, block) for i, o in reversed(sizes[1:]))
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(width, width, (1, 4), (1, 2), (0, 1)) for width in reversed(widths[:-1])
        )
        self.final = nn.Sequential(
            ConvBlock(widths[0], widths[0], kernel, groups, act), conv(widths[0], action_size, 1)
        )
        self.prefix = None if prefix_time is None else _silent(action_size + 1, widths[0], kernel)

    def forward(self, x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        """x: [B, horizon, action_size]; t, s: [B] in path time; cond["obs"]: [B, condition_size] -> F like x."""
        told = [interval(t, cond)] if self.told else []
        condition = self.activation(torch.cat([self.time(t, s), cond["obs"], *told], dim=-1))
        prefix = None
        if self.prefix is not None:
            x = with_prefix(x, cond)
            prefix = self.prefix(_channels(torch.cat([cond[PREFIX], cond[KNOWN]], dim=-1)))
        h = _channels(x)
        skips = []
        for number, level in enumerate(self.down):
            h = level(h, condition, prefix if number == 0 else None)
            skips.append(h)
            if number < len(self.shrink):
                h = self.shrink[number](h)
        h = self.middle(h, condition)
        for level, grow in zip(self.up, self.grow, strict=True):  # the first level's skip is not used, as published
            h = grow(level(torch.cat([h, skips.pop()], dim=1), condition))
        F = self.final(h).squeeze(2).transpose(1, 2)
        return F if self.prefix is None else predicted(F, cond)


def _channels(x: Tensor) -> Tensor:
    """[B, T, C] -> [B, C, 1, T]."""
    return x.transpose(1, 2).unsqueeze(2)


def _silent(size_in: int, size_out: int, kernel: int) -> nn.Conv2d:
    """A convolution that begins at zero. Nothing is drawn for it: the rest of the network begins as without it."""
    made: nn.Conv2d = nn.utils.skip_init(
        nn.Conv2d, size_in, size_out, (1, kernel), padding=(0, kernel // 2), bias=False
    )
    nn.init.zeros_(made.weight)
    return made


def _check(widths: Sequence[int], kernel: int, groups: int, horizon: int, activation: str, film: str) -> None:
    if not widths or any(width < 1 or width % groups for width in widths):
        raise InputError(f"network.widths={list(widths)}: each width must be a positive multiple of groups={groups}.")
    if kernel < 1 or kernel % 2 == 0:
        raise InputError(f"network.kernel={kernel}: expected an odd number, so that a chunk keeps its length.")
    factor = 2 ** (len(widths) - 1)
    if horizon < factor or horizon % factor:
        raise InputError(
            f"A prediction horizon of {horizon} does not go through {len(widths)} levels: it must be a multiple of "
            f"{factor}. Change horizons.prediction or network.widths."
        )
    if activation not in ACTIVATIONS:
        raise InputError(f"network.activation={activation}: known are {', '.join(ACTIVATIONS)}.")
    if film not in ("scale_and_shift", "shift"):
        raise InputError(f"network.film={film}: known are scale_and_shift and shift.")
