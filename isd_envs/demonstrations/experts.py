"""Scripted experts: closed-loop state machines on the observation, with Gaussian action noise."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from isd_core.support.errors import InputError
from isd_envs.engines.engine import Observation

OPEN, CLOSE = -1.0, 1.0
GAIN = 10.0
"""Action units per metre: an action of 1 moves the goal by 0.05 m, so an error is halved in one control step."""
ROTATION_GAIN = 2.0
"""Action units per radian: an action of 1 turns the goal by 0.5 rad."""


class Expert(ABC):
    """One episode of a scripted behaviour for `delta` actions in the base frame (the robot's base is not rotated).

    noise: standard deviation of the Gaussian noise on the six pose numbers of each action, in action units.
    """

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        self.noise, self.rng = noise, rng
        self.phase = 0
        self.waited = 0

    def act(self, observation: Observation) -> tuple[np.ndarray, np.ndarray]:
        """The action to execute and the one that the expert means, [7] in [-1, 1] each.

        The second is the label of DART (arXiv 1703.09327): noise leads the recording off the expert's own states, and
        what is learned there is the correction and not the noise.
        """
        intended = self.decide(observation)
        action = intended.copy()
        action[:6] += self.rng.normal(0.0, self.noise, 6)
        return np.clip(action, -1.0, 1.0), np.clip(intended, -1.0, 1.0)

    @abstractmethod
    def decide(self, observation: Observation) -> np.ndarray:
        """The action without noise; moves on to the next phase where its condition holds."""

    def advance(self) -> None:
        """Enters the next phase."""
        self.phase += 1
        self.waited = 0

    def wait(self, steps: int) -> None:
        """Enters the next phase after so many steps in this one."""
        self.waited += 1
        if self.waited > steps:
            self.advance()


class LiftExpert(Expert):
    """Over the cube with open fingers, down, close, up."""

    above = np.array([0.0, 0.0, 0.06])

    def decide(self, observation: Observation) -> np.ndarray:
        cube, hand = observation["object"][:3], observation["robot0_eef_pos"]
        action = np.zeros(7)
        if self.phase == 0:
            error = cube + self.above - hand
            action[:3], action[6] = GAIN * error, OPEN
            if np.hypot(*error[:2]) < 0.012:
                self.advance()
        elif self.phase == 1:
            error = cube - hand
            action[:3], action[6] = GAIN * error, OPEN
            if np.linalg.norm(error) < 0.012:
                self.advance()
        elif self.phase == 2:
            action[:3], action[6] = GAIN / 2 * (cube - hand), CLOSE
            self.wait(5)
        else:
            action[2], action[6] = 0.8, CLOSE
        return action


class CanExpert(Expert):
    """Over the can, down, close, up, over the can's bin, down, open, up."""

    goal = np.array([0.18, 0.37])
    """Within the can's bin, a little on the robot's side of its centre (m)."""
    travel_height = 1.0
    release_height = 0.93

    def decide(self, observation: Observation) -> np.ndarray:
        can, hand = observation["object"][7:10], observation["robot0_eef_pos"]
        grip = CLOSE if 2 <= self.phase <= 5 else OPEN
        target = can.copy()
        if self.phase == 0:
            target[2] += 0.10
            done = bool(np.hypot(*(target - hand)[:2]) < 0.012 and abs(target[2] - hand[2]) < 0.03)
        elif self.phase == 1:
            target[2] += 0.01
            done = bool(np.linalg.norm(target - hand) < 0.015)
        elif self.phase in (2, 6):
            target = hand.copy()
            self.wait(8 if self.phase == 2 else 4)
            done = False
        elif self.phase == 3:
            target = np.array([*hand[:2], self.travel_height])
            done = bool(hand[2] > self.travel_height - 0.03)
        elif self.phase == 4:
            target = np.array([*self.goal, self.travel_height])
            done = bool(np.hypot(*(target - hand)[:2]) < 0.03)
        elif self.phase == 5:
            target = np.array([*self.goal, self.release_height])
            done = bool(abs(target[2] - hand[2]) < 0.02)
        else:
            target = np.array([*hand[:2], self.travel_height])
            done = False
        if done:
            self.advance()
        return np.array([*GAIN * (target - hand), *level(observation, 0.0), grip])


class SquareExpert(Expert):
    """Grips the nut by its handle, carries it over the square peg with its sides aligned, lowers it and lets go."""

    peg = np.array([0.23, 0.10])
    handle = 0.062
    """From the nut's centre to where the handle is gripped (m)."""
    travel_height = 0.995
    release_height = 0.90
    widest = 1.75
    """How far the hand turns at most (rad)."""

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        super().__init__(noise, rng)
        self.square = 0.0

    def decide(self, observation: Observation) -> np.ndarray:
        nut, hand = observation["object"][7:10], observation["robot0_eef_pos"]
        rotation = rotation_of(observation["object"][10:14])
        heading = float(np.arctan2(rotation[1, 0], rotation[0, 0]))
        grip = CLOSE if 2 <= self.phase <= 5 else OPEN
        target = nut + self.handle * rotation[:, 0]
        yaw, done = half_turn(heading), False
        if self.phase == 0:
            target[2] = max(target[2], 0.83) + 0.08
            aligned = np.hypot(*(target - hand)[:2]) < 0.010 and abs(turned(observation, yaw)) < 0.06
            done = bool(aligned and abs(target[2] - hand[2]) < 0.03)
        elif self.phase == 1:
            done = bool(np.linalg.norm(target - hand) < 0.012)
        elif self.phase in (2, 6):
            target = hand.copy()
            yaw = turned(observation, 0.0)
            self.wait(8 if self.phase == 2 else 4)
        elif self.phase == 3:
            target = np.array([*hand[:2], self.travel_height])
            yaw = turned(observation, 0.0)
            self.square = self.nearest_square(heading, yaw)
            done = bool(hand[2] > self.travel_height - 0.02)
        elif self.phase in (4, 5):
            off = (self.square - heading + np.pi) % (2 * np.pi) - np.pi
            yaw = turned(observation, 0.0) + off
            height = self.travel_height if self.phase == 4 else self.release_height
            target = np.array([*(hand[:2] + self.peg - nut[:2]), height])
            over = bool(np.hypot(*(self.peg - nut[:2])) < 0.005 and abs(off) < 0.06)
            done = over if self.phase == 4 else bool(nut[2] < 0.915)
        else:
            target = np.array([*hand[:2], self.travel_height])
            yaw = turned(observation, 0.0)
        if done:
            self.advance()
        return np.array([*GAIN * (target - hand), *level(observation, yaw), grip])

    def nearest_square(self, heading: float, yaw: float) -> float:
        """The heading of the nut, of the four that fit the peg, that keeps the hand near the robot and turns it little.

        heading: of the nut; yaw: of the hand (rad).
        """
        costs = {}
        for square in (0.0, np.pi / 2, np.pi, -np.pi / 2):
            turn = (square - heading + np.pi) % (2 * np.pi) - np.pi
            if abs(yaw + turn) < self.widest:
                costs[square] = self.handle * np.cos(square) + 0.02 * abs(turn)
        return min(costs, key=costs.__getitem__) if costs else quarter_turn(heading)


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Quaternion xyzw [4] -> rotation matrix [3, 3]."""
    x, y, z, w = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def turned(observation: Observation, yaw: float) -> float:
    """How far the hand's heading is beyond `yaw` (rad), in [-pi, pi)."""
    axis = rotation_of(observation["robot0_eef_quat"])[:, 0]
    return float((np.arctan2(axis[1], axis[0]) - yaw + np.pi) % (2 * np.pi) - np.pi)


def level(observation: Observation, yaw: float) -> np.ndarray:
    """The rotation part [3] of an action that turns the hand to point down with the given heading."""
    present = rotation_of(observation["robot0_eef_quat"])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    goal = np.array([[cosine, sine, 0.0], [sine, -cosine, 0.0], [0.0, 0.0, -1.0]])
    return ROTATION_GAIN * 0.5 * np.cross(present, goal, axis=0).sum(axis=1)


def half_turn(angle: float) -> float:
    """The same line's direction in [-pi/2, pi/2)."""
    return (angle + np.pi / 2) % np.pi - np.pi / 2


def quarter_turn(angle: float) -> float:
    """The nearest multiple of pi/2."""
    return round(angle / (np.pi / 2)) * np.pi / 2


EXPERTS: dict[str, type[Expert]] = {"lift": LiftExpert, "can": CanExpert, "square": SquareExpert}


def expert_for(task: str) -> type[Expert]:
    """The expert class of a task; `InputError` for a task without one."""
    if task not in EXPERTS:
        raise InputError(f"There is no scripted expert for {task!r}; experts exist for {', '.join(EXPERTS)}.")
    return EXPERTS[task]
