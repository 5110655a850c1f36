"""Held-out episodes, which judge a policy where there is no simulator: validation loss, and the error of its actions.

The error is open-loop: at moments of the held-out episodes, the actions that the policy would execute are compared with
those that were recorded. A small one is no proof of success on the robot, and a large one of failure; of several
checkpoints it tells which learned the demonstrations best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isd_core import objectives
from isd_core.sampling import check_counts
from isd_core.support import seeds
from isd_core.support.errors import InputError
from isd_core.support.files import write_json
from isd_core.support.registry import build
from isd_core.training import checkpoint
from isd_core.training.batches import to_device
from isd_core.training.loss_module import LossModule
from isd_core.training.trainer import Trainer
from isd_policy.actions import ActionRepresentation
from isd_policy.backend import Inputs
from isd_policy.data.demonstrations import Demonstrations
from isd_policy.data.windows import ActionChunks
from isd_policy.horizons import Horizons
from isd_policy.loading import load_policy
from isd_policy.normaliser import CONSTANT_RANGE
from isd_policy.policy import Policy
from isd_policy.selection import Judged, check_every
from isd_policy.validation import check_whole

MEMBERS = (objectives,)
"""Imported so that what a config names is registered."""
WINDOWS = 256
"""Windows of the held-out episodes, at most, evenly spread, that a judgement takes."""
ROWS = 64


def split(demonstrations: Demonstrations, share: Any, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Episodes to train on and to hold out, drawn from (seed, "held out"). share: of the episodes, dataset.held_out.

    One at least is held out where there are two or more, and none of a single one or with a share of 0. Raises
    `InputError` for a share that leaves nothing to train on.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
        raise InputError(f"dataset.held_out={share}: expected a share of the episodes, from 0 to below 1.")
    count = len(demonstrations)
    held = min(max(1, round(share * count)), count - 1) if share and count > 1 else 0
    order = seeds.numpy_rng(seed, "held out").permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


@dataclass
class HeldOut(Judged):
    """Judges every checkpoint that is due, on the training's device, and says which is the best.

    every: steps between judgements, 0 for all checkpoints. The `keep` checkpoints with the smallest error at the first
    of `nfe` stay beside the newest ones. encoded: windows as the network learns them; recorded: the robot's actions.
    """

    run_dir: Path
    seed: int
    every: int
    nfe: list[int]
    keep: int
    horizons: Horizons
    encoded: ActionChunks
    recorded: ActionChunks
    objective: Mapping[str, Any]

    largest_is_best = False

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        check_nfe: Callable[[int], int],
        demonstrations: Demonstrations,
        episodes: np.ndarray,
        horizons: Horizons,
        actions: ActionRepresentation,
    ) -> HeldOut:
        """From a resolved training config. Raises `InputError` for a bad field."""
        fields = config["evaluation"]
        for name in ("every", "keep"):
            check_whole(fields, name, least=0)
        check_every(config)
        return cls(
            run_dir=Path(config["run_dir"]),
            seed=config["seed"],
            every=fields["every"],
            nfe=check_counts(fields["nfe"], check_nfe),
            keep=fields["keep"],
            horizons=horizons,
            encoded=ActionChunks(demonstrations, horizons, actions, episodes),
            recorded=ActionChunks(demonstrations, horizons, None, episodes),
            objective=config["objective"],
        )

    def __call__(self, trainer: Trainer) -> None:
        """After a checkpoint, where it is due: judges it, writes, logs and tells the result."""
        place = checkpoint.folder(self.run_dir, trainer.step)
        out = self.result(place)
        due = not self.every or trainer.step % self.every == 0 or trainer.step == trainer.cfg.steps
        if not due or out.exists() or not trainer.step:
            return
        policy = load_policy(checkpoint.load(place), device=str(trainer.device))
        loss, errors = self.loss_of(policy), {nfe: self.error_of(policy, nfe) for nfe in self.nfe}
        content = {
            "checkpoint": {"path": str(place), "step": trainer.step},
            "windows": len(self.chosen),
            "validation_loss": loss,
            "action_error": {
                str(nfe): {"mean": float(error.mean()), "by_number": error.tolist()} for nfe, error in errors.items()
            },
        }
        write_json(out, content)
        record = {"validation_loss": loss} | {f"action_error_{nfe}": float(e.mean()) for nfe, e in errors.items()}
        trainer.log({"step": trainer.step, "evaluated_step": trainer.step, **record})
        best, least = self.ranking()[0]
        said = ", ".join(f"{100 * float(error.mean()):.2f} % at {nfe} NFE" for nfe, error in errors.items())
        print(
            f"{self.run_dir}: step {trainer.step}: held-out episodes: loss {loss:.4g}, open-loop action error {said} "
            f"of the range; best so far {best.name} ({100 * least:.2f} %)",
            flush=True,
        )

    def finish(self, trainer: Trainer) -> None:
        """Nothing is left to do: every judgement is made when its checkpoint is."""

    def protected(self) -> list[Path]:
        """The checkpoints that stay: the best."""
        return [place for place, _ in self.ranking()[: self.keep]]

    def measure(self, content: Mapping[str, Any]) -> float:
        """The mean error."""
        return float(content["action_error"][str(self.nfe[0])]["mean"])

    @property
    def chosen(self) -> torch.Tensor:
        """The windows that are looked at."""
        count = len(self.encoded)
        return torch.linspace(0, count - 1, min(WINDOWS, count)).round().long().unique()

    def loss_of(self, policy: Policy) -> float:
        """The objective's loss, mean over the windows, at the same draws whatever the checkpoint."""
        module = LossModule(policy, build("objective", self.objective), None).to(policy.device).eval()
        total, parts = 0.0, self.chosen.split(ROWS)
        for number, rows in enumerate(parts):
            rng = seeds.torch_rng(self.seed, "held out", number, device=policy.device)
            with module.precision():
                out = module(to_device(self.encoded.batch(rows), policy.device), rng, 0)
            total += float(out.loss.detach()) * len(rows)
        return total / len(self.chosen)

    def error_of(self, policy: Policy, nfe: int) -> np.ndarray:
        """[Da] mean absolute difference of the executed actions from the recorded ones, as a share of each number's
        range in the training data. Numbers that never change there count by their units.
        """
        low, high = policy.normaliser.limits.low.cpu().numpy(), policy.normaliser.limits.high.cpu().numpy()
        span = np.where(high - low < CONSTANT_RANGE, 1.0, high - low)
        total = np.zeros(len(span))
        for rows in self.chosen.split(ROWS):
            batch = self.recorded.batch(rows)
            obs = {key: values.numpy() for key, values in batch["obs"].items()}
            noise = policy.noise(policy.initial_noise, [(self.seed, row) for row in rows.tolist()])
            planned = policy.infer(Inputs(obs, noise), nfe)[:, : self.horizons.execution]
            recorded = batch["action"].numpy()[:, self.horizons.ahead][:, : self.horizons.execution]
            total += (np.abs(planned - recorded) / span).mean(axis=1).sum(axis=0)
        return total / len(self.chosen)
