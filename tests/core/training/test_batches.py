import threading
from contextlib import contextmanager

import pytest
import torch

from isd_core.fitting import Tensors
from isd_core.support.errors import InputError
from isd_core.training.batches import CopyStream, Prefetch, Shuffle, held_on

CPU = torch.device("cpu")


def test_every_epoch_visits_every_sample_once():
    indices = Shuffle(length=10, batch_size=4, seed=0)
    stream = torch.cat([indices(step) for step in range(5)])
    assert sorted(stream[:10].tolist()) == list(range(10))
    assert sorted(stream[10:].tolist()) == list(range(10))
    assert not torch.equal(stream[:10], stream[10:])


def test_an_empty_data_set_is_refused():
    with pytest.raises(InputError, match="empty"):
        Shuffle(0, 4, 0)


class Slow:
    """Data that tell who asked for what."""

    def __init__(self):
        self.asked = []

    def batch(self, indices):
        self.asked.append((int(indices), threading.current_thread().name))
        if int(indices) == 7:
            raise OSError("the disk is gone")
        return {"x": indices}


def test_the_next_batch_is_gathered_by_a_thread():
    data = Slow()
    batches = Prefetch(data.batch, torch.tensor, CPU)
    assert [int(batches(n)["x"]) for n in range(3)] == [0, 1, 2]
    assert [number for number, _ in data.asked[:3]] == [0, 1, 2]
    assert data.asked[0][1] == threading.current_thread().name
    assert all(name.startswith("prefetch") for _, name in data.asked[1:])


def test_a_batch_out_of_turn_is_the_right_one():
    batches = Prefetch(Slow().batch, torch.tensor, CPU)
    assert [int(batches(n)["x"]) for n in (0, 5, 2, 3)] == [0, 5, 2, 3]


def test_an_error_of_the_thread_is_raised_where_the_batch_is_asked_for():
    batches = Prefetch(Slow().batch, torch.tensor, CPU)
    batches(6)
    with pytest.raises(OSError, match="disk"):
        batches(7)


def test_two_threads_may_ask_for_batches_at_the_border_of_an_epoch():
    """The thread gathers the batch to come while a diagnosis asks for one: neither gets the other's epoch."""
    expected = [Shuffle(64, 48, 0)(step).tolist() for step in range(40)]
    indices, wrong = Shuffle(64, 48, 0), []

    def ask():
        for _ in range(20):
            wrong.extend(step for step in range(40) if indices(step).tolist() != expected[step])

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


class Streams:
    """What `CopyStream` asks of CUDA, written down in its order."""

    def __init__(self, monkeypatch):
        self.said, self.now = [], ["computing"]
        cuda, tensor = torch.cuda, torch.Tensor
        monkeypatch.setattr(cuda, "Stream", lambda device: self.Stream(self, "copying"))
        monkeypatch.setattr(cuda, "stream", self.inside)
        monkeypatch.setattr(cuda, "current_stream", lambda device: self.Stream(self, self.now[-1]))
        monkeypatch.setattr(tensor, "pin_memory", lambda value: self.say("pin", value.clone()))
        monkeypatch.setattr(tensor, "to", lambda value, device, non_blocking: self.say("copy", value.clone()))
        monkeypatch.setattr(tensor, "record_stream", lambda value, stream: self.say(f"used by {stream.name}", None))

    def say(self, what, value):
        self.said.append(f"{what} ({self.now[-1]})")
        return value

    @contextmanager
    def inside(self, stream):
        self.now.append(stream.name)
        yield
        self.now.pop()

    class Stream:
        def __init__(self, streams, name):
            self.streams, self.name = streams, name

        def record_event(self):
            return self.streams.say("event", "event")

        def wait_event(self, event):
            self.streams.say(f"wait for {event}", None)


def test_a_copying_stream_gives_the_same_batch_after_its_copies(monkeypatch):
    """The copies are made on their stream out of pinned memory, the event stands behind them, the computing stream
    waits for it before it gets the batch, and the memory is marked as used there."""
    streams = Streams(monkeypatch)
    copies = CopyStream(torch.device("cuda"))
    batch = copies.take(copies.stage(lambda: {"x": torch.arange(3), "obs": {"y": torch.arange(2)}}))
    assert batch["x"].tolist() == [0, 1, 2] and batch["obs"]["y"].tolist() == [0, 1]
    copied, used = ["pin (copying)", "copy (copying)"], "used by computing (computing)"
    assert streams.said == [*copied, *copied, "event (copying)", "wait for event (computing)", used, used]


def test_a_batch_of_the_device_itself_is_not_copied(monkeypatch):
    streams = Streams(monkeypatch)
    copies = CopyStream(CPU)
    assert copies.take(copies.stage(lambda: {"x": torch.arange(3)}))["x"].tolist() == [0, 1, 2]
    assert streams.said == ["event (copying)", "wait for event (computing)", "used by computing (computing)"]


def test_a_data_set_that_cannot_be_held_on_a_device_is_refused():
    with pytest.raises(InputError, match=r"data_on_device=true: Slow"):
        held_on(Slow(), CPU)


def test_one_that_does_not_fit_is_refused():
    class Large(Slow):
        def to(self, device):
            raise torch.OutOfMemoryError("none left")

    with pytest.raises(InputError, match="does not fit in the memory of cpu"):
        held_on(Large(), CPU)


def test_data_held_on_the_device_give_the_same_batches():
    data = Tensors(torch.randn(20, 3), {"c": torch.arange(20)})
    indices = torch.tensor([4, 0, 19])
    moved, plain = held_on(data, CPU).batch(indices), data.batch(indices)
    assert torch.equal(moved["x"], plain["x"]) and torch.equal(moved["cond"]["c"], plain["cond"]["c"])
