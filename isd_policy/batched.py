"""A policy as the function that rollouts ask: requests in, action chunks out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from isd_core.support.errors import InputError
from isd_policy.backend import Inputs, PolicyBackend, check_initial_noise

ROWS = 16
"""Rows of a call of the network are a multiple of this: a processor's kernels work on 16 numbers at once and round the
rest of an array differently, so that at such a multiple a row's bits do not depend on its place."""


class Request(Protocol):
    """One call of the policy: number `call` of episode `episode`, on the last To observations (key -> [To, ...])."""

    @property
    def episode(self) -> int: ...

    @property
    def call(self) -> int: ...

    @property
    def obs(self) -> dict[str, np.ndarray]: ...


class BatchedPolicy:
    """A policy for any number of episodes, each row independent of the others to the last bit.

    Every call of the network has `rows` rows (and as many for each further candidate of the policy), the free ones
    filled with copies of the first; the noise of a row comes from (seed, episode, call) alone. Raises `InputError`
    unless `rows` is a multiple of `ROWS`.
    """

    def __init__(
        self, policy: PolicyBackend, nfe: int, *, seed: int, initial_noise: str = "gaussian", rows: int = ROWS
    ) -> None:
        if rows < 1 or rows % ROWS:
            raise InputError(f"rows={rows}: expected a multiple of {ROWS}.")
        self.policy, self.nfe, self.seed, self.initial_noise, self.rows = (
            policy,
            nfe,
            seed,
            check_initial_noise(initial_noise),
            rows,
        )
        self.call_seconds: list[float] = []
        """Seconds of each call of the sampler, `rows` rows at a time."""
        self._left: dict[int, tuple[int, np.ndarray]] = {}
        """What is left of the last chunk of each episode, and the number of the call that it is for."""

    def warm_up(self, calls: int = 3) -> None:
        """Calls the sampler on zeros, so that one-time work is not measured."""
        obs, noise = self.policy.schema.zeros(self.rows, self.policy.horizons.observation), [(0,)] * self.rows
        for _ in range(calls):
            self.policy.infer(Inputs(obs, self.policy.noise("zeros", noise)), self.nfe)

    def __call__(self, requests: Sequence[Request]) -> np.ndarray:
        """Actions [len(requests), Ta, Da] in the robot's units."""
        parts = [requests[i : i + self.rows] for i in range(0, len(requests), self.rows)]
        return np.concatenate([self._predict(part) for part in parts])

    def _predict(self, requests: Sequence[Request]) -> np.ndarray:
        began = time.perf_counter()
        filled = [*requests, *[requests[0]] * (self.rows - len(requests))]
        obs = self.policy.schema.stack([request.obs for request in filled])
        noise = self.policy.noise(
            self.initial_noise, [(self.seed, request.episode, request.call) for request in filled]
        )
        left = [self._left_of(request) for request in filled]
        chunks, executed = self.policy.infer(Inputs(obs, noise, left=left), self.nfe), self.policy.horizons.execution
        self.call_seconds.append(time.perf_counter() - began)
        for request, chunk in zip(requests, chunks, strict=False):
            self._left[request.episode] = request.call + 1, chunk[executed:]
        return chunks[: len(requests), :executed]

    def _left_of(self, request: Request) -> np.ndarray | None:
        call, left = self._left.get(request.episode, (0, None))
        return left if call == request.call else None
