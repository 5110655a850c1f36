"""What all compiled engines of one spec share in a process: a robosuite environment to draw starts from."""

from __future__ import annotations

import copy
import threading
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np

from isd_envs.engines import simulator, starts
from isd_envs.engines.compiled.arms import Arms, UnsupportedError, read_arms
from isd_envs.engines.compiled.resets import draw
from isd_envs.engines.compiled.scene import Scene, read_scene
from isd_envs.spec import EnvSpec


class Template:
    """A robosuite environment of the spec, read once. Raises `UnsupportedError` for settings that are not compiled."""

    def __init__(self, spec: EnvSpec) -> None:
        self.spec = spec
        self._turn = threading.Lock()
        self.environment = simulator.make(spec, hard_reset=False)  # one building of its XML instead of two
        with simulator.silence():
            self.environment.reset()
        self.arms: Arms = read_arms(self.environment)
        self.scene: Scene = read_scene(self.environment, spec.task, self.arms, spec.definition.object_size)
        self.substeps = int(self.environment.control_timestep / self.environment.model_timestep)
        self._model = self.environment.sim.model._model
        self._xml = str(self.environment.sim.model.get_xml())
        _check_observables(self.environment)

    def new_model(self) -> mujoco.MjModel:
        """A model of one's own (a start may change it). Sensors are off: nothing here reads them.

        MuJoCo's automatic reset is off too, so that a diverged simulation is seen and not hidden.
        """
        with self._turn:
            model = copy.copy(self._model)
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR | mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        return model

    def draw(self, model: mujoco.MjModel, seed: int) -> dict[str, Any]:
        """The start that a hard reset of robosuite draws from `seed`."""
        with self._turn:
            return draw(self.environment, self.spec, model, self.arms, seed)

    def model_xml(self, model: mujoco.MjModel) -> str:
        """The scene's XML with the parameters of `model`."""
        return starts.in_xml(self.spec, self._xml, model)


def _check_observables(environment: Any) -> None:
    """robosuite samples at the last substep as long as observables run at the control rate."""
    rates = {observable._sampling_timestep for observable in environment._observables.values()}
    if not np.allclose(list(rates), environment.control_timestep):
        raise UnsupportedError("it needs observables that are sampled at the control frequency")


@lru_cache(maxsize=4)  # robosuite environments are large; a process rarely has more than one task
def _cached(spec: EnvSpec) -> Template:
    return Template(spec)


_building = threading.Lock()
"""`lru_cache` lets two threads that ask at the same time build twice."""


def template_of(spec: EnvSpec) -> Template:
    """The process's template of a spec; built once, whichever thread asks first."""
    with _building:
        return _cached(spec)
