"""The method on any tensor and any network: `isd_core.fit`, and presets."""

import pytest
import torch
from torch import nn

import isd_core
import isd_image
from isd_core.presets import config_from
from isd_core.support.errors import InputError
from isd_core.training.trainer import Trainer


class Net(nn.Module):
    """F(x; t, s), optionally with a label."""

    def __init__(self, labels=0):
        super().__init__()
        torch.manual_seed(0)
        self.labels = labels
        self.body = nn.Sequential(nn.Linear(4 + labels, 32), nn.SiLU(), nn.Linear(32, 2))

    def forward(self, x, t, s):
        return self.body(torch.cat([x, t[:, None], s[:, None]], dim=1))


class Labelled(Net):
    def forward(self, x, t, s, cond):
        one_hot = nn.functional.one_hot(cond["label"], self.labels).float()
        return self.body(torch.cat([x, t[:, None], s[:, None], one_hot], dim=1))


def test_any_network_is_fitted_to_any_tensor():
    """After 300 steps the one-step samples have the data's mean and spread, in the data's units."""
    data = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0]) + 10
    flow = isd_core.fit(Net(), data, objective=isd_core.isd(path="linear", times="logit_normal_pair"), steps=300)
    x = flow.sample(2000, nfe=1)
    assert x.shape == (2000, 2)
    torch.testing.assert_close(x.mean(dim=0), data.mean(dim=0), atol=0.5, rtol=0)
    assert x.std(dim=0)[0] > 1.8 * x.std(dim=0)[1]
    torch.testing.assert_close(flow.sample(3, nfe=2, seed=1), flow.sample(3, nfe=2, seed=1), atol=0, rtol=0)


def test_conditioning_reaches_the_network():
    labels = torch.arange(1000) % 2
    data = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) * 0.1 + 4.0 * labels[:, None]
    flow = isd_core.fit(Labelled(2), data, cond={"label": labels}, objective="flow_matching", steps=400)
    zeros = flow.sample(200, nfe=10, cond={"label": torch.zeros(200, dtype=torch.long)}).mean()
    ones = flow.sample(200, nfe=10, cond={"label": torch.ones(200, dtype=torch.long)}).mean()
    assert ones - zeros > 2


def test_a_fit_with_a_folder_resumes_and_one_without_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = torch.randn(64, 2)
    isd_core.fit(Net(), data, steps=2)
    assert not list(tmp_path.iterdir())
    isd_core.fit(Net(), data, steps=2, run_dir="run")
    isd_core.fit(Net(), data, steps=4, run_dir="run")
    assert isd_core.Flow and (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize(
    "data, settings, message",
    [
        (torch.zeros(0, 2), {}, "expected"),
        (torch.zeros(4), {}, "expected"),
        (torch.full((4, 2), torch.nan), {}, "not finite"),
        (torch.randn(4, 2), {"cond": {"label": torch.zeros(3)}}, "has 3 rows, data has 4"),
        (torch.randn(4, 2), {"steps": 0}, "steps"),
        (torch.randn(4, 2), {"objective": "ddpm"}, "for policy models alone"),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, settings, message):
    import isd_policy.build  # noqa: F401  registers ddpm

    with pytest.raises(InputError, match=message):
        isd_core.fit(Net(), data, **settings)


def test_presets_are_the_command_lines_choices():
    written = config_from("core_fit", {"objective": isd_core.isd(path="trigonometric", diagonal=2.0)})
    assert written["path"]["type"] == "trigonometric" and written["objective"]["diagonal"] == 2.0
    assert isd_image.pre(2.5).settings() == {"guidance": "pre", "guidance.omega": 2.5}
    with pytest.raises(InputError, match="given twice"):
        isd_image.pre(2.5, omega=3.0)
    with pytest.raises(InputError, match="at most 2 values"):
        isd_image.pre(1.0, 2.0, 3.0)


def test_a_program_does_not_go_on_with_half_a_training(tmp_path, monkeypatch):
    """What SIGTERM and Ctrl-C do after a step: the training ends, saved, and so does the call."""
    step = Trainer.train_step

    def stopping(self):
        self.stop()
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stopping)
        with pytest.raises(KeyboardInterrupt, match="stopped at step 1 of 3"):
            isd_core.fit(Net(), torch.randn(64, 2), steps=3, run_dir=tmp_path)
    assert isd_core.fit(Net(), torch.randn(64, 2), steps=3, run_dir=tmp_path).sample(2).shape == (2, 2)
