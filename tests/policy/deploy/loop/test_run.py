"""The command `isd_policy.run`: its files, its page, its faults, and simulated latency."""

import errno
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from isd_core.support.errors import InputError
from isd_policy import run as run_module
from isd_policy.deploy.loop import page as report
from isd_policy.deploy.loop.report import ChunkRecord, Report
from isd_policy.deploy.loop.simulated import guards_of, jerk

QUICK = ("seconds=1", "max_steps=8", "warm_up=1")


def control(*words):
    return run_module.main.run(*words)


@pytest.fixture
def content(make_runner, robot):
    """The result file of a run of the fakes in which much went wrong."""
    calls = iter(range(1000))
    runner = make_runner(lambda request: [0.01, 0.3, 0.9][next(calls) % 3], lead=8, hold=2.0)
    robot.at_read = lambda: runner.reset() if len(robot.written) == 40 else None
    runner.report.event(runner.clock.now(), "a <strange> thing & another")
    whole = runner.run(80).to_dict()
    assert {"used", "reset"} <= {chunk["outcome"] for chunk in whole["chunks"]}
    loop = {"mode": "async", "blend": 4}
    origin = {"task": "lift", "nfe": 1, "checkpoint": {"path": "runs/lift", "step": 9}, "versions": {"torch": "2"}}
    return whole | origin | {"loop": loop}


def rects(svg, kind="method"):
    return [rect for rect in ElementTree.fromstring(svg).iter("rect") if rect.get("class") == kind]


# -- the page ---------------------------------------------------------------------------------------------------------


def test_page_is_well_formed_and_tells_what_happened(content):
    page = report.render(content)
    body = page[page.index("<main>") : page.index("</main>") + len("</main>")]
    text = "".join(ElementTree.fromstring(body).itertext())
    assert "a <strange> thing & another" in text
    assert "deadline 50 ms" in text
    assert "no fault" in text


def test_page_of_a_stopped_robot_says_why(content):
    assert "the arm is <off>" in report.render(content | {"fault": "the arm is <off>"}).replace("&lt;", "<").replace(
        "&gt;", ">"
    )


def test_page_of_a_run_without_a_chunk_is_written(content):
    empty = content | {"policy_calls_ms": [], "chunks": [], "latency_ms": None, "events": []}
    page = report.render(empty | {f"{part}_ms": None for part in ("observe", "infer", "preprocess", "postprocess")})
    assert "No chunk was asked for" in page


def chunk(number, **fields):
    return vars(ChunkRecord(number, requested=float(number))) | fields


def test_timeline_shows_when_a_chunk_was_asked_for_came_and_was_used():
    used = chunk(0, arrived=1.0, first=1.0, last=3.0, used=8, dropped=2, outcome="used")
    late = chunk(4, arrived=4.0, outcome="stale")
    svg = report.timeline([used, late])
    (bar,) = rects(svg)
    line = next(e for e in ElementTree.fromstring(svg).iter("line") if e.get("class") == "whisker")
    assert float(line.get("x2")) == pytest.approx(float(bar.get("x")), abs=0.11)
    assert float(bar.get("width")) == pytest.approx(2 * (float(line.get("x2")) - float(line.get("x1"))), abs=0.3)
    words = [text.text for text in ElementTree.fromstring(svg).iter("text")]
    assert "8 used, 2 dropped" in words
    assert "stale" in words


def test_chunk_that_was_replaced_before_use_is_named():
    assert "replaced before use" in report.timeline([chunk(0, arrived=0.0, outcome="used")])


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.sim
def test_run_against_the_clock_writes_both_files(run, tmp_path, capsys):
    out, page = tmp_path / "loop.json", tmp_path / "loop.html"
    assert control(f"checkpoint={run}", *QUICK, f"out={out}", f"report={page}") == 0
    written = json.loads(out.read_text())
    assert (written["ticks"], written["episodes"], written["resets"], written["fault"]) == (20, 3, 2, None)
    assert written["policy_calls"] == len(written["policy_calls_ms"])
    assert written["loop"]["mode"] == "async"
    assert "Chunks in time" in page.read_text()
    assert f"Written: {out}, {page}" in capsys.readouterr().out


@pytest.mark.sim
def test_bundle_and_checkpoint_run_alike(run, make_bundle, tmp_path):
    words = ("inference_delay_ms=50", "episodes=1", "max_steps=20")
    for name, path in (("run", run), ("bundle", make_bundle())):
        assert control(f"checkpoint={path}", *words, f"out={tmp_path / name}.json") == 0
    rows = [json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("run", "bundle")]
    assert rows[0] == rows[1]


@pytest.mark.sim
def test_simulated_latency_compares_the_ways_to_cope(run, tmp_path, capsys):
    out = tmp_path / "delay.json"
    words = ("inference_delay_ms=[0,120]", "episodes=2", "max_steps=30")
    assert control(f"checkpoint={run}", *words, f"out={out}") == 0
    rows = json.loads(out.read_text())["rows"]
    assert [(row["delay_ms"], row["strategy"]) for row in rows] == [
        (delay, name) for delay in (0, 120) for name in ("sync", "async", "async + blend")
    ]
    starved = {(row["delay_ms"], row["strategy"]): row["starved"] for row in rows}
    assert starved[120, "sync"] > 0.1
    assert starved[120, "async"] == starved[0, "sync"] == 0
    assert "| 120 ms | async + blend |" in capsys.readouterr().out


@pytest.mark.sim
def test_full_disk_hides_nothing_and_leaves_no_half_file(run, tmp_path, monkeypatch, capsys):
    def full(path, text, *args, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert control(f"checkpoint={run}", *QUICK, f"out={tmp_path / 'loop.json'}") == 2
    told = capsys.readouterr()
    assert "deadlines missed" in told.out  # the robot has stopped, and what happened is told
    assert "No space left" in told.err and "loop.json" in told.err
    assert not list(tmp_path.glob("*loop*"))


@pytest.mark.sim
def test_stopped_robot_is_an_error_after_the_report(run, tmp_path, monkeypatch, capsys):
    from isd_policy.policy import Policy

    answers = iter(range(1000))
    right = Policy.infer
    monkeypatch.setattr(Policy, "infer", lambda *a: right(*a) * (np.nan if next(answers) > 0 else 1.0))
    out = tmp_path / "loop.json"
    with pytest.raises(RuntimeError, match="not finite"):
        control(f"checkpoint={run}", "seconds=5", "warm_up=0", f"out={out}")
    written = json.loads(out.read_text())
    assert written["rejected_chunks"] == 3
    assert "not finite" in written["fault"]


@pytest.mark.parametrize(
    "word",
    [
        "mode=fast",
        "blend=-1",
        "lead=-1",
        "patience=1",
        "hold=0",
        "stale=0",
        "watchdog=0",
        "watchdog=soon",
        "warm_up=-1",
        "episodes=0",
        "rate_limit=0",
        "inference_delay_ms=[]",
        "inference_delay_ms=[-1]",
        "inference_delay_ms=slow",
        "workspace=[0,1]",
    ],
)
def test_settings_out_of_range(word, run, capsys):
    assert control(f"checkpoint={run}", word) == 2
    assert word.partition("=")[0] in capsys.readouterr().err


# -- the simulated robot's guards and jerk ----------------------------------------------------------------------------


def test_guards_follow_the_goal_of_the_actions():
    from isd_envs.engines.pusht.spec import PushTSpec
    from isd_envs.spec import EnvSpec

    delta = guards_of(EnvSpec("lift"), workspace=[[-0.2, -0.2, 0.8], [0.2, 0.2, 1.2]])
    np.testing.assert_array_equal(delta.hold(np.arange(7.0)), [0, 0, 0, 0, 0, 0, 6])
    assert (delta.box.scale, delta.box.keys) == (0.05, ("robot0_eef_pos",))
    absolute = guards_of(EnvSpec("lift", action_mode="absolute"))
    np.testing.assert_array_equal(absolute.hold(np.arange(7.0)), np.arange(7.0))
    assert absolute.turns == (slice(3, 6),)
    assert guards_of(PushTSpec()).high.tolist() == [512, 512]
    with pytest.raises(InputError, match="single arm"):
        guards_of(EnvSpec("transport"), workspace=[[0, 0, 0], [1, 1, 1]])


def test_jerk_of_a_constant_displacement_is_zero_and_of_a_parabola_too():
    assert jerk(np.ones((20, 7)), "delta") == 0
    parabola = np.arange(20.0)[:, None] ** 2 * np.ones(2)
    assert jerk(parabola, "absolute") == pytest.approx(0, abs=1e-9)


def test_jerk_is_the_third_difference_of_the_position():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(30, 7))
    position = np.concatenate([np.zeros((1, 7)), np.cumsum(steps, axis=0)])
    assert jerk(steps, "delta") == pytest.approx(jerk(position, "absolute"))
    expected = np.sqrt((np.diff(position[:, :3], n=3, axis=0) ** 2).sum(1).mean())
    assert jerk(steps, "delta") == pytest.approx(expected)


def test_report_says_how_it_went_in_one_line():
    said = Report(0.05, 0.0)
    said.counts.update(ticks=200, calls=25, starved=3)
    said.windows["policy"].extend([0.004, 0.006])
    assert said.sentence().startswith("0 of 200 deadlines missed; policy 5.0 ms p50")
    assert said.sentence().endswith("over 25 calls; 3 ticks without an action")


def test_report_tells_of_the_deadlines_that_a_late_tick_skipped():
    said = Report(0.05, 0.0)
    said.counts.update(ticks=100, misses=1, skipped=20)
    assert said.sentence().startswith("1 of 100 deadlines missed, 20 skipped; policy")
