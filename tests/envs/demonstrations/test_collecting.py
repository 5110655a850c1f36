import h5py
import numpy as np
import pytest
import toy_environments as toys

from isd_core.support.errors import InputError
from isd_envs.demonstrations.collecting import collect
from isd_envs.demonstrations.recordings import load_recording, start_of
from isd_envs.engines.factory import make_engine
from isd_envs.engines.gym.spec import GymSpec, spec_of_factory
from isd_policy.data import read


def expert(observation):
    return toys.towards_goal(observation["state"])


def test_the_demonstrations_of_a_function_succeed_again_from_their_starts(tmp_path) -> None:
    spec = GymSpec("toys/Reach-v0", {"radius": 0.3})
    tried = collect(spec, expert, 5, 3, tmp_path / "demos.hdf5")
    recording = load_recording(tmp_path / "demos.hdf5")
    engine = make_engine(recording.spec)
    assert tried == 5
    assert recording.spec == spec
    for episode in recording.episodes:
        engine.reset_to(start_of(recording, episode, engine))
        chunk = engine.run(episode.actions)
        assert (chunk.steps, bool(chunk.success[-1])) == (len(episode.actions), True)


def test_a_policy_can_be_trained_on_the_file(tmp_path) -> None:
    collect(GymSpec("toy_reach"), expert, 4, 0, tmp_path / "demos.hdf5", valid_fraction=0.25)
    demonstrations = read(tmp_path / "demos.hdf5", {"observation_keys": ["state"], "action_key": "actions"})
    assert len(demonstrations) == 4
    assert demonstrations.env_args == GymSpec("toy_reach").env_args
    assert demonstrations.schema.shapes == {"state": (4,)}
    first = next(iter(np.split(demonstrations.observations["state"][np.arange(8)], 2)))
    np.testing.assert_allclose(toys.towards_goal(first[0]), demonstrations.actions[0], atol=1e-6)
    with h5py.File(tmp_path / "demos.hdf5") as file:
        assert len(file["mask/valid"]) == 1


def test_failures_are_left_out_and_a_policy_is_told_where_an_episode_begins(tmp_path) -> None:
    begun = []

    def lazy_every_other_time(observation):
        return expert(observation) if len(begun) % 2 else np.zeros(2)

    out = tmp_path / "demos.hdf5"
    tried = collect(GymSpec("toy_reach"), lazy_every_other_time, 3, 0, out, begin=lambda: begun.append(1))
    assert tried == len(begun) == 5


def test_pictures_are_written_as_bytes(tmp_path) -> None:
    spec = GymSpec("toys/PictureReach-v0", {"radius": 30.0})
    collect(spec, lambda observation: np.zeros(2), 2, 0, tmp_path / "demos.hdf5")
    with h5py.File(tmp_path / "demos.hdf5") as file:
        pictures = file["data/demo_0/obs/camera"]
        assert (pictures.shape[1:], pictures.dtype) == ((16, 16, 3), np.uint8)
        assert pictures[0].any()


def test_what_is_no_demonstration_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="50 episodes of toy_reach in a row ended without success, after 0"):
        collect(GymSpec("toy_reach", {"radius": 0.0}), expert, 1, 0, tmp_path / "demos.hdf5")
    with pytest.raises(InputError, match="does not honour its seed"):
        collect(GymSpec("toys/Unseeded-v0"), expert, 1, 0, tmp_path / "demos.hdf5")
    (tmp_path / "there.hdf5").touch()
    with pytest.raises(InputError, match="exists already"):
        collect(GymSpec("toy_reach"), expert, 1, 0, tmp_path / "there.hdf5")
    assert not (tmp_path / "demos.hdf5").exists()


def test_demonstrations_of_a_function_say_that_they_are(tmp_path) -> None:
    collect(spec_of_factory(toys.Reach), expert, 1, 0, tmp_path / "demos.hdf5")
    with pytest.raises(InputError, match="The data are of 'Reach', an environment of a function"):
        load_recording(tmp_path / "demos.hdf5")


def test_reading_such_a_file_needs_no_further_word(tmp_path) -> None:
    import isd_policy

    collect(GymSpec("toys/Reach-v0"), expert, 2, 0, tmp_path / "demos.hdf5")
    assert list(isd_policy.read(tmp_path / "demos.hdf5").observations) == ["state"]
