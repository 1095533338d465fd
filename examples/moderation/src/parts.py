"""Sends a video's frames to the model in parts, while further frames are decoded.

Belongs to one thread.
"""

import time
from collections import deque
from concurrent.futures import Future

import nsfw

from serving.api import Array, Arrays, Handle, QueueFull, Request

AT_ONCE = 2  # parts of one video in the model's queue, so that the next one waits while the first is computed
PATIENCE = 0.05  # seconds until a full queue is tried again


class Parts:
    """The frames of one request. size: rows in one call of the model."""

    def __init__(self, model: Handle, size: int, request: Request):
        self._model, self._size, self._request = model, size, request
        self._pixels: list[Array] = []
        self._asked: deque[Future[Arrays]] = deque()
        self._scores: list[float] = []

    def add(self, pixels: Array) -> None:
        """Add a frame. pixels: uint8 [SIDE, SIDE, 3]. Raises DeadlinePassed, ClientGone and the model's errors."""
        self._pixels.append(pixels)
        if len(self._pixels) == self._size:
            self._ask()

    def scores(self) -> list[float]:
        """Wait for the last frame and return the score of every frame, in order. Raises what `add` raises."""
        if self._pixels:
            self._ask()
        while self._asked:
            self._collect()
        return self._scores

    def _ask(self) -> None:
        if len(self._asked) == AT_ONCE:
            self._collect()
        rows, self._pixels = {"input:0": nsfw.rows(self._pixels)}, []
        while True:
            try:
                self._asked.append(self._model.submit(rows, self._request))
                return
            except QueueFull:  # a video that is half decoded is kept and waits until its deadline
                self._request.life.check()
                time.sleep(PATIENCE)

    def _collect(self) -> None:
        outputs = self._request.wait(self._asked.popleft())[0]["outputs"]
        self._scores += [float(score) for score in outputs[:, 1]]
