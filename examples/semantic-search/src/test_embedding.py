"""Rows through a full queue. The queue is a small fake, since a real one is full only by luck."""

from concurrent.futures import Future

import numpy as np
import pytest
from embedding import OUTPUT, SPARE_ROWS, WIDTH, embed, embed_slowly
from tokens import Row

from serving.api import Arrays, HasLifetime, QueueFull
from serving.testing import make_request


class Queue:
    """Stands in for a model's handle. full: the calls that are refused, counted from 0."""

    def __init__(self, *full: int, answers: bool = True):
        self.full, self.answers = full, answers
        self.calls: list[int] = []  # the number of rows of each call
        self.futures: list[Future[Arrays]] = []

    def submit(self, arrays: Arrays, request: HasLifetime) -> Future[Arrays]:
        ids = arrays["input_ids"]
        self.calls.append(len(ids))
        if len(self.calls) - 1 in self.full:
            raise QueueFull("full")
        future: Future[Arrays] = Future()
        if self.answers:  # each number of a row's vector is the row's second token
            future.set_result({OUTPUT: np.repeat(ids[:, 1:2], WIDTH, axis=1).astype(np.float32)})
        self.futures.append(future)
        return future


def rows(count: int) -> list[Row]:
    """Return rows of several lengths. The second token of each is its number."""
    return [Row((101, number, *([7] * (number * 5 % 40)), 102), 0) for number in range(count)]


def test_each_row_gets_its_own_vector_back_whatever_batch_it_was_in() -> None:
    queue = Queue()
    assert embed(rows(20), queue, make_request())[:, 0].tolist() == list(range(20))
    assert len(queue.calls) == len({row.length for row in rows(20)})


def test_a_request_that_is_refused_in_part_leaves_nothing_in_the_queue() -> None:
    queue = Queue(2, answers=False)
    with pytest.raises(QueueFull):
        embed(rows(20), queue, make_request())
    assert [future.cancelled() for future in queue.futures] == [True, True]


def test_a_corpus_is_embedded_a_few_rows_at_a_time_and_waits_for_room() -> None:
    queue = Queue(0, 3)
    assert embed_slowly(rows(50), queue)[:, 0].tolist() == list(range(50))
    assert max(queue.calls) <= SPARE_ROWS
