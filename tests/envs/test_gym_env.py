import os
import subprocess
import sys
import warnings
from importlib.util import find_spec

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from isd_core.support.errors import InputError
from isd_envs.engines.engine import SimulationError
from isd_envs.tasks import TASKS


@pytest.fixture(scope="module")
def environment() -> gymnasium.Env:
    return gymnasium.make("isd/Lift-v0", engine="robosuite", disable_env_checker=True)


def test_importing_the_package_imports_neither_a_simulator_nor_torch() -> None:
    code = "import isd_envs, sys; print(*[m for m in ('torch', 'robosuite', 'mujoco', 'numba') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_triton_is_loaded_before_a_mujoco_that_would_load_osmesa() -> None:
    """The other order ends the process: two LLVMs."""
    code = "import isd_envs, sys; print('triton' in sys.modules)"
    environment = os.environ | {"MUJOCO_GL": "osmesa"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["True"]


def test_every_task_is_registered() -> None:
    ids = {"isd/Lift-v0", "isd/Can-v0", "isd/Square-v0", "isd/ToolHang-v0", "isd/Transport-v0", "isd/PushT-v0"}
    assert {task.gymnasium_id for task in TASKS.values()} == ids
    assert ids <= set(gymnasium.registry)


def test_gymnasiums_checker_passes(environment: gymnasium.Env) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity.*")
        check_env(environment.unwrapped, skip_render_check=True)


def test_making_and_resetting_prints_nothing() -> None:
    code = "import isd_envs, gymnasium; gymnasium.make('isd/Lift-v0', engine='robosuite').reset(seed=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_a_start_of_one_environment_can_be_reset_to(environment: gymnasium.Env) -> None:
    first, _ = environment.reset(seed=11)
    start = environment.unwrapped.get_start()
    environment.reset(seed=12)
    again, info = environment.reset(options={"state": start})
    assert all(np.array_equal(first[key], again[key]) for key in first)
    assert info == {"success": False}


def test_a_nan_action_raises(environment: gymnasium.Env) -> None:
    environment.reset(seed=11)
    with pytest.raises(SimulationError, match="NaN"):
        environment.step(np.full(7, np.nan, np.float32))


def test_an_unknown_reset_option_raises(environment: gymnasium.Env) -> None:
    with pytest.raises(ValueError, match="unknown reset options"):
        environment.reset(options={"start": {}})


@pytest.mark.render
def test_cameras_add_pictures_to_the_observation() -> None:
    environment = gymnasium.make(
        "isd/Lift-v0", cameras=["agentview"], picture_width=48, picture_height=32, disable_env_checker=True
    )
    try:
        observation, _ = environment.reset(seed=1)
    except InputError as error:
        pytest.skip(str(error))
    assert observation["agentview_image"].shape == (32, 48, 3)
    assert environment.observation_space.contains(observation)
    after, *_ = environment.step(np.ones(7, np.float32))
    assert not np.array_equal(after["agentview_image"], observation["agentview_image"])
