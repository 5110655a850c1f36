"""The config and the scales of a policy that LeRobot trains."""

import numpy as np
import pytest
import torch

import isd_policy
from isd_core.support.errors import InputError
from isd_policy.build import build_policy, fit_normaliser
from isd_policy.deploy.pretrained.features import inputs_of_features
from isd_policy.deploy.pretrained.fresh import blank_normaliser, complete, config_of
from isd_policy.horizons import Horizons

SMALL = ["network=unet1d_small", "network.widths=[8,16]"]
FEATURES = {"observation.state": (3,), "observation.images.top": (3, 16, 16)}
NAMES = {"observation.state": ["a", "b", "c"], "action": {"motors": ["a", "b"]}, "observation.images.top": ["height"]}


@pytest.fixture
def demos():
    """The second number of the actions never changes."""
    rng = np.random.default_rng(0)
    return isd_policy.Demonstrations.from_arrays(
        observations={"state": rng.normal(size=(20, 3)), "top": rng.integers(0, 256, (20, 16, 16, 3), np.uint8)},
        actions=np.stack([rng.normal(size=20), np.full(20, 0.5)], axis=1),
        episode_ends=[20],
        rate=10,
    )


@pytest.fixture
def statistics(demos):
    """As LeRobot has them."""
    rows = {"observation.state": demos.observations["state"], "action": demos.actions}
    return {name: {"min": values.min(0), "max": torch.from_numpy(values.max(0))} for name, values in rows.items()}


def completed(statistics, *settings, **changed):
    given = {"data": "set", "seed": 3, "rate": 10.0, "names": NAMES} | changed
    return complete(
        config_of([*SMALL, *settings], Horizons()), inputs_of_features(FEATURES), FEATURES, statistics, **given
    )


def test_the_scales_are_those_of_our_own_training(demos, statistics):
    config, normaliser = completed(statistics)
    ours = fit_normaliser(demos, build_policy(config, normaliser).actions)
    for key, value in ours.state_dict().items():
        torch.testing.assert_close(normaliser.state_dict()[key], value, rtol=0, atol=0)


def test_the_schema_says_what_the_data_decide(statistics):
    schema = completed(statistics)[0]["schema"]
    assert schema["observations"] == {"state": [3], "top": [16, 16, 3]}
    assert (schema["action"], schema["constant"], schema["rate"]) == (2, [1], 10.0)
    assert schema["labels"] == {"state": ["a", "b", "c"], "actions": ["a", "b"]}


def test_names_that_are_not_as_many_are_left_out(statistics):
    schema = completed(statistics, names={"action": ["only one"], "observation.state": None})[0]["schema"]
    assert "labels" not in schema


def test_scales_to_be_loaded_have_the_sizes_of_the_saved_ones(statistics):
    config, normaliser = completed(statistics)
    saved = build_policy(config, normaliser)
    loaded = build_policy(config, blank_normaliser(config))
    loaded.load_state_dict(saved.state_dict())
    assert loaded.action_size == saved.action_size == 1
    chunk = torch.zeros(1, 16, 1)
    torch.testing.assert_close(loaded.robot_actions(chunk), saved.robot_actions(chunk))


def test_the_horizons_and_the_settings_are_in_the_config():
    config = config_of([*SMALL, "objective=meanflow", "trainer.optimizer.lr=0.5"], Horizons(1, 8, 4))
    assert config["horizons"] == {"observation": 1, "prediction": 8, "execution": 4}
    assert (config["network"]["widths"], config["trainer"]["optimizer"]["lr"]) == ([8, 16], 0.5)
    assert config["task"]["name"] == "own"


@pytest.mark.parametrize(
    "word", ["trainer.steps=5", "trainer=demo", "horizons.execution=4", "task=lift", "seed=1", "actions=absolute"]
)
def test_a_setting_that_nothing_would_read_is_refused(word):
    with pytest.raises(InputError, match=f"`{word}` would do nothing here"):
        config_of([word], Horizons())


def test_a_setting_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="widht"):
        config_of(["network.widht=3"], Horizons())


def test_missing_statistics_are_named(statistics):
    del statistics["action"]["max"]
    with pytest.raises(InputError, match="no statistics `max` of action"):
        completed(statistics)
