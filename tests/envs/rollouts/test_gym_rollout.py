"""Rollouts of environments of gymnasium: in this process and in others, with one outcome."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import toy_environments as toys

from isd_core.support.errors import InputError
from isd_envs.engines.gym.spec import GymSpec, spec_of_factory
from isd_envs.rollouts.rollout import Request, Rollout, rollout


def act(requests: list[Request]) -> np.ndarray:
    """Chunks of 4 towards the goal, the later half of them off course."""
    chunks = [np.tile(toys.towards_goal(request.obs["state"][-1]), (4, 1)) for request in requests]
    return np.array(chunks) * np.array([1, 1, 1, -0.5])[:, None]


def run(spec: GymSpec, workers: int = 1, live: int = 4, policy: Callable = act) -> Rollout:
    return rollout(spec, list(range(8)), policy, obs_horizon=2, max_steps=20, workers=workers, live=live)


def outcome(result: Rollout) -> list:
    return [(e.index, e.success, e.steps, e.start, e.score, e.actions.tolist()) for e in result]


@pytest.mark.parametrize("name", ["toys/Reach-v0", "toy_reach"])
def test_the_outcome_depends_neither_on_workers_nor_on_live_episodes(name) -> None:
    spec = GymSpec(name, score="closeness")
    one, two = run(spec), run(spec, workers=2, live=5)
    assert outcome(one) == outcome(two)
    assert one.successes > 0
    assert one.engine == "gymnasium"


def test_a_function_gives_the_outcome_of_the_name_in_this_process() -> None:
    spec = spec_of_factory(lambda: gymnasium.make("toys/Reach-v0"), score="closeness")
    assert outcome(run(spec)) == outcome(run(spec, live=2)) == outcome(run(GymSpec("toys/Reach-v0", score="closeness")))


def test_a_function_cannot_be_sent_to_workers() -> None:
    with pytest.raises(
        InputError, match="workers=2, runner=local: toys/Reach-v0 cannot be made in other processes, because it is"
    ):
        run(spec_of_factory(lambda: gymnasium.make("toys/Reach-v0")), workers=2)
    with pytest.raises(InputError, match="runner=ray: Reach cannot be made in other processes"):
        rollout(spec_of_factory(toys.Reach), [1], act, obs_horizon=1, max_steps=2, runner="ray")


def test_pictures_come_with_the_observations() -> None:
    seen: list[tuple] = []

    def look(requests: list[Request]) -> np.ndarray:
        seen.extend((r.obs["camera"].shape, r.obs["camera"].dtype.name, bool(r.obs["camera"].any())) for r in requests)
        return np.zeros((len(requests), 4, 2))

    run(GymSpec("toys/PictureReach-v0"), policy=look)
    assert set(seen) == {((2, 16, 16, 3), "uint8", True)}


def test_an_episode_that_the_environment_ends_is_a_failure_without_a_fault() -> None:
    def away(requests: list[Request]) -> np.ndarray:
        return np.ones((len(requests), 4, 2))

    result = run(GymSpec("toys/Reach-v0", {"border": 6.0, "radius": 0.0}), policy=away)
    assert {(e.success, e.fault) for e in result} == {(False, None)}
    assert all(e.steps < 20 for e in result)


def test_the_functions_environments_are_closed() -> None:
    made, closed = [], []

    class Counted(toys.Reach):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def close(self) -> None:
            closed.append(self)

    run(spec_of_factory(Counted))
    deadline = time.monotonic() + 10  # the thread closes them after the rollout has returned
    while len(closed) < len(made) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(made) == len(closed) > 4


def test_an_error_of_the_users_environment_is_shown() -> None:
    class Broken(toys.Reach):
        steps = 0

        def step(self, action: np.ndarray) -> tuple:
            Broken.steps += 1
            if Broken.steps > 30:
                raise ZeroDivisionError("their bug")
            return super().step(action)

    with pytest.raises(RuntimeError, match="ZeroDivisionError: their bug"):
        run(spec_of_factory(Broken))


PROGRAM = """
import gymnasium, numpy as np, sys
sys.path.append("HERE")
import isd_envs
from isd_envs.engines.gym.spec import GymSpec
from isd_envs.rollouts.rollout import rollout
from isd_core.support.registry import register
from toy_environments import Reach

@register("task", "own")
class Own(Reach):
    pass

gymnasium.register("Own-v0", entry_point=Own)
act = lambda requests: np.zeros((len(requests), 4, 2))
for name in ("own", "Own-v0"):
    spec = GymSpec(name, max_steps=8)
    print(len(rollout(spec, [1, 2, 3], act, obs_horizon=1, max_steps=8, workers=int(sys.argv[1]), live=2)))
""".replace("HERE", str(Path(toys.__file__).parent))


def test_a_class_of_the_running_program_is_rolled_out_in_it(tmp_path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    one, two = (
        subprocess.run([sys.executable, str(program), workers], capture_output=True, text=True) for workers in "12"
    )
    assert one.stdout.split() == ["3", "3"], one.stderr
    assert "own cannot be made in other processes, because Own is defined in the program that runs" in two.stderr


def test_a_module_beside_the_program_is_found_by_the_workers(tmp_path) -> None:
    (tmp_path / "their_envs.py").write_text(PROGRAM[: PROGRAM.index("act =")])
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.replace(PROGRAM[PROGRAM.index("@register") : PROGRAM.index("act =")], "import their_envs\n")
    )
    two = subprocess.run([sys.executable, str(program), "2"], capture_output=True, text=True)
    assert two.stdout.split() == ["3", "3"], two.stderr
