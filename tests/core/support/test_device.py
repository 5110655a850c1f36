"""Devices by name; what is done for mps, shown on the CPU: torch's functions for it are replaced."""

import pytest
import torch
from torch.testing import assert_close

from isd_core.paths import Linear
from isd_core.support import seeds
from isd_core.support.device import in_float64, pick_device
from isd_core.support.errors import InputError
from isd_core.times import LogitNormalGap
from tests.core.training.test_host_waits import trainer


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has mps")
def test_mps_is_refused_where_it_is_not():
    with pytest.raises(InputError, match="device=mps cannot be used here"):
        pick_device("mps")


class Metal:
    """A generator that says it is on mps and draws on the CPU."""

    device = torch.device("mps")


def test_numbers_are_drawn_in_float32_and_widened_where_there_is_no_float64():
    asked = []

    def draw(n, generator, device, dtype=None):
        asked.append((device.type, dtype))
        return torch.rand(n)

    found = in_float64(draw, 5, Metal())
    assert asked == [("mps", None)] and found.dtype == torch.float64 and found.shape == (5,)


def test_elsewhere_they_are_drawn_in_float64(rng):
    again = torch.Generator().manual_seed(0)
    assert_close(in_float64(torch.randn, 5, rng), torch.randn(5, generator=again, dtype=torch.float64), atol=0, rtol=0)
    t, s = LogitNormalGap().sample(64, Linear(), rng, 0)
    assert t.dtype == s.dtype == torch.float32


def test_dropout_on_mps_starts_at_the_seed_and_its_generator_is_put_back(monkeypatch):
    said = []
    monkeypatch.setattr(torch.mps, "get_rng_state", lambda: "before")
    monkeypatch.setattr(torch.mps, "manual_seed", lambda seed: said.append(seed))
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda state: said.append(state))
    with pytest.raises(KeyError), seeds.forked(7, torch.device("mps")):
        raise KeyError
    assert said == [7, "before"]


def test_other_precisions_are_refused_on_mps(tmp_path, monkeypatch):
    monkeypatch.setattr("isd_core.training.trainer.pick_device", lambda name: torch.device("mps"))
    with pytest.raises(InputError, match=r"precision=bfloat16 is not made on trainer\.device=mps"):
        trainer(tmp_path, device="mps", precision="bfloat16")
