"""Experts of the tasks with one arm and short episodes, by `delta` actions in the base frame."""

from __future__ import annotations

import numpy as np

from isd_core.support.registry import register
from isd_envs.demonstrations.experts.base import Expert
from isd_envs.demonstrations.experts.geometry import (
    CLOSE,
    GAIN,
    OPEN,
    half_turn,
    level,
    quarter_turn,
    rotation_of,
    turned,
)
from isd_envs.engines.engine import Observation


@register("expert", "lift")
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


@register("expert", "can")
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


@register("expert", "square")
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
