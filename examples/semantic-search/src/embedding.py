"""Rows of tokens to vectors, through the model's queue.

Knows batches and a full queue. Does not know routes, texts or the corpus.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from tokens import Row, by_length, inputs

from serving.api import Array, Arrays, HasLifetime, QueueFull, Request, make_request

OUTPUT = "sentence_embedding"
WIDTH = 384
SPARE_ROWS = 8  # of the corpus that wait at once: questions beside a reload wait for one such batch at most
PATIENCE = 0.05  # seconds until a full queue is tried again
RELOAD_SECONDS = 3600.0


class Queue(Protocol):
    """A model, as far as it is needed here."""

    def submit(self, arrays: Arrays, request: HasLifetime) -> Future[Arrays]: ...


def embed(rows: Sequence[Row], model: Queue, request: Request) -> Array:
    """Return a vector of length 1 for each row, float32 [rows, 384]. Rows of one length share a batch.

    Raises QueueFull, DeadlinePassed, ModelFailed; nothing of the request waits then.
    """
    places = by_length(rows)
    futures: list[Future[Arrays]] = []
    try:
        for group in places.values():
            futures.append(model.submit(inputs([rows[at] for at in group]), request))
        outputs = request.wait(*futures)
    finally:
        for future in futures:
            future.cancel()  # a batch that nobody waits for is not run; one that is done stays done
    vectors: Array = np.empty((len(rows), WIDTH), np.float32)
    for group, output in zip(places.values(), outputs, strict=True):
        vectors[group] = output[OUTPUT]
    return vectors


def embed_slowly(rows: Sequence[Row], model: Queue) -> Array:
    """Return the vectors of many rows, a few at a time, so that requests find room in the queue beside them."""
    vectors: Array = np.empty((len(rows), WIDTH), np.float32)
    order = sorted(range(len(rows)), key=lambda at: rows[at].length)
    request = make_request(seconds=RELOAD_SECONDS)
    for start in range(0, len(order), SPARE_ROWS):
        part = order[start : start + SPARE_ROWS]
        vectors[part] = _patiently([rows[at] for at in part], model, request)
    return vectors


def _patiently(rows: Sequence[Row], model: Queue, request: Request) -> Array:
    """Wait for room as long as it takes: a corpus that an overload refused would not be loaded before its next change."""
    while True:
        try:
            return embed(rows, model, request)
        except QueueFull:
            request.life.check()
            time.sleep(PATIENCE)
