from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs import demos
from isd_envs.demonstrations import demo_file
from isd_envs.demonstrations.demo_file import EXPERT_ACTIONS
from isd_envs.demonstrations.experts import check_expert
from isd_envs.demonstrations.experts.one_arm import LiftExpert
from isd_envs.engines import starts
from isd_envs.engines.robosuite_engine import RobosuiteEngine
from isd_envs.engines.slot import Demonstration, EnvSlot
from isd_envs.rollouts import jobs
from isd_envs.spec import EnvSpec
from isd_envs.tasks import TASKS

EPISODES = 2
OPTIONS = {"noise": 0.05, "extra_steps": 3, "max_steps": 100, "valid_fraction": 0.5}


class Inline:
    """A pool of one env_slot that shares the session's engine."""

    slots = 1

    def __init__(self, engine: RobosuiteEngine) -> None:
        self.env_slot = EnvSlot(engine.spec)
        self.env_slot._engine = engine
        self.results: list[tuple[int, Demonstration]] = []
        self.indices: list[int] = []

    def submit(self, slot: int, method: str, *arguments: int) -> None:
        self.indices.append(arguments[1])
        self.results.append((slot, getattr(self.env_slot, method)(*arguments)))

    def collect(self) -> list[tuple[int, Demonstration]]:
        results, self.results = self.results, []
        return results

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def pool(lift: RobosuiteEngine) -> Inline:
    return Inline(lift)


@pytest.fixture(scope="module")
def made(pool: Inline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demos") / "lift.hdf5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "make_pool", lambda *_, **__: pool)
        demos.generate(EnvSpec(), EPISODES, 1, 3, out, **OPTIONS)
    return out


def test_the_layout_is_robomimics(made: Path) -> None:
    with h5py.File(made) as file:
        data = file["data"]
        env_args = json.loads(data.attrs["env_args"])
        assert (env_args["env_name"], env_args["type"]) == ("Lift", 1)
        assert data.attrs["total"] == sum(data[f"demo_{i}"].attrs["num_samples"] for i in range(EPISODES))
        for i in range(EPISODES):
            demo = data[f"demo_{i}"]
            steps = demo.attrs["num_samples"]
            assert demo["actions"].shape == (steps, 7)
            assert demo["states"].shape[0] == demo["rewards"].shape[0] == demo["dones"].shape[0] == steps
            for key, size in TASKS["lift"].observation_sizes.items():
                assert demo[f"obs/{key}"].shape == demo[f"next_obs/{key}"].shape == (steps, size)
            assert np.array_equal(demo["obs/object"][1:], demo["next_obs/object"][:-1])
            assert demo["rewards"][-1] == 1.0
            assert demo.attrs["model_file"].startswith("<mujoco")


def test_the_experts_own_actions_stand_beside_the_executed_ones(made: Path) -> None:
    with h5py.File(made) as file:
        keys = ("actions", EXPERT_ACTIONS)
        executed, meant = (np.concatenate([demo[key] for demo in file["data"].values()]) for key in keys)
    inside = np.abs(executed[:, :6]).max(axis=1) < 1  # neither was clipped
    noise = (executed - meant)[inside]
    assert np.all(noise[:, 6] == 0)
    assert 0.5 * OPTIONS["noise"] < noise[:, :6].std() < 1.5 * OPTIONS["noise"]


def test_without_noise_the_expert_does_what_it_means() -> None:
    observation = {"object": np.full(10, 0.1), "robot0_eef_pos": np.zeros(3)}
    executed, meant = LiftExpert(0.0, np.random.default_rng(0)).act(observation)
    assert np.array_equal(executed, meant)


def test_the_masks_split_the_demonstrations(made: Path) -> None:
    with h5py.File(made) as file:
        masks = {key: {name.decode() for name in file[f"mask/{key}"][:]} for key in ("train", "valid")}
    assert masks["train"] | masks["valid"] == {"demo_0", "demo_1"}
    assert len(masks["train"]) == len(masks["valid"]) == 1


def test_the_recorded_actions_lead_to_the_recorded_states(made: Path, lift: RobosuiteEngine) -> None:
    with h5py.File(made) as file:
        demo = file["data/demo_0"]
        lift.reset_to(json.loads(demo.attrs["start"]))
        chunk = lift.run(demo["actions"][:], until_success=False)
        assert all(np.array_equal(chunk.observations[key], demo[f"next_obs/{key}"][:]) for key in demo["next_obs"])


def test_the_states_are_those_of_the_observations(made: Path, lift: RobosuiteEngine) -> None:
    with h5py.File(made) as file:
        demo = file["data/demo_1"]
        fingers = demo["states"][:, 1 + 7 : 1 + 9]
        assert np.array_equal(fingers, demo["obs/robot0_gripper_qpos"][:])


def test_the_same_call_again_does_nothing(made: Path) -> None:
    assert demos.generate(EnvSpec(), EPISODES, 2, 3, made, **OPTIONS)["existed"]


def test_other_settings_do_not_overwrite_the_file(made: Path) -> None:
    with pytest.raises(InputError, match="exists and was not made with these settings"):
        demos.generate(EnvSpec(), EPISODES, 1, 4, made, **OPTIONS)


def test_a_killed_generation_continues_where_it_was(
    made: Path, pool: Inline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "again.hdf5"
    monkeypatch.setattr(jobs, "make_pool", lambda *_, **__: pool)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(demos, "_report", killed)
        with pytest.raises(KeyboardInterrupt):
            demos.generate(EnvSpec(), EPISODES, 1, 3, out, **OPTIONS)
    assert not out.exists()
    pool.indices.clear()
    demos.generate(EnvSpec(), EPISODES, 1, 3, out, **OPTIONS)
    assert pool.indices == [1]
    with h5py.File(made) as first, h5py.File(out) as second:
        for i in range(EPISODES):
            assert np.array_equal(first[f"data/demo_{i}/actions"][:], second[f"data/demo_{i}/actions"][:])
    assert not out.with_name("again.hdf5.parts").exists()


def test_a_damaged_part_is_made_again(tmp_path: Path) -> None:
    parts = demo_file.Parts(tmp_path / "x.hdf5", {"seed": 1})
    (parts.folder / "episode_000000.npz").write_bytes(b"PK cut off")
    assert parts.load() == {}
    assert not (parts.folder / "episode_000000.npz").exists()


def test_parts_of_other_settings_are_refused(tmp_path: Path) -> None:
    demo_file.Parts(tmp_path / "x.hdf5", {"seed": 1})
    with pytest.raises(InputError, match="other settings"):
        demo_file.Parts(tmp_path / "x.hdf5", {"seed": 2})


def test_a_demonstration_starts_where_no_evaluation_starts(lift: RobosuiteEngine) -> None:
    from isd_core.support import seeds

    lift.reset(seeds.derive(3, "evaluation", 0))
    evaluation = lift.get_start()
    lift.reset(seeds.derive(3, "demonstration", 0))
    assert lift.get_start() != evaluation


def test_noise_and_seed_decide_the_experts_actions() -> None:
    observation = {"object": np.zeros(10), "robot0_eef_pos": np.full(3, 0.5)}

    def first(noise: float, seed: int) -> np.ndarray:
        return LiftExpert(noise, np.random.default_rng(seed)).act(observation)[0]

    assert np.array_equal(first(0.05, 1), first(0.05, 1))
    assert not np.array_equal(first(0.05, 1), first(0.05, 2))
    assert np.array_equal(first(0.0, 1), first(0.0, 2))


def test_a_task_without_an_expert_is_refused() -> None:
    with pytest.raises(InputError, match="no scripted expert"):
        check_expert("pusht")


def test_robomimic_reads_the_file(made: Path) -> None:
    pytest.importorskip("robomimic", reason="the robomimic extra is not installed")
    from robomimic.utils import obs_utils
    from robomimic.utils.dataset import SequenceDataset
    from robomimic.utils.env_utils import is_robosuite_env
    from robomimic.utils.file_utils import get_env_metadata_from_dataset

    keys = ["object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos"]
    obs_utils.initialize_obs_utils_with_obs_specs({"obs": {"low_dim": keys}})
    assert is_robosuite_env(env_meta=get_env_metadata_from_dataset(str(made)))
    dataset = SequenceDataset(
        str(made), keys, ("actions", "rewards", "dones"), frame_stack=2, seq_length=16, filter_by_attribute="train"
    )
    sample = dataset[0]
    assert sample["actions"].shape == (17, 7)
    assert sample["obs"]["object"].shape == (17, 10)


@pytest.mark.parametrize("override", ["episodes=0", "task=lifting", "noise_level=1", "env.engine=gpu"])
def test_wrong_input_exits_with_2(override: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = demos.main.run(f"out={tmp_path / 'x.hdf5'}", override)
    assert code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_cube_size_is_part_of_the_start(made: Path, lift: RobosuiteEngine) -> None:
    with h5py.File(made) as file:
        sizes = [json.loads(file[f"data/demo_{i}"].attrs["start"])["cube_size"] for i in range(EPISODES)]
    assert sizes[0] != sizes[1]
    assert np.shape(starts.cube_size(lift.model)) == (3,)
