"""The compiled loop over a chunk of actions."""

# The functions are compiled; numba infers the types of arguments without an annotation.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from numba import njit

from isd_envs.engines.compiled import exact, fast
from isd_envs.engines.compiled.arms import Arms, Memory
from isd_envs.engines.compiled.library import Simulation, inner, mj_step1, mj_step2
from isd_envs.engines.compiled.observations import observe
from isd_envs.engines.compiled.scene import Scene

LARGEST = 1e10
"""MuJoCo's own bound (mjMAXVAL): a larger position, velocity or acceleration is a diverged simulation."""

exact_step, fast_step = exact.control_step, fast.control_step


@inner
def stable(simulation: Simulation):
    """Whether positions, velocities and accelerations are finite and within MuJoCo's bound."""
    for values in (simulation.qpos, simulation.qvel, simulation.qacc):
        for value in values:
            if not abs(value) < LARGEST:
                return False
    return True


@njit(cache=True, nogil=True)
def run_exact(
    simulation: Simulation,
    arms: Arms,
    memory: Memory,
    scene: Scene,
    settings,
    actions,
    rotations,
    rows,
    success,
):
    """Executes actions [n, 7 A]; returns (control steps made, whether the simulation stayed stable).

    settings: (substeps, absolute actions, base frame, stop at success, this is a reset). rows [n, D] and success [n]
    receive the observation and the verdict after each step; a reset only observes, into the first row.
    """
    substeps, absolute, in_base, until_success, fresh = settings
    if fresh:
        success[0] = observe(simulation, memory, scene, fresh, rows[0])
        return 0, True
    for step in range(len(actions)):
        exact_step(simulation, arms, memory, substeps, absolute, in_base, actions[step], rotations[step])
        if not stable(simulation):
            return step, False
        success[step] = observe(simulation, memory, scene, fresh, rows[step])
        if until_success and success[step]:
            return step + 1, True
    return len(actions), True


@njit(cache=True, nogil=True)
def run_fast(
    simulation: Simulation,
    arms: Arms,
    memory: Memory,
    scene: Scene,
    settings,
    actions,
    rotations,
    rows,
    success,
):
    """`run_exact` with the other controller."""
    substeps, absolute, in_base, until_success, fresh = settings
    if fresh:
        success[0] = observe(simulation, memory, scene, fresh, rows[0])
        return 0, True
    for step in range(len(actions)):
        positive = fast_step(simulation, arms, memory, substeps, absolute, in_base, actions[step], rotations[step])
        if not positive or not stable(simulation):
            return step, False
        success[step] = observe(simulation, memory, scene, fresh, rows[step])
        if until_success and success[step]:
            return step + 1, True
    return len(actions), True


@njit(cache=True, nogil=True)
def run_physics(simulation: Simulation, substeps, qpos, qvel, ctrl):
    """MuJoCo alone, for measurements: from each recorded state [n, nq], [n, nv] `substeps` steps under ctrl [n, nu]."""
    for step in range(len(ctrl)):
        simulation.qpos[:] = qpos[step]
        simulation.qvel[:] = qvel[step]
        simulation.ctrl[:] = ctrl[step]
        for _ in range(substeps):
            mj_step1(simulation.model, simulation.data)
            mj_step2(simulation.model, simulation.data)
