"""The digits, in a pod that shows everything a dashboard can show: by the brightness of a digit it fails, is slow, or dies.

It watches a file, which a test changes and spoils.
"""

import os
import time
from pathlib import Path

from serving.api import Arrays, Request, Service

WORD = Path("/tmp/word")
FAILING, SLOW, DYING = 0.9, 0.8, 0.7  # of all pixels


class Seen(Service):
    def setup(self) -> None:
        WORD.write_text("one")
        self.watch(WORD, self.load)

    def load(self) -> None:
        self.word = WORD.read_text()
        if self.word == "spoiled":
            raise ValueError("the word is spoiled")

    def preprocess(self, request: Request) -> Arrays:
        arrays = super().preprocess(request)
        brightness = round(float(max(array.max() for array in arrays.values())), 3)
        if brightness == DYING:
            os._exit(1)
        if brightness == SLOW:
            time.sleep(0.5)
        if brightness == FAILING:
            raise RuntimeError("a digit as bright as this one")
        return arrays
