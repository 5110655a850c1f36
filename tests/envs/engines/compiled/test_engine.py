"""What the compiled engine does beside being equal to robosuite: snapshots, faults, threads, fallback."""

from __future__ import annotations

import json
import resource
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_envs.engines import factory
from isd_envs.engines.compiled import parity
from isd_envs.engines.compiled.arms import UnsupportedError
from isd_envs.engines.compiled.engine import CompiledEngine
from isd_envs.engines.engine import NON_FINITE, UNSTABLE, Observation
from isd_envs.engines.slot import EnvSlot
from isd_envs.spec import EnvSpec


@pytest.fixture(scope="module")
def lift() -> CompiledEngine:
    return CompiledEngine(EnvSpec())


@pytest.fixture(scope="module")
def can() -> CompiledEngine:
    return CompiledEngine(EnvSpec(task="can"))


def actions(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 7))


def same(first: Observation, second: Observation) -> bool:
    return all(np.array_equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["lift", "can"])
def test_a_snapshot_continues_bit_equal(name: str, request: pytest.FixtureRequest) -> None:
    engine: CompiledEngine = request.getfixturevalue(name)
    engine.reset(1)
    before = engine.run(actions(7), until_success=False)
    snapshot = json.loads(json.dumps(engine.snapshot()))
    expected = engine.run(actions(7, seed=1), until_success=False)
    engine.reset(2)
    restored = engine.restore(snapshot)
    assert same(restored, {key: values[-1] for key, values in before.observations.items()})
    assert same(engine.run(actions(7, seed=1), until_success=False).observations, expected.observations)


def test_one_call_of_n_actions_equals_n_calls(can: CompiledEngine) -> None:
    can.reset(3)
    together = can.run(actions(6), until_success=False).observations
    can.reset(3)
    apart = [can.run(action[None], until_success=False).observations for action in actions(6)]
    assert same(together, {key: np.concatenate([row[key] for row in apart]) for key in together})


def test_engines_in_threads_do_not_disturb_each_other() -> None:
    def roll(seed: int) -> Observation:
        engine = CompiledEngine(EnvSpec())
        engine.reset(seed)
        return engine.run(actions(10, seed), until_success=False).observations

    alone = [roll(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(roll, range(4)))
    assert all(map(same, alone, together))


def test_nan_ends_the_chunk_before_it_reaches_the_simulation(lift: CompiledEngine) -> None:
    lift.reset(1)
    chunk_of_actions = actions(5)
    chunk_of_actions[3, 0] = np.inf
    chunk = lift.run(chunk_of_actions)
    assert (chunk.steps, chunk.fault) == (3, NON_FINITE)


def test_actions_beyond_one_are_clipped(lift: CompiledEngine) -> None:
    lift.reset(1)
    lift.run(np.ones((3, 7)))
    expected = lift.state()
    lift.reset(1)
    lift.run(np.full((3, 7), 30.0))
    assert np.array_equal(lift.state(), expected)


def test_a_wrong_action_size_is_refused(lift: CompiledEngine) -> None:
    with pytest.raises(ValueError, match=r"expected \[n, 7\]"):
        lift.run(np.zeros((2, 8)))


@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("velocity", [1e12, np.nan])
def test_a_diverged_simulation_is_a_fault(mode: str, velocity: float) -> None:
    engine = CompiledEngine(EnvSpec(mode=mode))
    engine.reset(1)
    engine.run(actions(2))
    engine.data.qvel[3] = velocity
    chunk = engine.run(actions(4))
    assert (chunk.steps, chunk.fault) == (0, UNSTABLE)
    assert np.isfinite(engine.reset(1)["object"]).all()
    assert engine.run(actions(2)).fault is None


def test_a_start_of_another_task_is_refused(lift: CompiledEngine, can: CompiledEngine) -> None:
    can.reset(1)
    with pytest.raises(InputError, match="'can'"):
        lift.reset_to(can.get_start())


def test_success_stops_the_chunk() -> None:
    env_slot = EnvSlot(EnvSpec())
    demonstration = env_slot.demonstrate(seed=1, index=0, noise=0.05, max_steps=100, extra_steps=0)
    engine = env_slot.engine
    engine.reset_to(demonstration.start)
    chunk = engine.run(np.concatenate([demonstration.actions, np.zeros((9, 7))]))
    assert chunk.steps == len(demonstration.actions)
    assert chunk.success.tolist() == [False] * (chunk.steps - 1) + [True]


@pytest.mark.parametrize("task", ["lift", "can", "square"])
def test_the_expert_succeeds(task: str) -> None:
    env_slot = EnvSlot(EnvSpec(task=task))
    outcomes = [env_slot.demonstrate(7, index, 0.05, max_steps=300, extra_steps=0).success for index in range(5)]
    assert outcomes == [True] * 5


def test_tool_hangs_expert_assembles_the_frame_and_hangs_the_tool() -> None:
    """It succeeds in about four of five starts; these are among them."""
    env_slot = EnvSlot(EnvSpec(task="tool_hang"))
    for index in (0, 1):
        flags = env_slot.demonstrate(7, index, 0.05, max_steps=700, extra_steps=0).observations["object"][:, 42:]
        assembled, hung = flags.argmax(axis=0)
        assert flags[-1].tolist() == [1, 1] and assembled < hung


def test_the_model_of_a_demonstration_holds_its_cube(lift: CompiledEngine) -> None:
    import mujoco

    from isd_envs.engines import starts

    lift.reset(4)
    size = starts.cube_size(lift.model)
    xml = lift.model_xml()
    assert " ".join(map(repr, size.tolist())) in xml
    assert mujoco.MjModel is not None


def test_memory_stays_flat_over_many_episodes(lift: CompiledEngine) -> None:
    def episodes(n: int) -> int:
        for seed in range(n):
            lift.reset(seed)
            lift.run(actions(1))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    episodes(50)
    before = episodes(50)
    assert episodes(500) - before < 4_000  # kilobytes


def test_unsupported_settings_fall_back_to_robosuite_and_say_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(spec: EnvSpec) -> None:
        raise UnsupportedError("it needs seven joints")

    monkeypatch.setattr(parity, "check", refuse)
    spec = EnvSpec(control_freq=5)
    assert factory.resolve(spec).engine == "robosuite"
    assert "it needs seven joints" in capsys.readouterr().err


def test_a_failed_self_check_falls_back_to_robosuite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = parity.Verdict("exact", equal=False, difference=1e-3, starts_equal=True, success_equal=True)
    monkeypatch.setattr(parity, "check", lambda spec: verdict)
    assert factory.resolve(EnvSpec(control_freq=4)).engine == "robosuite"
    assert "self-check failed" in capsys.readouterr().err


def test_a_difference_by_rounding_is_used_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = parity.Verdict("exact", equal=False, difference=1e-12, starts_equal=True, success_equal=True)
    monkeypatch.setattr(parity, "check", lambda spec: verdict)
    assert factory.resolve(EnvSpec(control_freq=8)).engine == "compiled"
    assert "not bit-equal" in capsys.readouterr().err


def test_the_self_check_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = EnvSpec(kp=140.0)
    verdict = parity.check(spec)
    assert verdict.usable
    monkeypatch.setattr(parity, "CompiledEngine", None)
    assert parity.check(spec) == verdict


def test_another_version_of_mujoco_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from isd_envs.engines import simulator

    monkeypatch.setattr(simulator, "version", lambda name: {"robosuite": "1.5.2", "mujoco": "4.0.0"}[name])
    with pytest.raises(InputError, match=r"mujoco 4\.0\.0 is installed"):
        simulator.check_versions()
