import subprocess
import sys

import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.encoder import ObservationEncoder
from isd_policy.networks.camera import SpatialSoftmax, centre_crop, random_crop
from isd_policy.observations import ObservationSchema

STATE = ObservationSchema({"object": (10,), "eef": (3,)})
PICTURES = ObservationSchema({"front_image": (72, 80, 3), "eef": (3,), "wrist_image": (72, 72, 3)})


def pictures(n, seed=0):
    rng = torch.Generator().manual_seed(seed)
    shapes = {key: PICTURES.shapes[key] for key in PICTURES.pictures}
    return {key: torch.randint(256, (n, 2, *shape), generator=rng, dtype=torch.uint8) for key, shape in shapes.items()}


def test_state_is_passed_on_as_it_is():
    state = torch.randn(4, 2, 13)
    encoder = ObservationEncoder(STATE, 2)
    assert encoder.size == 26
    assert torch.equal(encoder(state, {}), state.flatten(1))


def test_state_through_a_network_has_its_last_width():
    encoder = ObservationEncoder(STATE, 2, widths=[8, 5])
    assert encoder.size == 5
    assert encoder(torch.randn(4, 2, 13), {}).shape == (4, 5)


def test_pictures_become_features_beside_the_numbers():
    encoder = ObservationEncoder(PICTURES, 2, crop=0.9, keypoints=4, features=6)
    state = torch.randn(3, 2, 3)
    out = encoder(state, pictures(3))
    assert out.shape == (3, encoder.size) == (3, 2 * (2 * 6 + 3))
    assert torch.equal(out.unflatten(1, (2, -1))[..., -3:], state)
    out.sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_a_row_depends_on_its_own_pictures_alone():
    encoder = ObservationEncoder(PICTURES, 2, crop=0.9, keypoints=4, features=6).eval()
    state, seen = torch.zeros(2, 2, 3), pictures(2)
    changed = {key: torch.stack([value[0], 255 - value[1]]) for key, value in seen.items()}
    torch.testing.assert_close(encoder(state, seen)[0], encoder(state, changed)[0])


def test_spatial_softmax_finds_a_bright_point():
    """One channel attended to with a large weight: the place is that of the pixel, (column, row) in [-1, 1]."""
    module = SpatialSoftmax(1, 1)
    torch.nn.init.constant_(module.attend.weight, 100.0)
    x = torch.zeros(1, 1, 5, 9)
    x[0, 0, 1, 6] = 1.0
    torch.testing.assert_close(module(x), torch.tensor([[0.5, -0.5]]), atol=1e-4, rtol=0)


def test_random_crops_are_pieces_at_one_place_a_row():
    x = torch.arange(6 * 7).view(1, 1, 6, 7, 1).expand(50, 2, 6, 7, 3)
    out = random_crop(x, (4, 4), torch.Generator().manual_seed(0))
    assert out.shape == (50, 2, 4, 4, 3)
    corner = out[:, 0, 0, 0, 0]
    rows, columns = corner // 7, corner % 7
    expected = corner[:, None, None] + 7 * torch.arange(4)[:, None] + torch.arange(4)
    assert torch.equal(out[:, 0, :, :, 0], expected)
    assert torch.equal(out[:, 0], out[:, 1])
    assert set(rows.tolist()) == {0, 1, 2}
    assert set(columns.tolist()) == {0, 1, 2, 3}


def test_the_central_crop_is_central():
    x = torch.arange(36).view(1, 1, 6, 6, 1)
    assert centre_crop(x, (2, 2)).flatten().tolist() == [14, 15, 20, 21]


def test_training_crops_and_acting_does_not():
    encoder = ObservationEncoder(PICTURES, 2, crop=0.9, keypoints=4, features=6)
    state, seen = torch.zeros(3, 2, 3), pictures(3)
    assert torch.equal(encoder(state, seen), encoder(state, seen))
    first, second = (encoder(state, seen, torch.Generator().manual_seed(k)) for k in (1, 2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("crop", [0.0, -1.0, 1.5])
def test_a_crop_that_is_no_share_is_an_input_error(crop):
    with pytest.raises(InputError, match=r"encoder\.crop"):
        ObservationEncoder(PICTURES, 2, crop=crop)


def test_a_picture_without_colour_is_an_input_error():
    with pytest.raises(InputError, match="1 channels"):
        ObservationEncoder(ObservationSchema({"depth": (72, 72, 1)}), 2)


def test_numbers_alone_need_no_torchvision():
    code = "import sys; sys.modules['torchvision'] = None; from isd_policy.encoder import ObservationEncoder as E; "
    code += "from isd_policy.observations import ObservationSchema as S; print(E(S({'a': (3,)}), 2).size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "6"


def test_a_picture_that_is_not_bytes_is_an_input_error():
    obs = {"front_image": np.zeros((72, 80, 3)), "eef": np.zeros(3), "wrist_image": np.zeros((72, 72, 3), np.uint8)}
    with pytest.raises(InputError, match="uint8"):
        PICTURES.row(obs)
