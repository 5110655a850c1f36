import threading

import pytest
import torch

from isd_core.support.errors import InputError
from isd_core.training.batches import Prefetch, Shuffle


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
    batches = Prefetch(data.batch, torch.tensor)
    assert [int(batches(n)["x"]) for n in range(3)] == [0, 1, 2]
    assert [number for number, _ in data.asked[:3]] == [0, 1, 2]
    assert data.asked[0][1] == threading.current_thread().name
    assert all(name.startswith("prefetch") for _, name in data.asked[1:])


def test_a_batch_out_of_turn_is_the_right_one():
    batches = Prefetch(Slow().batch, torch.tensor)
    assert [int(batches(n)["x"]) for n in (0, 5, 2, 3)] == [0, 5, 2, 3]


def test_an_error_of_the_thread_is_raised_where_the_batch_is_asked_for():
    batches = Prefetch(Slow().batch, torch.tensor)
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
