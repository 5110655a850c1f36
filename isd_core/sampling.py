"""From noise to data in a chosen number of network evaluations (NFE)."""

from __future__ import annotations

import hashlib
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from isd_core.flow_map import FlowMap
from isd_core.guidance import Guidance, without
from isd_core.network import Cond, VelocityNet, stack
from isd_core.paths import Path
from isd_core.support.errors import InputError
from isd_core.support.fields import Positive
from isd_core.support.registry import name_of, register, role


@role("sampler", "samplers")
class Sampler(ABC):
    """Turns standard noise z [B, ...] into data [B, ...] with `nfe` calls of the network."""

    @abstractmethod
    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor: ...

    @property
    def max_nfe(self) -> int | None:
        """The largest `nfe`; None where any will do."""
        return None

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        """The `nfe` to begin with."""
        return tuple(nfe for nfe in (1, 2) if self.can_make(nfe))

    def can_make(self, nfe: int) -> bool:
        """Whether so many network calls are possible."""
        return self.max_nfe is None or nfe <= self.max_nfe

    def check_nfe(self, nfe: int) -> int:
        """`nfe` itself; `InputError` for a number that is none or that this sampler cannot make."""
        if self.max_nfe is not None and check_nfe(nfe) > self.max_nfe:
            usual = ",".join(map(str, self.usual_nfe))
            raise InputError(
                f"nfe={nfe}: the sampler `{name_of(type(self))}` makes at most {self.max_nfe} network evaluation"
                f"{'s' * (self.max_nfe > 1)}; nfe={usual} is usual."
            )
        return check_nfe(nfe)


MOST_NFE = 10_000
"""No sampler gains from more, and a file or a client that asks for a billion must not hold the machine."""


def check_nfe(nfe: int) -> int:
    """`nfe` itself; `InputError` unless it is an integer from 1 to `MOST_NFE`."""
    if isinstance(nfe, bool) or not isinstance(nfe, int) or not 1 <= nfe <= MOST_NFE:
        raise InputError(
            f"nfe={nfe}: the number of network evaluations is an integer of at least 1 and at most {MOST_NFE}; "
            "1 and 2 are usual."
        )
    return nfe


def check_counts(nfe: int | Sequence[int], check: Callable[[int], int]) -> list[int]:
    """One or several numbers of network evaluations, each passed by `check` and in the list once.

    A line on stderr says so when one was given twice. Raises `InputError` for none.
    """
    given = [nfe] if isinstance(nfe, int) else list(nfe)
    if not given:
        raise InputError("nfe=[]: expected one or more numbers of network evaluations, such as [1,2].")
    distinct = list(dict.fromkeys(map(check, given)))
    if len(distinct) < len(given):
        print(f"nfe={given}: each number of evaluations is done once, {distinct}.", file=sys.stderr)
    return distinct


def row_generators(z: Tensor) -> list[torch.Generator]:
    """One CPU generator a row of z [B, ...], seeded by the row: further noise of a row does not depend on its batch."""
    seeds = [
        int.from_bytes(hashlib.sha256(row.numpy().tobytes()).digest()[:8], "little") >> 1 for row in z.cpu().float()
    ]
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def sample(net: VelocityNet, flow_map: FlowMap, x: Tensor, times: Tensor, cond: Cond) -> Tensor:
    """Jumps from x [B, ...] at times[0] through times [n + 1] to times[-1], one network call a jump."""
    ones = torch.ones(x.shape[0], device=x.device)
    for t, s in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        x = flow_map.jump(x, net(x, t * ones, s * ones, cond), t * ones, s * ones)
    return x


@register("sampler", "flow_map")
@dataclass(frozen=True)
class FlowMapSampler(Sampler):
    """`nfe` jumps of the flow map over the path's own times, from sigma(T) z."""

    path: Path

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        return sample(net, FlowMap(self.path), self.path.prior(z), self.path.times(self.check_nfe(nfe)), cond)


@register("sampler", "one_step")
@dataclass(frozen=True)
class OneStepSampler(FlowMapSampler):
    """The one jump from noise to the path's end, for networks that know no other."""

    @property
    def max_nfe(self) -> int:
        return 1


@register("sampler", "diagonal")
@dataclass(frozen=True)
class DiagonalSampler(Sampler):
    """`nfe` Euler steps of the probability-flow ODE along the network's diagonal, in the path's own geometry."""

    path: Path

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return (10,)

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        diagonal: VelocityNet = lambda x, t, s, cond: net(x, t, t, cond)  # noqa: E731
        return sample(diagonal, FlowMap(self.path), self.path.prior(z), self.path.times(self.check_nfe(nfe)), cond)


@register("sampler", "consistency")
@dataclass(frozen=True)
class ConsistencySampler(Sampler):
    """Multistep consistency sampling: jump to the data, add noise, jump again (arXiv 2303.01469, algorithm 1).

    between: the times to which noise is added, falling, for nfe = 1 + their number; other numbers of evaluations take
    the path's own times. Raises `InputError` for times that do not fall, or leave the path.
    """

    path: Path
    between: Sequence[Positive] = ()

    def __post_init__(self) -> None:
        given = [self.path.T, *self.between, self.path.end]
        if any(later >= earlier for earlier, later in pairwise(given)):
            raise InputError(
                f"sampler.between={list(self.between)}: expected falling times below the path's start, "
                f"{self.path.T:g}, and above its end, {self.path.end:g}."
            )

    def times(self, nfe: int) -> list[float]:
        """[nfe + 1] falling times from T to the path's end, at the first nfe of which the network is called."""
        if len(self.between) == self.check_nfe(nfe) - 1:
            return [self.path.T, *self.between, self.path.end]
        times: list[float] = self.path.times(nfe).tolist()
        return times

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        flow_map, times = FlowMap(self.path), self.times(nfe)
        ones = torch.ones(z.shape[0], device=z.device)
        end = self.path.end * ones
        rngs = row_generators(z)
        x = self.path.prior(z)
        for i, time in enumerate(times[:-1]):
            t = time * ones
            if i:
                noise = torch.stack([torch.randn(z.shape[1:], generator=rng) for rng in rngs])
                x, _ = flow_map.interpolate(x, noise.to(z), t)
            x = flow_map.jump(x, net(x, t, end, cond), t, end)
        return x


@dataclass(frozen=True)
class WrappedSampler(Sampler):
    """A sampler over another one's steps."""

    sampler: Sampler

    @property
    def max_nfe(self) -> int | None:
        return self.sampler.max_nfe

    @property
    def usual_nfe(self) -> tuple[int, ...]:
        return self.sampler.usual_nfe

    def check_nfe(self, nfe: int) -> int:
        return self.sampler.check_nfe(nfe)


@dataclass(frozen=True)
class PostCFG(WrappedSampler):
    """Guidance at sampling, F_null + scale (F - F_null): two network calls a step, batched as one.

    On top of a network trained with Pre-CFG the two scales multiply, which over-saturates: it is for networks trained
    with `isd_core.guidance.ConditionDropout`.
    """

    scale: float
    null: Mapping[str, float]

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        def guided(x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
            F, F_null = net(*stack([(x, t, s, cond), (x, t, s, without(cond, self.null))])).chunk(2)
            return F_null + self.scale * (F - F_null)

        return self.sampler(guided, z, nfe, cond)


@dataclass(frozen=True)
class ConditionedSampler(WrappedSampler):
    """A sampler whose network gets further conditions, the same for every row, such as the guidance interval.

    trained: the guidance that the network was trained with, which says what a jump is told of them (`Guidance.told`).
    """

    inputs: Mapping[str, float]
    trained: Guidance | None = None

    def __call__(self, net: VelocityNet, z: Tensor, nfe: int, cond: Cond) -> Tensor:
        given = {key: torch.full((len(z),), value, device=z.device) for key, value in self.inputs.items()}
        if self.trained is None:
            return self.sampler(net, z, nfe, cond | given)
        told = self.trained.told
        return self.sampler(lambda x, t, s, cond: net(x, t, s, told(cond, t)), z, nfe, cond | given)


def with_inputs(
    sampler: Sampler, inputs: Mapping[str, float | None], net: nn.Module, trained: Guidance | None = None
) -> Sampler:
    """`sampler` with the inputs that are not None; `InputError` for those that `net` does not take.

    trained: the guidance that the network was trained with, None where that is unknown.
    """
    given = {key: value for key, value in inputs.items() if value is not None}
    if unknown := given.keys() - set(getattr(net, "inputs", ())):
        raise InputError(f"The network {type(net).__name__} takes no {', '.join(sorted(unknown))}: leave them null.")
    return ConditionedSampler(sampler, given, trained) if given else sampler


def with_guidance(sampler: Sampler, cfg_scale: float, trained: Guidance | None) -> Sampler:
    """`sampler` with guidance of the given scale at sampling, 1 for none.

    trained: the guidance that the network was trained with, None where that is unknown. A line on stderr says so when
    it is in the weights already. Raises `InputError` for a network that never saw rows without condition.
    """
    if cfg_scale == 1:
        return sampler
    if not math.isfinite(cfg_scale):
        raise InputError(f"cfg_scale={cfg_scale} is no guidance scale; expected a number, 1 for none.")
    if trained is None:
        raise InputError(
            f"cfg_scale={cfg_scale:g}: what lies there does not say how it was trained; give the checkpoint itself."
        )
    if not trained.learned_null:
        raise InputError(
            f"cfg_scale={cfg_scale:g}: this network never saw a row without condition ({type(trained).__name__} in "
            "training), so it cannot be guided. Train it with guidance=post, or leave cfg_scale at 1."
        )
    if trained.in_weights:
        print(
            f"cfg_scale={cfg_scale:g}: this network was trained with {type(trained).__name__}, so its guidance is in "
            "its weights and the two scales multiply: good training and bad samples are the sign of it. Leave "
            "cfg_scale at 1.",
            file=sys.stderr,
        )
    return PostCFG(sampler, cfg_scale, trained.learned_null)
