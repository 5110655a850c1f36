"""Between LeRobot's features and the observations of a policy."""

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.deploy.pretrained.features import inputs_of, inputs_of_features, observations, shapes_of_features
from isd_policy.observations import ObservationSchema

SCHEMA = ObservationSchema({"place": (2,), "angle": (1,), "top": (4, 6, 3)})


def test_bytes_of_a_picture_come_back_exactly():
    """LeRobot gives them as float32 shares of 1, the colours first."""
    picture = torch.arange(2 * 4 * 6 * 3).remainder(256).to(torch.uint8).reshape(2, 4, 6, 3)
    schema = ObservationSchema({"top": (4, 6, 3)})
    batch = {"observation.images.top": picture.movedim(-1, -3).float() / 255}
    torch.testing.assert_close(observations(batch, inputs_of(schema), schema)["top"], picture)
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    schema = ObservationSchema({"top": (16, 16, 3)})
    batch = {"observation.images.top": every.movedim(-1, -3).float() / 255}
    torch.testing.assert_close(observations(batch, inputs_of(schema), schema)["top"], every)


def test_joined_numbers_are_told_apart():
    batch = {
        "observation.state": torch.arange(12.0).reshape(2, 2, 3),
        "observation.images.top": torch.zeros(2, 2, 3, 4, 6),
    }
    obs = observations(batch, inputs_of(SCHEMA), SCHEMA, steps=2)
    assert obs["place"].tolist() == [[[0, 1], [3, 4]], [[6, 7], [9, 10]]]
    assert obs["angle"].tolist() == [[[2], [5]], [[8], [11]]]
    assert obs["top"].shape == (2, 2, 4, 6, 3)


def test_a_single_number_and_a_single_step_have_their_axes():
    """LeRobot leaves both out: [B] for one number, [B, 3, H, W] for one step."""
    schema = ObservationSchema({"state": (1,), "top": (4, 6, 3)})
    batch = {"observation.state": torch.arange(3.0), "observation.images.top": torch.zeros(3, 3, 4, 6)}
    obs = observations(batch, inputs_of(schema), schema, steps=1)
    assert (obs["state"].shape, obs["top"].shape) == ((3, 1, 1), (3, 1, 4, 6, 3))


def test_what_is_absent_or_of_another_size_is_named():
    inputs = inputs_of(SCHEMA)
    with pytest.raises(InputError, match=r"no `observation.images.top`, which the policy sees; there is: observation"):
        observations({"observation.state": torch.zeros(2, 3)}, inputs, SCHEMA)
    with pytest.raises(InputError, match=r"`observation.state` has the shape \[2, 4\]; the policy expects \[2, 3\]"):
        observations({"observation.state": torch.zeros(2, 4)}, inputs, SCHEMA)
    turned = {"observation.state": torch.zeros(2, 3), "observation.images.top": torch.zeros(2, 4, 6, 3)}
    with pytest.raises(InputError, match=r"observation\.images\.top"):
        observations(turned, inputs, SCHEMA)


def test_new_policies_have_lerobots_names():
    features = {"observation.state": (2,), "observation.images.wrist.left": (3, 4, 6), "observation.grip": ()}
    inputs = inputs_of_features(features)
    assert inputs == {
        "observation.state": ["state"],
        "observation.images.wrist.left": ["wrist_left"],
        "observation.grip": ["grip"],
    }
    assert shapes_of_features(features, inputs) == {"state": [2], "wrist_left": [4, 6, 3], "grip": [1]}
    with pytest.raises(InputError, match="has the name of another"):
        inputs_of_features({"observation.top": (1,), "observation.images.top": (3, 4, 6)})
    with pytest.raises(InputError, match=r"next.reward is no observation"):
        inputs_of_features({"next.reward": (1,)})


def test_a_picture_joins_nothing():
    with pytest.raises(InputError, match="would join the picture `top`"):
        inputs_of(SCHEMA, {"observation.state": ["place", "angle", "top"]})


def test_the_names_are_those_of_the_writer(tmp_path):
    pytest.importorskip("pyarrow", reason="the lerobot-data extra is not installed")
    import isd_policy
    from isd_policy.data.lerobot.layout import Layout
    from isd_policy.data.lerobot.writer import write

    for keys in (("place", "angle"), ("state", "angle")):
        demos = isd_policy.Demonstrations.from_arrays(
            observations={keys[0]: np.random.rand(8, 2), keys[1]: np.random.rand(8, 1)},
            actions=np.random.rand(8, 2),
            episode_ends=[8],
            rate=10,
        )
        write(tmp_path / keys[0], demos, task="Push.")
        written = {name for name in Layout.open(tmp_path / keys[0]).features if name.startswith("observation")}
        assert written == set(inputs_of(demos.schema))
