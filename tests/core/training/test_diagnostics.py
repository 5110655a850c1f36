import pytest
import torch

from isd_core.closed_form import Gaussian
from isd_core.guidance import PreCFG
from isd_core.objectives.base import LossOut
from isd_core.objectives.eulerian import Eulerian
from isd_core.objectives.flow_matching import FlowMatching
from isd_core.objectives.semigroup import Semigroup
from isd_core.paths import Linear
from isd_core.times import Diagonal, Dyadic, FixedEnd
from isd_core.training.diagnostics import Watch, Window, estimates
from isd_core.velocities import Conditional


def estimate(net, objective):
    rng = torch.Generator().manual_seed(0)
    return estimates(objective, net, 0.5 * torch.randn(64, 2, generator=rng), {}, rng, 0)


def test_the_estimate_of_l_ed_vanishes_at_the_truth_and_not_beside_it():
    truth = Gaussian(Linear(), std=0.5)
    wrong = lambda x, t, s, cond: truth(x, t, s) + 0.3 * (t - s)[:, None]  # noqa: E731
    assert estimate(truth, Eulerian(Linear()))["l_ed"] < 1e-4
    assert estimate(wrong, Eulerian(Linear()))["l_ed"] > 1e-3


def test_rough_networks_have_noisy_derivatives():
    smooth = lambda x, t, s, cond: x * t[:, None]  # noqa: E731
    rough = lambda x, t, s, cond: torch.sin(400 * t)[:, None] * x  # noqa: E731
    assert estimate(smooth, Eulerian(Linear()))["derivative_noise"] < 1e-3
    assert estimate(rough, Eulerian(Linear()))["derivative_noise"] > 0.5


def test_the_share_near_the_diagonal_is_a_share():
    near = estimate(Gaussian(Linear()), Eulerian(Linear()))["near_diagonal"]
    assert 0 <= near < 0.2


def test_samples_with_the_diagonal_term_alone_are_near_the_diagonal():
    near = estimate(Gaussian(Linear()), Eulerian(Linear(), target=Conditional(), share=0.25))["near_diagonal"]
    assert 0.75 <= near < 0.85


def test_the_estimate_of_a_residuals_share_does_not_see_the_rest():
    """Shortcut: the rest of the batch has uniform times, which do not belong to the dyadic s beside them."""
    truth = Gaussian(Linear(), std=0.5)
    found = estimate(truth, Semigroup(Linear(), Dyadic(3), share=0.25, diagonal_times=Diagonal()))
    assert found["l_ed"] < 1e-4


def test_other_objectives_have_no_estimates():
    assert estimate(Gaussian(Linear()), FlowMatching(Linear())) == {}


def test_a_window_averages_and_starts_anew():
    window = Window()
    for value in (1.0, 3.0):
        window.add(LossOut(torch.tensor(value), {"flow": torch.tensor([value, value + 2])}), torch.tensor(value))
    assert window.flush() == {"loss": 2.0, "grad_norm": 2.0, "flow": 3.0}
    window.add(LossOut(torch.tensor(5.0), {}), torch.tensor(1.0))
    assert window.flush()["loss"] == 5.0


def test_a_fixed_end_is_explained_at_the_start():
    assert "seeds" in Watch(Eulerian(Linear(), FixedEnd())).at_start()[0]
    assert Watch(Eulerian(Linear())).at_start() == []


@pytest.mark.parametrize(
    "objective, bad, message",
    [
        (Eulerian(Linear()), {"loss": 30.0}, "learning rate"),
        (Eulerian(Linear(), guidance=PreCFG({"label": 1}, omega=5.0)), {"loss": 30.0}, "learning rate"),
        (Eulerian(Linear(), guidance=PreCFG({"label": 1}, omega=9.0)), {"loss": 30.0}, "omega=9"),
        (Eulerian(Linear(), stop_gradient="spatial"), {"grad_norm": 500.0}, "stop_gradient=full"),
        (Eulerian(Linear()), {"grad_norm": 500.0}, "too high a learning rate"),
    ],
)
def test_signs_of_failure_are_explained_once(objective, bad, message):
    watch = Watch(objective)
    good = {"step": 100, "loss": 1.0, "grad_norm": 1.0}
    assert watch(good) == watch(good) == []
    (line,) = watch({**good, "step": 200, **bad})
    assert message in line
    assert line.startswith("step 200")
    assert watch({**good, "step": 300, **bad}) == []
