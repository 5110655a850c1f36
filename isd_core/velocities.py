"""Where an objective takes a velocity from: the data, the network's own diagonal, an average of it, a teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from isd_core.dropout import without_keys
from isd_core.network import Cond, VelocityNet
from isd_core.paths import Path
from isd_core.points import Points
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.registry import build, register, role
from isd_core.training import heads
from isd_core.training.checkpoint import load
from isd_core.training.ema import ConstantDecay, DecayLaw


@role("velocity", "velocities")
class Velocity(ABC):
    """A source of velocities at the drawn points and where a map arrives, [n, ...], without gradient.

    own: it is the network's own diagonal; self_taught: it knows of the data only what the network learns of them.
    """

    own: bool = False
    self_taught: bool = False

    @abstractmethod
    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        """The velocity at (x_t, t); F_tt is F(x_t; t, t) for sources that are the network's own."""
        ...

    @abstractmethod
    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The velocity at any (x, t)."""
        ...

    def network(self, net: VelocityNet) -> VelocityNet:
        """The whole map, not the diagonal alone, without gradient; net: the network in training."""
        raise TypeError(f"{type(self).__name__} is no network")

    def frozen(self) -> list[nn.Module]:
        """The networks that it asks and that nothing trains."""
        return []


@register("velocity", "conditional")
@dataclass(frozen=True)
class Conditional(Velocity):
    """v_t = alpha' x + sigma' z, guided if the objective is: known at the drawn points alone."""

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        return at.v

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        raise TypeError("the conditional velocity is known at the drawn points alone")


@register("velocity", "own_diagonal")
@dataclass(frozen=True)
class OwnDiagonal(Velocity):
    """sg F(x; t, t): self-distillation."""

    own = self_taught = True

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        assert F_tt is not None
        return F_tt

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        with torch.no_grad():
            return net(x, t, t, cond)

    def network(self, net: VelocityNet) -> VelocityNet:
        return without_gradient(net)


def without_gradient(net: VelocityNet) -> VelocityNet:
    """`net`, asked without gradient."""

    def ask(x: Tensor, t: Tensor, s: Tensor, cond: Cond) -> Tensor:
        with torch.no_grad():
            return net(x, t, s, cond)

    return ask


class OtherNetwork(Velocity):
    """The diagonal of a network beside the one in training, which no gradient reaches."""

    @abstractmethod
    def other(self) -> VelocityNet:
        """That network."""
        ...

    def at_points(self, at: Points, F_tt: Tensor | None) -> Tensor:
        return self.at(self.other(), at.x_t, at.t, at.cond)

    def at(self, net: VelocityNet, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return self.network(net)(x, t, t, cond)

    def network(self, net: VelocityNet) -> VelocityNet:
        other = self.other()
        return without_gradient(lambda x, t, s, cond: other(x, t, s, without_keys(cond)))

    def frozen(self) -> list[nn.Module]:
        other = self.other()
        return [other] if isinstance(other, nn.Module) else []


@dataclass(frozen=True)
class Teacher(OtherNetwork):
    """The diagonal of another network, frozen: distillation."""

    net: VelocityNet

    def other(self) -> VelocityNet:
        return self.net


@register("velocity", "averaged")
@dataclass(frozen=True)
class Averaged(OtherNetwork):
    """The diagonal of an average of the run's own weights: a teacher that follows the network (Terminal Velocity
    Matching, shortcut models, CTM).

    decay: the law of the average. The loss module holds the averaged network and the trainer moves it after each
    update; elsewhere `hold` gives one.
    """

    decay: DecayLaw = field(default_factory=lambda: ConstantDecay(0.99))
    held: list[VelocityNet] = field(default_factory=list, init=False, repr=False, compare=False)

    self_taught = True

    def hold(self, net: VelocityNet) -> None:
        """Takes the network that it asks from now on."""
        self.held[:] = [net]

    def other(self) -> VelocityNet:
        if not self.held:
            raise RuntimeError("an averaged velocity has no network yet: the trainer gives it one, or `hold`")
        return self.held[0]

    def frozen(self) -> list[nn.Module]:
        return [net for net in self.held if isinstance(net, nn.Module)]


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
