"""A robot on a serial line: three servos behind a pseudo-terminal, and where times, limits, homing and stop belong.

The servos are a process of their own, which knows the line alone, as a real controller would. Their protocol is a
line of text for each message: `H` homes, `R` asks for angles, `G a b c` sets goals (rad), `S` stops; answers are `A a
b c`, `OK` or `E`, a refusal.
"""

import math
import multiprocessing
import os
import pty
import select
import tempfile
import time
import tty

import numpy as np

import isd_policy
from isd_policy.deploy import Guards, LoopSettings, Runner, Stamped

RATE = 20  # actions a second
JOINTS = 3
SPEED = 2.0  # rad/s that a servo makes at most
REACH = np.array([1.5, 1.0, 1.0])  # rad each way that the joints may go: beyond it the arm hits the table


def servos(line: int) -> None:
    """The controller: goals are approached at the servos' own speed; without a homing it does not move."""
    angles, goals, homed, then = [0.9, -0.6, 0.5], [0.9, -0.6, 0.5], False, time.monotonic()
    waiting = b""
    while True:
        if not select.select([line], [], [], 1.0)[0]:
            continue
        try:
            waiting += os.read(line, 256)
        except OSError:  # the other end was closed
            return
        *messages, waiting = waiting.split(b"\n")
        for message in messages:
            now = time.monotonic()
            most, then = SPEED * (now - then), now
            angles = [a + math.copysign(min(abs(g - a), most), g - a) for a, g in zip(angles, goals, strict=True)]
            match message.split():
                case [b"R"]:
                    os.write(line, b"A " + b" ".join(b"%.5f" % angle for angle in angles) + b"\n")
                case [b"H"]:
                    goals, homed = [0.0] * JOINTS, True
                    os.write(line, b"OK\n")
                case [b"S"]:
                    goals = list(angles)  # where it is, it stays
                    os.write(line, b"OK\n")
                case [b"G", *numbers] if homed and len(numbers) == JOINTS:
                    goals = [float(number) for number in numbers]
                    os.write(line, b"OK\n")
                case _:
                    os.write(line, b"E\n")


class SerialArm:
    """Three joints as the loop's robot. Every answer has a deadline: a silent line is an error, and the loop stops."""

    def __init__(self, path: str, timeout: float = 0.2) -> None:
        self.line = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.line)
        self.timeout, self.stopped = timeout, False

    def ask(self, message: str) -> list[str]:
        os.write(self.line, message.encode() + b"\n")
        answer, limit = b"", time.monotonic() + self.timeout
        while not answer.endswith(b"\n"):
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self.line], [], [], left)[0]:
                raise TimeoutError(f"the servos did not answer `{message}` within {self.timeout:g} s")
            answer += os.read(self.line, 256)
        words = answer.decode().split()
        if words[0] == "E":
            raise RuntimeError(f"the servos refused `{message}`")
        return words[1:]

    def angles(self) -> np.ndarray:
        return np.array([float(word) for word in self.ask("R")])

    def home(self) -> None:
        """Once, before the loop: a goal means nothing until the servos know where zero is."""
        self.ask("H")
        limit = time.monotonic() + 5
        while np.abs(self.angles()).max() > 0.02:
            if time.monotonic() > limit:
                raise TimeoutError("the arm did not reach its home")
            time.sleep(0.02)

    def read(self) -> Stamped:
        before = time.monotonic()
        angles = self.angles()
        return Stamped({"angles": angles}, (before + time.monotonic()) / 2)  # when it was so, not when it was told

    def write(self, action: np.ndarray) -> None:
        goals = np.clip(action, -REACH, REACH)  # the last limit is the driver's own, whatever came before it
        self.ask("G " + " ".join(f"{goal:.5f}" for goal in goals))

    def stop(self) -> None:
        """May come from the watchdog's thread while the loop waits for an answer: it sends, and waits for nothing."""
        os.write(self.line, b"S\n")
        self.stopped = True


def demonstrations() -> isd_policy.Demonstrations:
    """Arms that approach the pose (.6, -.4, .3) from anywhere: the next goal is a step towards it."""
    rng, pose = np.random.default_rng(0), np.array([0.6, -0.4, 0.3])
    seen, goals, ends = [], [], []
    for _ in range(60):
        angles = rng.uniform(-0.9, 0.9, JOINTS)
        for _ in range(40):
            goal = angles + np.clip(0.3 * (pose - angles), -0.08, 0.08)
            seen.append(angles)
            goals.append(goal)
            angles = goal + rng.normal(0, 0.005, JOINTS)
        ends.append(len(seen))
    return isd_policy.Demonstrations.from_arrays(
        observations={"angles": np.array(seen)}, actions=np.array(goals), episode_ends=ends, rate=RATE
    )


if __name__ == "__main__":
    controller, line = pty.openpty()
    tty.setraw(controller)
    process = multiprocessing.get_context("fork").Process(target=servos, args=(controller,), daemon=True)
    process.start()  # before the training: a fork copies no threads
    with tempfile.TemporaryDirectory() as folder:
        policy = isd_policy.train(
            demonstrations(),
            network=isd_policy.preset("network", "dit1d")(width=64, depth=2, heads=2),
            horizons={"observation": 1, "prediction": 8, "execution": 4},
            trainer=isd_policy.preset("trainer", "demo")(batch_size=64, **{"optimizer.lr": 3e-3}),
            steps=200,
            run_dir=f"{folder}/run",
        )
    arm = SerialArm(os.ttyname(line))
    try:
        arm.home()
        print(f"Homed: {np.round(arm.angles(), 2)}.")
        # The guards know the range of the training data's goals and how far a joint may go from tick to tick.
        guards = Guards.positions(-REACH, REACH, rate=SPEED / RATE)
        with Runner(arm, policy, guards, LoopSettings(rate=RATE)) as runner:
            report = runner.run(ticks=60)
        print(report.sentence())
        time.sleep(0.1)
        print(f"The arm is at {', '.join(f'{angle:.2f}' for angle in runner.history.newest()['angles'])}.")
        print(f"Stopped: {arm.stopped}.")
    finally:
        process.terminate()
        process.join()
