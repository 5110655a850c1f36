"""Where an objective takes a velocity from: the data, the network's own diagonal, a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from isd_core.dropout import without_keys
from isd_core.network import Cond, VelocityNet
from isd_core.objectives.base import Points
from isd_core.paths import Path
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.registry import build, register, role
from isd_core.training import heads
from isd_core.training.checkpoint import load


@role("velocity", "velocities")
class Velocity(ABC):
    """A source of velocities at the drawn points and where a map arrives, [n, ...], without gradient."""

    own: bool  # whether it is the network's own diagonal

    @abstractmethod
    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        """The velocity at (x_t, t); F_tt is F(x_t; t, t) for sources that are the network's own."""
        ...

    @abstractmethod
    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The velocity at any (x, t)."""
        ...

    def frozen(self) -> list[nn.Module]:
        """The networks that it asks and that nothing trains."""
        return []


@register("velocity", "conditional")
@dataclass(frozen=True)
class Conditional(Velocity):
    """v_t = alpha' x + sigma' z, guided if the objective is: known at the drawn points alone."""

    own = False

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        return at.v

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        raise TypeError("the conditional velocity is known at the drawn points alone")


@register("velocity", "own_diagonal")
@dataclass(frozen=True)
class OwnDiagonal(Velocity):
    """sg F(x; t, t): self-distillation."""

    own = True

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        assert F_tt is not None
        return F_tt

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        with torch.no_grad():
            return net(x, t, t, cond)


@dataclass(frozen=True)
class Teacher(Velocity):
    """The diagonal of another network, frozen: distillation."""

    net: VelocityNet

    own = False

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        return self.at(self.net, at.x_t, at.t, at.cond)

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        with torch.no_grad():
            return self.net(x, t, t, without_keys(cond))

    def frozen(self) -> list[nn.Module]:
        return [self.net] if isinstance(self.net, nn.Module) else []


@register("velocity", "teacher")
def teacher(checkpoint: str, path: Path) -> Teacher:
    """The teacher in a checkpoint (its EMA weights), which must have been trained on the same path.

    Its head is the one that the checkpoint names, as far as this program knows it.
    """
    saved = load(checkpoint)
    trained_on = build("path", saved.config["path"])
    if trained_on != path:
        raise InputError(f"The teacher {saved.path} was trained on {trained_on}, this run is on {path}: use one path.")
    with seeds.forked():
        net = heads.head_of(saved).network(saved.config)
    weights = saved.tensors("ema")
    if any(key.startswith("encoder.") for key in weights):
        raise InputError(
            f"The teacher {saved.path} reads its conditioning through an encoder that was trained with it, which a "
            "student does not share: distil from a teacher without one."
        )
    net.load_state_dict({key.removeprefix("net."): weights[key] for key in weights if key.startswith("net.")})
    return Teacher(net.eval().requires_grad_(False))
