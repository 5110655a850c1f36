"""A run's folder: one training at a time, durable checkpoints, damage and leftovers of killed processes."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors import SafetensorError
from torch.testing import assert_close

from isd_core.support import files
from isd_core.support.errors import InputError
from isd_core.support.files import atomic_write, remove_leftovers
from isd_core.training import checkpoint, shared_memory
from isd_core.training.config import TrainerConfig
from isd_core.training.run_lock import RunLock
from tests.core.training.test_trainer import trainer

HOLDER = """
import sys, time
from pathlib import Path
from isd_core.training.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
lock.take()
print("taken", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == "taken"
    yield process
    process.kill()
    process.wait()


def test_a_second_training_says_who_holds_the_folder_and_touches_nothing(tmp_path, holder):
    run = tmp_path / "run"
    (run / "log.jsonl").write_text('{"step": 5}\n')
    with pytest.raises(InputError, match=rf"another training \(process {holder.pid} on .*, since 20"):
        trainer(run)
    assert (run / "log.jsonl").read_text() == '{"step": 5}\n'


def test_the_lock_of_a_killed_training_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.wait()
    trainer(tmp_path / "run").run(until=1)
    assert checkpoint.load(tmp_path / "run").step == 1


def test_the_lock_ends_with_the_training(tmp_path):
    trainer(tmp_path).run(until=1)
    lock = RunLock(tmp_path)
    lock.take()
    lock.give_back()


def test_the_lock_ends_with_a_refused_training(tmp_path):
    trainer(tmp_path, config={"seed": 0}).run(until=1)
    with pytest.raises(InputError, match="seed=0"):
        trainer(tmp_path, config={"seed": 1})
    trainer(tmp_path, config={"seed": 0}).run(until=2)


def test_a_folder_of_another_runs_checkpoint_is_not_taken_for_ones_own(tmp_path):
    tensors = {"model": {"w": torch.zeros(1)}}
    checkpoint.save(tmp_path, 3, tensors, {"run": "a", "config": {}})
    assert checkpoint.save(tmp_path, 3, tensors, {"run": "a", "config": {}}) == checkpoint.folder(tmp_path, 3)
    with pytest.raises(InputError, match="step_00000003 is of another run"):
        checkpoint.save(tmp_path, 3, tensors, {"run": "b", "config": {}})


def spoil(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "meta.json"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, capsys, name):
    trainer(tmp_path / "run", checkpoint_every=4, keep_checkpoints=5).run()
    trainer(tmp_path / "whole", checkpoint_every=4, keep_checkpoints=5).run()
    spoil(checkpoint.find(tmp_path / "run") / name)
    resumed = trainer(tmp_path / "run", checkpoint_every=4, keep_checkpoints=5)
    assert resumed.step == 8
    assert f"{name}" in (said := capsys.readouterr().err) and "the one of step 8 is sound" in said
    resumed.run()
    found, expected = (checkpoint.load(tmp_path / folder).tensors("ema") for folder in ("run", "whole"))
    assert_close(found, expected, atol=0, rtol=0)


def test_when_all_are_damaged_the_newest_is_named(tmp_path):
    spoil(trainer(tmp_path).run(until=1) / "model.safetensors")
    with pytest.raises(InputError, match=r"step_00000001/model\.safetensors is damaged"):
        trainer(tmp_path)


def test_a_description_that_was_edited_is_damaged(tmp_path):
    file = trainer(tmp_path).run(until=1) / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"seconds": 0.5}))
    with pytest.raises(InputError, match=r"meta\.json is damaged"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    checkpoint.save(tmp_path, 1, {"ema": {"net.w": torch.tensor([1.0, value])}}, {"config": {}})
    with pytest.raises(InputError, match=r"`net\.w` in .*ema\.safetensors holds numbers that are not finite"):
        checkpoint.load(tmp_path).tensors("ema")


def test_files_and_folders_are_flushed_before_they_get_their_name(tmp_path, monkeypatch):
    flushed, replaced = [], []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (replaced.append(len(flushed)), real(a, b)))
    with atomic_write(tmp_path / "folder") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "weights").write_text("x")
    before, after = flushed[: replaced[-1]], flushed[replaced[-1] :]
    assert before == [f"{temporary}/deep/weights", f"{temporary}/deep", f"{temporary}"]
    assert after == [str(tmp_path)]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "x"), SafetensorError("I/O error: No space left on device (os error 28)")]
)
def test_a_full_disk_is_one_paragraph_and_keeps_what_is_saved(tmp_path, monkeypatch, error):
    first = trainer(tmp_path).run(until=3)

    def full(*_):
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(InputError, match=r"No space left on device.*give the same command again"):
        trainer(tmp_path).run(until=6)
    assert checkpoint.find(tmp_path) == first
    checkpoint.load(first).check()


def leftover(folder, name, pid, host=None):
    path = folder / f".{name}.{host or files._host()}.{pid}.tmp"
    path.mkdir(parents=True)
    (path / "model.safetensors").write_text("half")
    return path


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_killed_processes_go_with_the_next_training(tmp_path, dead):
    folder = tmp_path / checkpoint.FOLDER
    gone = [leftover(folder, "step_00000005", dead), leftover(tmp_path, "log.jsonl", dead)]
    kept = [leftover(folder, "step_00000005", os.getppid()), leftover(folder, "step_00000006", dead, "elsewhere")]
    trainer(tmp_path)
    assert [path.exists() for path in gone + kept] == [False, False, True, True]


def test_a_write_removes_what_is_left_of_the_same_name_alone(tmp_path, dead):
    same, other = leftover(tmp_path, "data.zarr", dead), leftover(tmp_path, "other.zarr", dead)
    with atomic_write(tmp_path / "data.zarr") as temporary:
        temporary.write_text("x")
    assert not same.exists() and other.exists()
    remove_leftovers(tmp_path)
    assert not other.exists()


def test_shared_memory_of_killed_processes_is_freed(tmp_path):
    import fcntl

    for name in ("isd-dead", "isd-alive", "isd-young", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / shared_memory.OWNER).touch()
        if name != "isd-young":
            os.utime(tmp_path / name, (time.time() - 3600,) * 2)
    with (tmp_path / "isd-alive" / shared_memory.OWNER).open() as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        shared_memory.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["isd-alive", "isd-young", "other"]


@pytest.mark.parametrize("off", [0, None])
def test_no_clipping_trains_as_a_bound_that_no_gradient_reaches(tmp_path, off):
    weights = []
    for name, bound in (("off", off), ("high", 1e9)):
        run = trainer(tmp_path / name, clip_norm=bound)
        run.run(until=4)
        weights.append(run.model.state_dict())
    assert_close(*weights, atol=0, rtol=0)


@pytest.mark.parametrize("bound", [-1.0, float("inf"), float("nan")])
def test_a_bound_of_the_gradient_that_is_none_is_refused(bound):
    with pytest.raises(InputError, match=r"clip_norm.*0 or null clips nothing"):
        TrainerConfig(1, 1, clip_norm=bound)
