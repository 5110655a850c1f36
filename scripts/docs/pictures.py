"""The five pictures of docs/explanation/flow_maps.md: `python -m scripts.docs.pictures [--out DIR]`.

One-dimensional data (a mixture of two Gaussians) on the linear path, whose flow map is known in closed form.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes

from isd_core.closed_form import Mixture1D
from isd_core.paths import Linear
from scripts.support.figures import figure

ROOT = Path(__file__).resolve().parents[2]
TRUTH = Mixture1D(Linear(), means=(-1.8, 1.8), stds=(0.2, 0.2), weights=(0.5, 0.5))
POINT, BEGIN, END = 0.3, 0.92, 0.12
"""The point that jumps, and the times t and s of its jump."""
TIMES = torch.linspace(1, 0, 101, dtype=torch.float64)
STARTS = torch.linspace(-2.1, 2.1, 12, dtype=torch.float64)[:, None]
WIDE = (6.2, 3.2)


def trajectory(x: torch.Tensor, t: float = 1.0) -> torch.Tensor:
    """The flow from x [n, 1] at t to all `TIMES`, [n, 101]."""
    begin = torch.full((len(x),), t, dtype=x.dtype)
    return torch.stack([TRUTH.flow(x, begin, torch.full_like(begin, float(s)))[:, 0] for s in TIMES], dim=1)


def _frame(axes: Axes, title: str) -> None:
    axes.set(title=title, xlabel="time: noise at 1, data at 0", ylabel="x", xlim=(1.0, 0.0), ylim=(-3, 3))


def _background(axes: Axes, colour: str = "0.8") -> None:
    for line in trajectory(STARTS):
        axes.plot(TIMES, line, color=colour, linewidth=0.8, zorder=1)


def path(out: Path) -> None:
    """Straight lines between data and noise, whose crossings say that no single velocity leads along all of them."""
    rng = torch.Generator().manual_seed(0)
    x = TRUTH.sample(16, rng)
    z = torch.randn(x.shape, generator=rng, dtype=x.dtype)
    with figure(out, size=WIDE) as (axes,):
        for a, b in zip(z, x, strict=True):
            axes.plot([1, 0], [float(a), float(b)], color="C0", linewidth=0.9)
        axes.plot(np.ones(16), z, "o", color="C3", markersize=3, label="noise z")
        axes.plot(np.zeros(16), x, "o", color="C2", markersize=3, label="data x", clip_on=False)
        _frame(axes, "1  The path: x_t = (1 - t) x + t z for pairs drawn at random")
        axes.legend(loc="lower left")


def velocity(out: Path) -> None:
    """The mean of the lines through a point is the velocity there; following it never crosses."""
    grid_t, grid_x = (
        g.double() for g in torch.meshgrid(torch.linspace(0.96, 0.04, 15), torch.linspace(-2.7, 2.7, 17), indexing="ij")
    )
    v = TRUTH.velocity(grid_x.reshape(-1, 1), grid_t.reshape(-1)).reshape(grid_x.shape)
    with figure(out, size=WIDE) as (axes,):
        axes.quiver(
            grid_t, grid_x, -np.ones_like(v), -v, angles="xy", color="C0", width=0.0025, scale=34, scale_units="width"
        )
        _background(axes)
        _frame(axes, "2  The velocity v(x, t): the mean of all lines through a point")


def jump(out: Path) -> None:
    """The flow map goes from any time to any earlier one in one step."""
    t, s, x = BEGIN, END, torch.tensor([[POINT]], dtype=torch.float64)
    line = trajectory(x, t)[0]
    end = float(TRUTH.flow(x, torch.tensor([t], dtype=x.dtype), torch.tensor([s], dtype=x.dtype)))
    along = float(x) - (t - s) * float(TRUTH.velocity(x, torch.tensor([t], dtype=x.dtype)))
    with figure(out, size=WIDE) as (axes,):
        _background(axes)
        axes.plot(TIMES, line, color="C0", label="the trajectory: many small steps")
        axes.annotate("", (s, end), (t, float(x)), arrowprops={"arrowstyle": "->", "color": "C3", "linewidth": 1.6})
        axes.plot([t, s], [float(x), along], ":", color="C1", label="one step along the velocity at t")
        axes.plot(
            [t, s], [float(x), end], "o", color="C3", markersize=4, label="the jump f(x; t, s) = x - (t - s) F(x; t, s)"
        )
        _frame(axes, "3  The jump: F is the mean velocity between t and s")
        axes.legend(loc="lower left")


def identities(out: Path) -> None:
    """Three ways to move one end of a jump, and what must not change."""
    t, s, x = BEGIN, END, torch.tensor([[POINT]], dtype=torch.float64)

    def at(time: float) -> float:
        return float(TRUTH.flow(x, torch.tensor([t], dtype=x.dtype), torch.tensor([time], dtype=x.dtype)))

    with figure(out, columns=3, size=(3.4, 2.9)) as panels:
        for axes in panels:
            _background(axes)
            axes.plot(TIMES, trajectory(x, t)[0], color="C0", linewidth=0.9)
            _frame(axes, "")
        for begin, colour in ((t, "C3"), (t - 0.2, "C1"), (t - 0.4, "C1")):
            _arrow(panels[0], begin, at(begin), s, at(s), colour)
        panels[0].set_title("Eulerian: start later, land at the same place", fontsize=7)
        for end in (s, s + 0.2, s + 0.4):
            _arrow(panels[1], t, at(t), end, at(end), "C3" if end == s else "C1")
        panels[1].set_title("Lagrangian: land earlier, still on the flow", fontsize=7)
        middle = 0.5
        _arrow(panels[2], t, at(t), s, at(s), "C3")
        _arrow(panels[2], t, at(t), middle, at(middle), "C1")
        _arrow(panels[2], middle, at(middle), s, at(s), "C1")
        panels[2].set_title("Semigroup: two jumps are one", fontsize=7)


def _arrow(axes: Axes, t: float, x: float, s: float, y: float, colour: str) -> None:
    axes.annotate("", (s, y), (t, x), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.3})


def self_distillation(out: Path) -> None:
    """Where the target of a jump comes from: the network's own diagonal, frozen, whose step the jump must undo."""
    t, s, step = BEGIN, END, 0.2
    x = torch.tensor([[POINT]], dtype=torch.float64)
    time = torch.tensor([t], dtype=x.dtype)
    v = float(TRUTH.velocity(x, time))
    nearer = float(x) - step * v
    end = float(TRUTH.flow(x, time, torch.tensor([s], dtype=x.dtype)))
    with figure(out, size=WIDE) as (axes,):
        _background(axes)
        axes.annotate(
            "", (t - step, nearer), (t, float(x)), arrowprops={"arrowstyle": "->", "color": "C2", "linewidth": 2}
        )
        _arrow(axes, t, float(x), s, end, "C3")
        _arrow(axes, t - step, nearer, s, end, "C1")
        axes.text(t, float(x) + 0.2, "x_t", ha="center")
        axes.plot([], [], color="C2", label="own velocity F(x_t; t, t), without gradient")
        axes.plot([], [], color="C1", label="own jump from there: the target, without gradient")
        axes.plot([], [], color="C3", label="the jump that learns")
        _frame(axes, "5  Self-distillation: jump as if you had gone a little first")
        axes.legend(loc="lower left")


PICTURES = {"path": path, "velocity": velocity, "jump": jump, "identities": identities, "self": self_distillation}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.docs.pictures", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "media", help="folder of the pictures")
    out = parser.parse_args(arguments).out
    for name, draw in PICTURES.items():
        draw(out / f"flow_{name}.png")
        print(f"Written: {out}/flow_{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
