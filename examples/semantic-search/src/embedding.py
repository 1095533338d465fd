"""Turns rows of tokens into vectors, through the model's queue."""

import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from tokens import Row, by_length, inputs

from serving.api import Array, Arrays, HasLifetime, QueueFull, Request, make_request

OUTPUT = "sentence_embedding"
WIDTH = 384
SPARE_ROWS = 8  # rows of the corpus in the queue at once, so that during a reload a question waits for one batch of them
PATIENCE = 0.05  # seconds until a full queue is tried again
RELOAD_SECONDS = 3600.0


class Queue(Protocol):
    """The part of a model's interface that is used here."""

    def submit(self, arrays: Arrays, request: HasLifetime) -> Future[Arrays]: ...


def embed(rows: Sequence[Row], model: Queue, request: Request) -> Array:
    """Return a vector of length 1 for each row, float32 [rows, 384]. Rows of one length share a batch.

    Raises QueueFull, DeadlinePassed, ModelFailed; none of the request's rows stays in the queue then.
    """
    places = by_length(rows)
    futures: list[Future[Arrays]] = []
    try:
        for group in places.values():
            futures.append(model.submit(inputs([rows[at] for at in group]), request))
        outputs = request.wait(*futures)
    finally:
        for future in futures:
            future.cancel()  # batches that have not begun are not run
    vectors: Array = np.empty((len(rows), WIDTH), np.float32)
    for group, output in zip(places.values(), outputs, strict=True):
        vectors[group] = output[OUTPUT]
    return vectors


def embed_slowly(rows: Sequence[Row], model: Queue) -> Array:
    """Return the vectors of many rows, a few at a time, so that requests still find room in the queue."""
    vectors: Array = np.empty((len(rows), WIDTH), np.float32)
    order = sorted(range(len(rows)), key=lambda at: rows[at].length)
    request = make_request(seconds=RELOAD_SECONDS)
    for start in range(0, len(order), SPARE_ROWS):
        part = order[start : start + SPARE_ROWS]
        vectors[part] = _patiently([rows[at] for at in part], model, request)
    return vectors


def _patiently(rows: Sequence[Row], model: Queue, request: Request) -> Array:
    """Wait for room without a limit. A corpus that is refused in an overload would not be loaded before its next change."""
    while True:
        try:
            return embed(rows, model, request)
        except QueueFull:
            request.life.check()
            time.sleep(PATIENCE)
