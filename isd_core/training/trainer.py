"""One trainer for both heads.

Every random number of step k comes from (seed, purpose, k, part of the batch), so a resumed run repeats an
uninterrupted one without any saved generator state, and resuming is running the same command again.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isd_core.network import Trainable
from isd_core.objectives.base import LossOut, Objective
from isd_core.support import seeds
from isd_core.support.device import pick_device
from isd_core.support.errors import InputError
from isd_core.support.files import remove_leftovers
from isd_core.support.progress import Progress
from isd_core.training import checkpoint, distributed, heads, sharding
from isd_core.training.batches import Dataset, Prefetch, Shuffle, held_on, to_device
from isd_core.training.config import PRECISIONS, REDUCE_OVERHEAD, SCHEDULES, TrainerConfig
from isd_core.training.diagnostics import ROWS, Watch, Window
from isd_core.training.ema import EMA
from isd_core.training.loggers import Logger
from isd_core.training.loss_module import LossModule
from isd_core.training.optimizer import Skips, optimizer_tensors, restore_optimizer
from isd_core.training.resume import check_same_run
from isd_core.training.run_lock import RunLock


class DivergedError(RuntimeError):
    """Training stopped because its gradients were not finite for many steps in a row."""


class Trainer:
    """Trains `model` with `objective` on `dataset` and leaves checkpoints in `run_dir`.

    config: the resolved config, saved in every checkpoint; it must be that of the run to be resumed, `resumable` fields
    apart. loggers: built by the caller from the step at which the run starts (`Trainer.step`). on_checkpoint: called
    with the trainer after each checkpoint. protected: the checkpoints' folders that stay beside the newest ones. Under
    torchrun each process takes a part of every batch, and the first one writes.
    """

    def __init__(
        self,
        model: Trainable,
        objective: Objective,
        dataset: Dataset,
        trainer: TrainerConfig,
        *,
        run_dir: str | Path,
        seed: int,
        config: Mapping[str, Any],
        kind: str,
        on_checkpoint: Callable[[Trainer], None] | None = None,
        protected: Callable[[], Collection[Path]] = tuple,
    ) -> None:
        self.cfg, self.run_dir, self.seed, self.kind = trainer, Path(run_dir), seed, kind
        self.head = heads.HEADS.get(kind)  # None for a kind of the caller's own
        self.config = config
        self.on_checkpoint, self.protected = on_checkpoint, protected
        self._loggers: Sequence[Logger] = ()
        self.world = distributed.join(pick_device(trainer.device))
        self.device = self.world.device(pick_device(trainer.device))
        if self.device.type == "mps" and trainer.precision != "float32":
            raise InputError(f"trainer.precision={trainer.precision} is not made on trainer.device=mps: use float32.")
        self.parts = self.world.size * trainer.accumulate
        if trainer.batch_size % self.parts:
            raise InputError(
                f"trainer.batch_size={trainer.batch_size} cannot be shared by {self.world.size} processes in "
                f"trainer.accumulate={trainer.accumulate} parts each: choose a multiple of {self.parts}."
            )
        objective.check_rows(trainer.batch_size // self.parts)
        self.model = model.to(self.device)
        self.dataset = held_on(dataset, self.device) if trainer.data_on_device else dataset
        precision, sharded = PRECISIONS[trainer.precision], trainer.shard == "full"
        self.loss = LossModule(self.model, objective, precision, keep_casts=not sharded).to(self.device)
        if self.loss.average is not None and sharded:
            raise InputError(
                "trainer.shard=full: a velocity of type averaged is a whole second network, which is not sharded. Use "
                "trainer.shard=none, or own_diagonal."
            )
        if trainer.compile and not sharded:
            self.loss.compile_step(trainer.compile == REDUCE_OVERHEAD)
        elif trainer.compile:  # weights are gathered between the blocks, which ends a graph
            for part in sharding.units(self.model.net):
                part.compile()
        self.parallel = distributed.parallelise(self.loss, self.world, self.device, sharded, self.loss.frozen)
        self.optimizer = trainer.optimizer.build(self.loss)
        self._skips = Skips(self.optimizer, self.device)
        laws = {"ema": trainer.ema, **{f"ema_{name}": law for name, law in trainer.averages.items()}}
        self.averages = {name: EMA(self.model, law) for name, law in laws.items()}
        self.indices = Shuffle(len(dataset), trainer.batch_size, seed)
        self._batches = Prefetch(self.dataset.batch, self._part_indices, self.device)
        self.step = 0
        self.seconds = 0.0
        self._stop = False
        self.id = uuid.uuid4().hex
        self._lock = RunLock(self.run_dir)
        if self.world.is_main:  # before the run is read: what is read stays the newest, and the log is ours to cut
            self._lock.take()
        try:
            self._resume()
        except BaseException:
            self.close()
            raise

    # -- one step ---------------------------------------------------------------------------------------------------

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then the schedule over the remaining steps."""
        warm = min(1.0, (step + 1) / max(self.cfg.warmup, 1))
        u = max(0, step - self.cfg.warmup) / max(1, self.cfg.steps - self.cfg.warmup)
        return self.cfg.optimizer.lr * warm * SCHEDULES[self.cfg.schedule](u)

    def train_step(self) -> tuple[LossOut, Tensor]:
        """One optimiser step. Returns the loss and the unclipped gradient norm.

        A gradient that is not finite changes neither weights nor the optimiser's state; the averages take the weights
        of every step. Nothing here waits for the device.
        """
        with self.loss.precision():
            return self._step()

    def _step(self) -> tuple[LossOut, Tensor]:
        outs = [self._backward(part) for part in range(self.cfg.accumulate)]
        out = outs[0] if len(outs) == 1 else _joined(outs)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = sharding.full_tensor(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        if self.cfg.clip_norm:
            nn.utils.clip_grads_with_norm_(parameters, self.cfg.clip_norm, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step) * group.get("lr_scale", 1.0)
        self._skips.step(norm)
        for average in self.averages.values():
            average.update(self.model)
        if self.loss.average is not None:
            self.loss.average.update(self.model.net)
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return out, norm

    def _part_indices(self, n: int) -> Tensor:
        """The rows of the n-th part that this process takes, counted over all steps."""
        step, part = divmod(n, self.cfg.accumulate)
        return self.indices(step).chunk(self.parts)[self.world.rank * self.cfg.accumulate + part]

    def _backward(self, own: int) -> LossOut:
        """Adds the gradient of one of this process's parts; the gradients are averaged after the last of them."""
        part = self.world.rank * self.cfg.accumulate + own
        key = (self.step, part) if part else (self.step,)
        batch = self._batches(self.step * self.cfg.accumulate + own)
        rng = seeds.torch_rng(self.seed, "train-noise", *key, device=self.device)
        dropout = seeds.forked(seeds.derive(self.seed, "train-dropout", *key), self.device)
        with dropout, distributed.averaging(self.parallel, now=own == self.cfg.accumulate - 1):
            out: LossOut = self.parallel(batch, rng, self.step)
            (out.loss / self.cfg.accumulate).backward()
        return out

    @property
    def skipped(self) -> int:
        """How many of the latest steps had a bad gradient, one after the other; waits for the device."""
        return self._skips.in_a_row

    def _count_skipped(self, out: LossOut) -> int:
        """How many steps were skipped since the last call. Raises `DivergedError` for too many in a row."""
        steps, longest = self._skips.read()
        if longest >= self.cfg.max_skipped:
            terms = ", ".join(f"{name} {value.mean():.3g}" for name, value in out.terms.items())
            raise DivergedError(
                f"The gradient was not finite in {longest} steps in a row (until step {self.step}; {terms}), so "
                f"training stopped; the last checkpoint in {self.run_dir} is from before. Lower trainer.optimizer.lr "
                "or guidance's omega, or use trainer.precision=float32."
            )
        return steps

    # -- the run ----------------------------------------------------------------------------------------------------

    def run(
        self,
        loggers: Sequence[Logger] = (),
        until: int | None = None,
        at_end: Callable[[Trainer], None] | None = None,
    ) -> Path:
        """Trains to `until` (default: `trainer.steps`), resuming where the last checkpoint ended.

        SIGTERM and Ctrl-C end it after the step at hand, saved. at_end: called in the main process when it has ended
        or was stopped, while the folder is still this training's. Returns the last checkpoint's folder.
        """
        if self.world.is_main:
            self._lock.take()
        try:
            folder = self._run(loggers, until)
            if at_end is not None and self.world.is_main:
                at_end(self)
            return folder
        finally:
            self.close()

    def close(self) -> None:
        """Gives the run's folder back, which `run` does by itself: for a caller who makes the steps alone."""
        self._lock.give_back()

    def _run(self, loggers: Sequence[Logger], until: int | None) -> Path:
        end = self.cfg.steps if until is None else min(until, self.cfg.steps)
        self._loggers = loggers
        self.loss.train()
        window, watch, skipped = Window(), Watch(self.loss.objective), 0
        self._say(watch.at_start())
        with self._signals(), Progress(end, "train", "step", initial=self.step, quiet=not self.world.is_main) as bar:
            while self.step < end and not self.world.any(self._stop):
                started = time.perf_counter()
                out, norm = self.train_step()
                window.add(out, norm)
                logs = self.step % self.cfg.log_every == 0 or self.step == end
                saves = self.step % self.cfg.checkpoint_every == 0
                # what is read waits for the steps that the device has still to make: their time belongs to them
                skipped += self._count_skipped(out) if logs or saves else 0
                means = window.flush() if logs else {}
                self.seconds += time.perf_counter() - started
                shown = {}
                if logs:
                    shown = self.world.mean(means)
                    record = {"step": self.step, "lr": self.learning_rate(self.step - 1), "seconds": self.seconds}
                    record |= shown | ({"skipped": skipped} if skipped else {}) | self.diagnose()
                    skipped = 0
                    self.log(record)
                    self._say(watch(record))
                bar.update(1, **shown)
                if saves:
                    self.save()
        return self.save()

    def log(self, record: dict[str, Any]) -> None:
        """Gives a record, which names its `step`, to all loggers of the run."""
        for logger in self._loggers:
            logger.log(record)

    def diagnose(self) -> dict[str, float]:
        """The estimates of `diagnostics` on the coming batch, in the steps that are due."""
        if not self.cfg.diagnose_every or self.step % self.cfg.diagnose_every:
            return {}
        rng = seeds.torch_rng(self.seed, "diagnose", self.step, device=self.device)
        batch = to_device(self.dataset.batch(self.indices(self.step)[:ROWS]), self.device)
        dropout = seeds.forked(seeds.derive(self.seed, "diagnose-dropout", self.step), self.device)
        with self.loss.precision(), dropout:
            return self.loss.diagnose(batch, rng, self.step)

    def _say(self, lines: Sequence[str]) -> None:
        if self.world.is_main:
            for line in lines:
                print(f"{self.run_dir}: {line}", file=sys.stderr, flush=True)

    def _signals(self) -> AbstractContextManager[None]:
        return _StopOnSignal(self)

    def stop(self) -> None:
        """Ends the run after the step at hand."""
        self._stop = True

    # -- state ------------------------------------------------------------------------------------------------------

    def save(self) -> Path:
        """Writes the checkpoint of the present step, in the first process; then `on_checkpoint`. Returns its folder."""
        tensors, layout = optimizer_tensors(self.optimizer)
        groups = {"model": self.model.state_dict(), "optimizer": tensors}
        groups |= {name: average.state for name, average in self.averages.items()}
        if self.loss.average is not None:
            groups["self"] = self.loss.average.state
        if self.loss.weighting is not None:
            groups["weighting"] = self.loss.weighting.state_dict()
        full = {name: sharding.gathered(group, self.world.is_main) for name, group in groups.items()}
        folder = self._write(full, layout) if self.world.is_main else checkpoint.folder(self.run_dir, self.step)
        self.world.barrier()
        if self.on_checkpoint is not None and self.world.is_main:
            self.on_checkpoint(self)
        return folder

    def _write(self, groups: Mapping[str, Mapping[str, Tensor]], layout: list[dict[str, Any]]) -> Path:
        meta = {
            "kind": self.kind,
            "run": self.id,
            "seed": self.seed,
            "seconds": self.seconds,
            "ema_updates": self.averages["ema"].updates,
            "optimizer": layout,
            "config": dict(self.config),
            **checkpoint.provenance(self.head.packages if self.head else ()),
        }
        keep = self.cfg.keep_checkpoints
        return checkpoint.save(self.run_dir, self.step, groups, meta, keep=keep, protected=self.protected())

    def _newest(self) -> tuple[checkpoint.Checkpoint | None, list[str]]:
        """The checkpoint to go on from. The main process looks first, since it sets damaged ones aside."""
        found: tuple[checkpoint.Checkpoint | None, list[str]] = None, []
        if self.world.is_main:
            remove_leftovers(self.run_dir)
            remove_leftovers(self.run_dir / checkpoint.FOLDER)
            found = checkpoint.newest_sound(self.run_dir)
        self.world.barrier()
        return found if self.world.is_main else checkpoint.newest_sound(self.run_dir)

    def _resume(self) -> None:
        saved, notes = self._newest()
        self._say(notes)
        if saved is None:
            return
        self.id = saved.meta.get("run") or self.id
        check_same_run(saved, self.config, self.run_dir, self.head.resumable if self.head else ())
        sharding.load(self.model, saved.tensors("model"))
        for name, average in self.averages.items():
            average.restore(saved.tensors(name), saved.meta["ema_updates"])
        if self.loss.average is not None:
            self.loss.average.restore(saved.tensors("self"), saved.meta["ema_updates"])
        if self.loss.weighting is not None:
            sharding.load(self.loss.weighting, saved.tensors("weighting"))
        restore_optimizer(self.optimizer, saved.tensors("optimizer"), saved.meta["optimizer"])
        self.step, self.seconds = saved.step, saved.meta["seconds"]


def _joined(outs: Sequence[LossOut]) -> LossOut:
    """The parts of a batch as one."""
    terms = {name: torch.cat([out.terms[name] for out in outs]) for name in outs[0].terms}
    return LossOut(torch.stack([out.loss.detach() for out in outs]).mean(), terms)


class _StopOnSignal:
    """SIGTERM and SIGINT ask the trainer to stop; the former handlers come back afterwards.

    Python lets the main thread alone set handlers: a training in another thread is ended by `Trainer.stop`. A handler
    that was not set from Python cannot be put back, so it stays.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def __enter__(self) -> None:
        self._former = {}
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                if signal.getsignal(number) is not None:
                    self._former[number] = signal.signal(number, lambda *_: self.trainer.stop())

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
