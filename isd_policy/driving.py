"""A policy in a control loop, against the wall clock or with a simulated latency."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isd_core.support.device import thread_count
from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from isd_policy.deploy.loop import page
from isd_policy.deploy.loop.drive import against_the_clock, sweep, table
from isd_policy.deploy.loop.guards import Guards
from isd_policy.deploy.loop.settings import LoopSettings
from isd_policy.deploy.loop.simulated import guards_of
from isd_policy.simulation import Simulation, choice_of, open_simulation
from isd_policy.validation import check_positive, check_whole

LOOP = (
    "rate",
    "mode",
    "blend",
    "prefix",
    "lead",
    "patience",
    "hold",
    "stale",
    "watchdog",
    "first_chunk",
    "warm_up",
    "seed",
)
GUARDS = ("rate_limit", "workspace")


def run_from(config: Mapping[str, Any]) -> None:
    """Drives the simulated robot as a resolved config of policy_run says, and prints what happened."""
    check_positive(config, "seconds", *(["rate_limit"] if config["rate_limit"] is not None else []))
    check_whole(config, "episodes")
    settings = LoopSettings(**{key: config[key] for key in LOOP})
    delays = delays_of(config["inference_delay_ms"])
    with thread_count(config["threads"]):
        simulation = open_simulation(config)
        simulation.policy.use(config["nfe"], config["initial_noise"], **choice_of(config))
        guards = guards_of(simulation.env, config["rate_limit"], config["workspace"])
        if delays is None:
            drive(simulation, guards, settings, config)
        else:
            compare(simulation, guards, settings, delays, config)


def drive(simulation: Simulation, guards: Guards, settings: LoopSettings, config: Mapping[str, Any]) -> None:
    """Against the wall clock. What happened is printed before anything is written, so that a full disk hides nothing.

    Raises `RuntimeError` when the robot had to be stopped.
    """
    report, content = against_the_clock(simulation, config["seconds"], guards, settings)
    content = described(simulation, config) | content
    print(
        f"{simulation.title}, {simulation.policy.nfe} NFE at {config['rate']:g} Hz: {report.sentence()}; "
        f"{content['successes']} successes, {content['resets']} resets (disarmed)."
    )
    written = []
    if config["out"] is not None:
        write_json(config["out"], content)
        written.append(config["out"])
    if config["report"] is not None:
        page.write(config["report"], content)
        written.append(config["report"])
    if written:
        print(f"Written: {', '.join(map(str, written))}.")
    if report.fault is not None:
        raise RuntimeError(f"The robot was stopped: {report.fault}.")


def compare(
    simulation: Simulation, guards: Guards, settings: LoopSettings, delays: list[float], config: Mapping[str, Any]
) -> None:
    """In simulated time, for each delay and each way to cope with it."""
    rows = sweep(simulation, delays, config["episodes"], guards, settings, config["blend"])
    print(
        f"{simulation.title}, {simulation.policy.nfe} NFE at {config['rate']:g} Hz, cap {simulation.max_steps} steps:"
    )
    print(table(rows))
    if config["out"] is not None:
        write_json(config["out"], described(simulation, config) | {"rows": rows})
        print(f"Written: {config['out']}.")


def described(simulation: Simulation, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a result file says about the run."""
    return simulation.description() | {
        "nfe": simulation.policy.nfe,
        "initial_noise": simulation.policy.initial_noise,
        "candidates": simulation.policy.candidates,
        "choose": simulation.policy.choose,
        "seed": config["seed"],
        "max_steps": simulation.max_steps,
        "loop": {key: config[key] for key in (*LOOP, *GUARDS)},
    }


def delays_of(given: Any) -> list[float] | None:
    """The delays (ms) of a field that holds a number, a list of them, or None."""
    if given is None:
        return None
    delays = given if isinstance(given, list) else [given]
    if not delays or any(isinstance(d, bool) or not isinstance(d, int | float) or not 0 <= d < 1e9 for d in delays):
        raise InputError(f"inference_delay_ms={given}: expected one or more numbers of at least 0, such as [0,50,200].")
    return [float(delay) for delay in delays]
