"""One robot's side of a policy, whatever computes it: checked observations, their history, noise, a call's parts."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.history import ObservationHistory
from isd_core.training.checkpoint import Checkpoint
from isd_policy.candidates import check_candidates, chosen
from isd_policy.horizons import Horizons
from isd_policy.normaliser import FARTHEST, half_range
from isd_policy.observations import ObservationSchema, numbers_in

INITIAL_NOISE = ("gaussian", "zeros")

FAR = 10.0
"""Half ranges of the training data beyond which an observation counts as far from them."""

Row = dict[str, np.ndarray]
"""One checked observation (see `ObservationSchema.row`)."""


class Call(NamedTuple):
    """One call of a policy: the last To observations, oldest first, and the stream (seed, *index) of its noise.

    prefix: [d, robot's Da] the actions from the newest observation on that the robot executes while the call runs; the
    chunk begins with them and continues them. For policies that were trained with a delay. left: [m, robot's Da] what
    the robot would do from the newest observation on if no chunk came, by which choose=coherent chooses.
    """

    history: Sequence[Row]
    stream: tuple[int, ...]
    prefix: np.ndarray | None = None
    left: np.ndarray | None = None


class Prefix(NamedTuple):
    """Given actions of B calls: actions [B, most, robot's Da], of which the first length [B] are given."""

    actions: np.ndarray
    length: np.ndarray


class Inputs(NamedTuple):
    """Calls as arrays: obs, key -> [B, To, ...]; noise [B K, T, the network's Da], the K candidates of a call one after
    the other; prefix: None gives no action; left: of each call, as `Call` has it.
    """

    obs: dict[str, np.ndarray]
    noise: np.ndarray
    prefix: Prefix | None = None
    left: Sequence[np.ndarray | None] = ()

    @property
    def candidates(self) -> int:
        """K."""
        return len(self.noise) // len(next(iter(self.obs.values())))


class PolicyBackend(ABC):
    """A policy that drives robots: `reset`, `observe`, `act` for one, `preprocess` and `infer` for many or for a loop.

    A backend sets schema, horizons, nfe (network calls of `act`) and initial_noise (`gaussian` or `zeros`), and gives
    `action_size`, `action_range` and `predict`. candidates, choose: chunks from so many noises are computed in one
    call, and one of them is the answer (`isd_policy.candidates`).
    """

    schema: ObservationSchema
    horizons: Horizons
    nfe: int
    initial_noise: str
    candidates: int = 1
    choose: str = "medoid"
    source: Checkpoint | None = None
    """What it was loaded from."""

    _warned = False

    @property
    @abstractmethod
    def action_size(self) -> int:
        """The network's size of an action, which is the noise's."""

    @property
    @abstractmethod
    def action_range(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and largest numbers of the training data's actions in the robot's units, ([Da], [Da])."""

    @property
    def robot_action_size(self) -> int:
        """The robot's size of an action, which is that of what `infer` returns."""
        return len(self.action_range[0])

    @property
    def longest_prefix(self) -> int | None:
        """How many actions may be given to a call as its prefix; None for a policy that was trained without."""
        return None

    @property
    @abstractmethod
    def training_range(self) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
        """The smallest and largest numbers of the training data's observations, key -> ([d], [d])."""

    @property
    @abstractmethod
    def usual_nfe(self) -> tuple[int, ...]:
        """The numbers of network calls to begin with."""

    @abstractmethod
    def check_nfe(self, nfe: int) -> int:
        """`nfe` itself; `InputError` for a number of network calls that the backend cannot make."""

    @abstractmethod
    def predict(self, inputs: Inputs, nfe: int | None = None) -> np.ndarray:
        """All predicted actions from the newest observation on, for every candidate, [B K, T - To + 1, robot's Da]
        float32.

        Raises `InputError` for a number of network calls that the backend cannot make.
        """

    def infer(self, inputs: Inputs, nfe: int | None = None) -> np.ndarray:
        """All predicted actions from the newest observation on, [B, T - To + 1, robot's Da] float32.

        Raises `InputError` for a number of network calls that the backend cannot make.
        """
        actions = self.predict(inputs, nfe)
        if inputs.candidates == 1:
            return actions
        chunks = actions.reshape(-1, inputs.candidates, *actions.shape[1:])
        return chosen(chunks, self.choose, half_range(*self.action_range), inputs.left)

    def use(
        self,
        nfe: int | None = None,
        initial_noise: str | None = None,
        candidates: int | None = None,
        choose: str | None = None,
    ) -> None:
        """Sets the network calls, the initial noise and the candidates of the calls that name none; None leaves one as
        it is.

        Raises `InputError` for what the backend does not have.
        """
        initial_noise = self.initial_noise if initial_noise is None else check_initial_noise(initial_noise)
        candidates = self.candidates if candidates is None else candidates
        choose = self.choose if choose is None else choose
        check_candidates(candidates, choose, initial_noise)
        self.nfe = self.nfe if nfe is None else self.check_nfe(nfe)
        self.initial_noise, self.candidates, self.choose = initial_noise, candidates, choose

    def row(self, obs: Mapping[str, np.ndarray]) -> Row:
        """A checked copy of one observation, key -> [d] or [H, W, C].

        The first one far outside of the training data is told of in a warning. Raises `InputError` for a missing key, a
        wrong shape, and what is no finite number.
        """
        row = self.schema.row(obs)
        if not self._warned and (words := far_from_training(row, self.training_range)) is not None:
            self._warned = True
            warnings.warn(words, RuntimeWarning, stacklevel=2)
        return row

    def preprocess(self, calls: Sequence[Call]) -> Inputs:
        """The arrays of some calls."""
        histories = [
            {key: np.stack([row[key] for row in call.history]) for key in self.schema.shapes} for call in calls
        ]
        noise = self.noise(self.initial_noise, [call.stream for call in calls])
        prefix = self.prefix([call.prefix for call in calls])
        return Inputs(self.schema.stack(histories), noise, prefix, [call.left for call in calls])

    def prefix(self, given: Sequence[np.ndarray | None]) -> Prefix | None:
        """The given actions of some calls as arrays; None for a policy without.

        Raises `InputError` where actions are given that are none, or more than the policy was trained with.
        """
        checked = [np.zeros((0, self.robot_action_size)) if a is None else self.check_prefix(a) for a in given]
        if self.longest_prefix is None:
            return None
        filled = np.zeros((len(given), self.longest_prefix, self.robot_action_size), np.float32)
        for row, actions in zip(filled, checked, strict=True):
            row[: len(actions)] = actions
        return Prefix(filled, np.array([len(actions) for actions in checked], np.int64))

    def check_actions(self, name: str, given: object) -> np.ndarray:
        """Actions of the robot that a call was given under a name, [d, Da] float32; `InputError` for anything else."""
        actions, size = numbers_in(name, given), self.robot_action_size
        if actions.ndim != 2 or actions.shape[1] != size:
            raise InputError(f"`{name}` has shape {list(actions.shape)}; expected actions of the robot, [d, {size}].")
        if not np.isfinite(actions).all():
            raise InputError(f"`{name}` holds numbers that are not finite. The policy was not called.")
        return actions.astype(np.float32)

    def check_prefix(self, given: object) -> np.ndarray:
        """Given actions as [d, robot's Da] float32; `InputError` where they cannot be a prefix."""
        actions = self.check_actions("prefix", given)
        ahead = self.horizons.prediction - self.horizons.observation + 1
        if len(actions) >= ahead:
            raise InputError(
                f"The prefix has {len(actions)} actions, but a chunk has {ahead} from the newest observation on: "
                "nothing would be left to predict."
            )
        if len(actions) and self.longest_prefix is None:
            raise InputError(
                "This policy was trained without a prefix and cannot be given one: train it with delay=uniform."
            )
        if len(actions) > (self.longest_prefix or 0):
            raise InputError(
                f"The prefix has {len(actions)} actions; the policy was trained with at most {self.longest_prefix}. "
                "Train it with a longer delay, or give fewer."
            )
        return actions

    def noise(self, initial_noise: str, streams: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Initial noise [len(streams) K, T, Da] for K candidates a stream: zeros, or normal numbers of the streams.

        The first candidate's are those of (seed, "policy", *index), number k's of (seed, "candidate", *index, k).
        """
        shape = (self.horizons.prediction, self.action_size)
        if check_initial_noise(initial_noise) == "zeros":
            return np.zeros((len(streams) * self.candidates, *shape), np.float32)
        rngs = []
        for seed, *index in streams:
            rngs.append(seeds.numpy_rng(seed, "policy", *index))
            rngs += [seeds.numpy_rng(seed, "candidate", *index, k) for k in range(1, self.candidates)]
        return np.stack([rng.standard_normal(shape, np.float32) for rng in rngs])

    # -- one robot ----------------------------------------------------------------------------------------------------

    def reset(self, seed: int = 0) -> None:
        """Forgets the observations; the noise of the calls that follow comes from (seed, number of the call)."""
        self._history: ObservationHistory[Row] = ObservationHistory(self.horizons.observation)
        self._seed, self._calls = seed, 0
        self._left: np.ndarray | None = None

    def observe(self, obs: Mapping[str, np.ndarray]) -> None:
        """Adds one observation to the history; the first one fills it. Call it at every control step (see `row`)."""
        self._history.push(self.row(obs))
        self._left = None if self._left is None else self._left[1:]

    def act(
        self,
        obs: Mapping[str, np.ndarray],
        nfe: int | None = None,
        initial_noise: str | None = None,
        prefix: np.ndarray | None = None,
    ) -> np.ndarray:
        """`observe(obs)`, then the next actions to execute, [Ta, robot's Da] float32.

        prefix: [d, robot's Da] what the robot executes from this observation on until the call's answer is there, for a
        policy that was trained with a delay; the answer is what follows it, at most Ta actions. Raises `InputError` for
        a prefix that the policy cannot be given, and `FloatingPointError` where the network's actions are not finite.
        """
        given = 0 if prefix is None else len(self.check_prefix(prefix))
        self.observe(obs)
        inputs = self.preprocess([Call(self._history.rows(), (self._seed, self._calls), prefix, self._left)])
        if initial_noise is not None:
            inputs = inputs._replace(noise=self.noise(initial_noise, [(self._seed, self._calls)]))
        self._calls += 1
        self._left = check_finite(self.infer(inputs, nfe)[0])
        return self._left[given : given + self.horizons.execution]


def check_finite(actions: np.ndarray) -> np.ndarray:
    """`actions` themselves; `FloatingPointError` unless all of them are finite."""
    if not np.isfinite(actions).all():
        raise FloatingPointError(
            "the policy's actions are not finite: an observation is too far from the training data "
            f"({FARTHEST:g} half ranges or more), or the weights are damaged"
        )
    return actions


def far_from_training(row: Row, known: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str | None:
    """Which number of an observation is farther from the training data than `FAR` half ranges, in words, or None."""
    for key, (low, high) in known.items():
        distance = np.abs(row[key] - (low + high) / 2) / half_range(low, high)
        if distance.size and distance.max() > FAR:
            worst = int(distance.argmax())
            return (
                f"The observation `{key}` is far from the training data: number {worst} of it is {row[key][worst]:g}, "
                f"while they reach from {low[worst]:g} to {high[worst]:g}. What a policy does there nobody knows; "
                "further observations like this are not told of."
            )
    return None


def check_initial_noise(initial_noise: str) -> str:
    """`initial_noise` itself; `InputError` unless it is one of `INITIAL_NOISE`."""
    if initial_noise not in INITIAL_NOISE:
        raise InputError(f"initial_noise={initial_noise}: the sampler begins from {' or '.join(INITIAL_NOISE)}.")
    return initial_noise
