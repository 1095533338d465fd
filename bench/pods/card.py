"""A stand-in for a card and the model on it. Pods and gunicorn's workers both run it, one in each process.

A card runs one batch at a time, so `run` holds a lock while it sleeps, and callers that wait for it go on one after another.
The sleep releases Python's own lock, as a card's driver does.
"""

import threading
import time
from typing import Any

import numpy as np

BATCH_SECONDS = 0.008
ROW_SECONDS = 0.001
WIDTH = 16  # numbers of a row
NAME = "card"  # of the model and of the service
INPUT, OUTPUT = "x", "y"

Rows = np.ndarray[Any, np.dtype[Any]]


class Card:
    """One card with a model that adds up the numbers of each row."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, rows: Rows) -> tuple[Rows, float]:
        """Return each row's sum, float32 of shape [rows, 1], and the seconds for which the card was busy.

        rows: float32 of shape [rows, WIDTH].
        """
        with self._lock:
            began = time.perf_counter()
            time.sleep(batch_seconds(len(rows)))
            return rows.sum(axis=1, keepdims=True), time.perf_counter() - began


def batch_seconds(rows: float) -> float:
    """Return the seconds that a batch takes on a card."""
    return BATCH_SECONDS + ROW_SECONDS * rows
