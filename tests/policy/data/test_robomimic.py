import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isd_core.support.errors import InputError
from isd_policy.data import read
from isd_policy.data.reader import ReadOptions
from isd_policy.data.robomimic import Robomimic
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons

KEYS = ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


def read_robomimic(path, keys, **options):
    return Robomimic().read(Path(path), ReadOptions(tuple(keys), **options))


@pytest.fixture
def edit(demo_file):
    """Opens the file of demonstrations for a change and returns its path."""

    def apply(change):
        with h5py.File(demo_file, "r+") as file:
            change(file)
        return demo_file

    return apply


def replace(file, key, value):
    del file[key]
    file[key] = value


def refuse(path, match, **options):
    with pytest.raises(InputError, match=match) as caught:
        read_robomimic(path, KEYS, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_values_come_as_they_are_in_the_file(demo_file):
    data = read(demo_file, {"observation_keys": list(KEYS)})
    with h5py.File(demo_file) as file:
        actions = np.concatenate([file[f"data/demo_{i}/actions"][()] for i in range(3)])
        positions = np.concatenate([file[f"data/demo_{i}/obs/robot0_eef_pos"][()] for i in range(3)])
    np.testing.assert_allclose(data.actions, actions, rtol=1e-6)
    np.testing.assert_allclose(data.observations["robot0_eef_pos"], positions, rtol=1e-6)


def test_description(demo_file, sizes):
    data = read_robomimic(demo_file, KEYS)
    assert data.schema.shapes == {key: (size,) for key, size in sizes.items()}
    assert data.lengths.tolist() == [12, 20, 30]
    assert data.env_args["env_name"] == "Lift"


def test_demonstrations_are_in_the_order_of_their_numbers(write_demos):
    path = write_demos(lengths=[2] * 11)
    assert read_robomimic(path, KEYS).names == tuple(f"demo_{i}" for i in range(11))


def test_filter_key_chooses_demonstrations(write_demos):
    path = write_demos(masks={"train": ["demo_2", "demo_0"]})
    assert read_robomimic(path, KEYS, filter_key="train").names == ("demo_0", "demo_2")


def test_one_number_a_step_may_be_a_vector(edit):
    path = edit(
        lambda file: [replace(file, f"data/demo_{i}/obs/object", np.zeros(n)) for i, n in enumerate((12, 20, 30))]
    )
    assert read_robomimic(path, KEYS).schema.shapes["object"] == (1,)


def test_action_key_chooses_the_actions(edit):
    path = edit(
        lambda file: [
            file[f"data/demo_{i}"].create_dataset("actions_abs", data=np.zeros((n, 10)))
            for i, n in enumerate((12, 20, 30))
        ]
    )
    assert read_robomimic(path, KEYS, action_key="actions_abs").actions.shape == (62, 10)


def test_no_file(tmp_path):
    refuse(tmp_path / "absent.hdf5", "There is no file")


def test_no_hdf5(tmp_path):
    path = tmp_path / "text.hdf5"
    path.write_text("not at all")
    refuse(path, "not an HDF5 file")


def test_truncated_file(demo_file):
    content = demo_file.read_bytes()
    demo_file.write_bytes(content[: len(content) // 2])
    refuse(demo_file, "truncated or damaged")


def test_another_layout(edit):
    refuse(edit(lambda file: file.move("data", "episodes")), "no group `data`")


def test_no_demonstrations(edit):
    def empty(file):
        for name in list(file["data"]):
            del file["data"][name]

    refuse(edit(empty), "holds no demonstrations")


def test_missing_observation_key_lists_what_there_is(edit):
    path = edit(lambda file: file.__delitem__("data/demo_1/obs/object"))
    refuse(path, "data/demo_1 has no `obs/object`; there is: robot0_eef_pos, .*dataset.observation_keys")


def test_missing_action_key(demo_file):
    refuse(
        demo_file, "data/demo_0 has no `actions_abs`; there is: actions.*dataset.action_key", action_key="actions_abs"
    )


def test_empty_demonstration(edit):
    path = edit(lambda file: replace(file, "data/demo_1/actions", np.zeros((0, 7))))
    refuse(path, "data/demo_1/actions is empty")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_number_that_is_not_finite(edit, bad):
    path = edit(lambda file: file["data/demo_2/obs/robot0_eef_pos"].__setitem__((4, 1), bad))
    refuse(path, r"data/demo_2/obs/robot0_eef_pos holds (nan|inf) at step 4, column 1")


def test_observations_of_another_length(edit):
    path = edit(lambda file: replace(file, "data/demo_1/obs/object", np.zeros((19, 10))))
    refuse(path, "data/demo_1/obs/object has 19 steps and actions has 20")


def test_actions_of_another_length_than_stated(edit):
    path = edit(lambda file: replace(file, "data/demo_1/actions", np.zeros((7, 7))))
    refuse(path, "num_samples = 20, but its actions have 7 steps")


def test_sizes_that_differ_between_demonstrations(edit):
    path = edit(lambda file: replace(file, "data/demo_2/obs/object", np.zeros((30, 14))))
    refuse(path, r"`object` has shape \[10\] a step in demo_0 and \[14\] in demo_2")


def test_pictures_that_are_not_bytes(edit):
    path = edit(
        lambda file: [
            replace(file, f"data/demo_{i}/obs/object", np.zeros((n, 8, 8, 3))) for i, n in enumerate((12, 20, 30))
        ]
    )
    refuse(path, r"shape \(12, 8, 8, 3\) and type float64.*pictures of bytes")


def with_pictures(edit, name="front_image"):
    """The file with random pictures [8, 6, 3] in each demonstration."""
    rng = np.random.default_rng(1)

    def add(file):
        for i, n in enumerate((12, 20, 30)):
            file[f"data/demo_{i}/obs/{name}"] = rng.integers(0, 256, (n, 8, 6, 3), np.uint8)

    return edit(add)


def test_pictures_on_disk_are_those_in_memory(edit):
    path, keys = with_pictures(edit), ("front_image", "object")
    held, stored = (ActionChunks(read_robomimic(path, keys, pictures=p), Horizons()) for p in ("memory", "disk"))
    everything = torch.arange(len(held))
    first, second = held.batch(everything)["obs"], stored.batch(everything)["obs"]
    assert first["front_image"].shape == (len(held), 2, 8, 6, 3)
    assert first["front_image"].dtype == torch.uint8
    assert all(torch.equal(first[key], second[key]) for key in keys)


def test_pictures_are_those_of_their_steps(edit):
    path = with_pictures(edit)
    data = read_robomimic(path, ("front_image",))
    with h5py.File(path) as file:
        expected = np.concatenate([file[f"data/demo_{i}/obs/front_image"][()] for i in range(3)])
    assert np.array_equal(np.asarray(data.observations["front_image"]), expected)
    assert data.schema.pictures == ("front_image",)


def test_an_unknown_place_for_pictures(edit):
    path = with_pictures(edit)
    with pytest.raises(InputError, match="known: auto, memory, disk"):
        read_robomimic(path, ("front_image",), pictures="cloud")


def test_unknown_filter_key_lists_the_known(write_demos):
    path = write_demos(masks={"train": ["demo_0"], "valid": ["demo_1"]})
    refuse(path, r"no filter key `better`.*it has: train, valid", filter_key="better")


def test_empty_mask(write_demos):
    refuse(write_demos(masks={"train": []}), "lists no demonstration", filter_key="train")


def test_mask_of_an_absent_demonstration(write_demos):
    path = write_demos(masks={"train": ["demo_7"]})
    refuse(path, "lists `demo_7`, which is not under `data`", filter_key="train")


def test_env_args_that_are_missing(edit):
    """No environment is named: demonstrations of one's own."""
    path = edit(lambda file: file["data"].attrs.__delitem__("env_args"))
    assert read_robomimic(path, KEYS).env_args is None


def test_all_observations_unless_some_are_asked_for(demo_file, sizes):
    assert read(demo_file, {}).schema.shapes == {key: (size,) for key, size in sorted(sizes.items())}


def test_states_alone_show_nothing(edit):
    def bare(file):
        for demo in file["data"].values():
            del demo["obs"]

    with pytest.raises(InputError, match=r"a recording of states alone\. isd_envs\.observe"):
        read(edit(bare), {})


def test_env_args_that_are_not_json(edit):
    path = edit(lambda file: file["data"].attrs.__setitem__("env_args", "{"))
    refuse(path, "not the JSON that robomimic writes")


@pytest.mark.parametrize("keys", [[], "object"])
def test_observation_keys_are_a_list(demo_file, keys):
    with pytest.raises(InputError, match="expected a list of at least one key"):
        read(demo_file, {"observation_keys": keys})


@pytest.mark.robomimic
def test_windows_hold_what_robomimic_s_own_loader_gives(demo_file):
    """It pads the same sequences, one for each step of an episode; ours are those that Diffusion Policy keeps."""
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset

    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": list(KEYS)}})
    theirs = SequenceDataset(
        hdf5_path=str(demo_file),
        obs_keys=KEYS,
        dataset_keys=("actions",),
        frame_stack=2,
        seq_length=15,
        pad_frame_stack=True,
        pad_seq_length=True,
        load_next_obs=False,
    )
    ours = ActionChunks(read_robomimic(demo_file, KEYS), Horizons())
    batch = ours.batch(torch.arange(len(ours)))
    first_step, window = 0, 0
    for length in (12, 20, 30):
        for step in range(length - 15 + 8):
            sample = theirs[first_step + step]
            np.testing.assert_allclose(batch["action"][window, 1:], sample["actions"][1:], rtol=1e-6)
            np.testing.assert_allclose(batch["obs"]["object"][window], sample["obs"]["object"][:2], rtol=1e-6)
            window += 1
        first_step += length
    assert window == len(ours)


def test_a_file_exchanged_for_one_with_links_is_refused_when_it_is_read(edit, tmp_path):
    """Pictures on disk are read for days after the file was opened first."""
    path = with_pictures(edit)
    data = read_robomimic(path, ("front_image",), pictures="disk")
    shutil.copy(path, tmp_path / "other.hdf5")
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/front_image"]
        file["data/demo_1/obs/front_image"] = h5py.ExternalLink("other.hdf5", "data/demo_1/obs/front_image")
    assert data.observations["front_image"][np.array([[0, 1]])].shape == (1, 2, 8, 6, 3)
    with pytest.raises(InputError, match=r"link to other\.hdf5.*external=true"):
        data.observations["front_image"][np.array([[14, 15]])]


def test_pictures_that_are_gone_are_named(edit):
    path = with_pictures(edit)
    data = read_robomimic(path, ("front_image",), pictures="disk")
    with h5py.File(path, "r+") as file:
        del file["data/demo_1/obs/front_image"]
    with pytest.raises(InputError, match="data/demo_1/obs/front_image is gone"):
        data.observations["front_image"][np.array([[14, 15]])]
