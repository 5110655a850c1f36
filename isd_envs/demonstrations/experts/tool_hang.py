"""ToolHang: puts the frame upright into the stand, then hangs the tool on the post at the end of its bar."""

from __future__ import annotations

import numpy as np

from isd_core.support.registry import register
from isd_envs.demonstrations.experts.base import Expert
from isd_envs.demonstrations.experts.geometry import CLOSE, GAIN, OPEN, between, pointing_down, rotation_of, turn_to
from isd_envs.engines.engine import Observation

SHAFT = np.array([0.0, 0.045, 0.155])
"""The upper end of the stand's shaft, from the middle of its foot (m)."""
GRIP = np.array([0.0, 0.0, -0.034])
"""The middle of the frame's grip, from the frame's corner, in its own axes; so are the next two."""
TIP = np.array([0.0, 0.0, -0.2207])
POST = np.array([-0.0875, 0.0, 0.0])
HOLE = np.array([-0.0936, 0.0, 0.0])
"""The hole by which the tool hangs, from the middle of the tool."""
UPRIGHT = np.diag([-1.0, -1.0, 1.0])
"""The frame in the stand: its bar points away from the robot, and the hand holds it from the left."""
TURNING = np.array([-0.08, -0.05, 1.24]) - GRIP
"""Where the frame's corner is while it is turned upright, free of everything."""
RETURNING = np.array([-0.12, -0.08, 1.2])
"""Where the hand points down again before it turns to the tool."""
TILT = 1.05
"""How far the handle is lowered in the hand; laid down flat, the hole would jam on the post (rad)."""


@register("expert", "tool_hang")
class ToolHangExpert(Expert):
    """Takes the frame by its grip, turns the rod down, lowers it into the shaft; takes the tool by its handle, lays the
    hole over the post from above, lowers the handle, and lets go.
    """

    def __init__(self, noise: float, rng: np.random.Generator) -> None:
        super().__init__(noise, rng)
        self.phases = (
            *(self.over_frame, self.at_frame, self.grasp, self.raise_frame, self.turn_frame, self.over_stand),
            *(self.insert, self.release, self.back_off, self.rise, self.point_down, self.over_tool, self.at_tool),
            *(self.grasp, self.raise_tool, self.over_post, self.onto_post, self.tilt, self.release, self.leave),
        )
        self.place, self.turn = np.zeros(3), np.eye(3)
        self.held = self.place, self.turn
        self.hung = np.zeros(3)

    def decide(self, observation: Observation) -> np.ndarray:
        state = observation["object"]
        self.place, self.turn = observation["robot0_eef_pos"], rotation_of(observation["robot0_eef_quat"])
        self.foot = state[7:10]
        self.corner, self.frame = state[21:24], rotation_of(state[24:28])
        self.middle, self.tool = state[35:38], rotation_of(state[38:42])
        if self.waited == 0:
            self.held = self.place.copy(), self.turn.copy()
        return self.phases[min(self.phase, len(self.phases) - 1)]()

    def to(self, place: np.ndarray, turn: np.ndarray, grip: float, done: bool = False) -> np.ndarray:
        """The action towards a pose of the hand; the next phase begins if this one is done."""
        rotation = turn_to(turn, self.turn)
        rotation *= min(1.0, 0.5 / max(np.abs(rotation).max(), 1e-9))
        self.waited += 1
        if done:
            self.advance()
        return np.array([*GAIN * (place - self.place), *rotation, grip])

    def near(self, place: np.ndarray, tolerance: float, turn: np.ndarray | None = None, angle: float = 0.08) -> bool:
        close = bool(np.linalg.norm(place - self.place) < tolerance)
        return close and (turn is None or between(turn, self.turn) < angle)

    def grasp(self) -> np.ndarray:
        return self.to(*self.held, CLOSE, self.waited >= 8)

    def release(self) -> np.ndarray:
        return self.to(*self.held, OPEN, self.waited >= 6)

    # -- the frame ----------------------------------------------------------------------------------------------------

    @property
    def across_rod(self) -> np.ndarray:
        """The turn of a hand whose fingers close across the lying rod, with its x axis towards the tip."""
        return pointing_down(np.arctan2(-self.frame[1, 2], -self.frame[0, 2]))

    def over_frame(self) -> np.ndarray:
        place, turn = self.corner + self.frame @ GRIP + np.array([0.0, 0.0, 0.08]), self.across_rod
        return self.to(place, turn, OPEN, self.near(place, 0.012, turn, 0.06))

    def at_frame(self) -> np.ndarray:
        place = self.corner + self.frame @ GRIP + np.array([0.0, 0.0, 0.002])
        return self.to(place, self.across_rod, OPEN, self.near(place, 0.008))

    def raise_frame(self) -> np.ndarray:
        return self.to(np.array([*self.place[:2], 1.1]), self.held[1], CLOSE, bool(self.place[2] > 1.06))

    def carry_frame(self, corner: np.ndarray, done: bool) -> np.ndarray:
        """Moves the hand so that the frame comes to be upright with its corner at a place."""
        turn = UPRIGHT @ self.frame.T
        return self.to(corner + turn @ (self.place - self.corner), turn @ self.turn, CLOSE, done)

    def turn_frame(self) -> np.ndarray:
        there = between(UPRIGHT, self.frame) < 0.05 and np.linalg.norm(TURNING - self.corner) < 0.03
        return self.carry_frame(TURNING, bool(there))

    @property
    def tip(self) -> np.ndarray:
        """The rod's tip from the shaft's upper end."""
        return self.corner + self.frame @ TIP - self.foot - SHAFT

    def over_stand(self) -> np.ndarray:
        off = self.tip - np.array([0.0, 0.0, 0.035])
        there = np.hypot(*off[:2]) < 0.002 and abs(off[2]) < 0.01 and between(UPRIGHT, self.frame) < 0.03
        return self.carry_frame(self.foot + SHAFT + np.array([0.0, 0.0, 0.035]) - TIP, bool(there))

    def insert(self) -> np.ndarray:
        """Goes down as long as the tip is over the shaft, or in it."""
        tip, corner = self.tip, self.foot + SHAFT - TIP
        fits = np.hypot(*tip[:2]) < 0.003 or tip[2] < -0.01
        corner[2] = self.corner[2] - (0.015 if fits else 0.0)
        return self.carry_frame(corner, bool(tip[2] < -0.131) or self.waited > 120)

    def back_off(self) -> np.ndarray:
        clear = np.hypot(*(self.place - self.corner)[:2]) > 0.12
        return self.to(self.place - 0.05 * self.turn[:, 2], self.turn, OPEN, bool(clear))

    def rise(self) -> np.ndarray:
        return self.to(self.place + np.array([0.0, 0.0, 0.05]), self.turn, OPEN, bool(self.place[2] > 1.2))

    def point_down(self) -> np.ndarray:
        turn = pointing_down(0.0)
        return self.to(RETURNING, turn, OPEN, self.near(RETURNING, 0.1, turn, 0.3))

    # -- the tool -----------------------------------------------------------------------------------------------------

    @property
    def along_tool(self) -> np.ndarray:
        return pointing_down(np.arctan2(self.tool[1, 0], self.tool[0, 0]))

    def over_tool(self) -> np.ndarray:
        place, turn = self.middle + np.array([0.0, 0.0, 0.12]), self.along_tool
        return self.to(place, turn, OPEN, self.near(place, 0.02, turn))

    def at_tool(self) -> np.ndarray:
        place = self.middle + np.array([0.0, 0.0, 0.004])
        return self.to(place, self.along_tool, OPEN, self.near(place, 0.01))

    def raise_tool(self) -> np.ndarray:
        return self.to(np.array([*self.place[:2], 1.2]), self.held[1], CLOSE, bool(self.place[2] > 1.15))

    @property
    def hole(self) -> np.ndarray:
        return self.middle + self.tool @ HOLE

    def carry_tool(self, hole: np.ndarray, tilt: float, done: bool) -> np.ndarray:
        """Moves the hand so that the handle continues the bar, lowered by `tilt`, with the hole at a place."""
        bar = -self.frame[:, 0] / np.hypot(*self.frame[:2, 0])
        outward, side = np.array([bar[0], bar[1], 0.0]), np.array([-bar[1], bar[0], 0.0])
        handle = np.cos(tilt) * outward - np.array([0.0, 0.0, np.sin(tilt)])
        turn = np.stack([handle, side, np.cross(handle, side)], axis=1) @ self.tool.T
        return self.to(hole + turn @ (self.place - self.hole), turn @ self.turn, CLOSE, done)

    def over_post(self) -> np.ndarray:
        place = self.corner + self.frame @ POST + np.array([0.0, 0.0, 0.05])
        off, sideways = self.hole - place, -self.frame[:2, 0] @ np.array([-self.tool[1, 0], self.tool[0, 0]])
        there = np.hypot(*off[:2]) < 0.003 and abs(off[2]) < 0.01 and abs(sideways) < 0.05
        return self.carry_tool(place, 0.0, bool(there))

    def onto_post(self) -> np.ndarray:
        post = self.corner + self.frame @ POST
        low = bool(self.hole[2] < post[2] + 0.009) or self.waited > 80
        return self.carry_tool(np.array([*post[:2], self.hole[2] - 0.012]), 0.0, low)

    def tilt(self) -> np.ndarray:
        """Lowers the handle while the hole's inner edge slides into the corner of post and bar."""
        tilt = min(0.06 * (self.waited + 1), 1.3)
        share = tilt / (np.pi / 2)
        offset = POST + np.array([0.020 * share - 0.003, 0.0, 0.006 - 0.017 * share])
        lowered = np.arcsin(np.clip(-self.tool[2, 0], -1, 1))
        done = bool(lowered > TILT) or self.waited > 50
        if self.waited == 0:
            self.hung = self.corner + self.frame @ POST  # where the frame stood: what it yields must not be followed
        return self.carry_tool(self.hung + self.frame @ (offset - POST), tilt, done)

    def leave(self) -> np.ndarray:
        return self.to(self.place + np.array([0.0, 0.0, 0.03]), self.turn, OPEN)
