"""The digits, with a word beside each answer: for tests of a file that changes on a volume while pods serve."""

from pathlib import Path
from typing import Any

from serving.api import Arrays, Request, Service

FILE = Path("/data/word")


class Reads(Service):
    def setup(self) -> None:
        self.watch(FILE, self.load)

    def load(self) -> None:
        self.word = FILE.read_text()

    def postprocess(self, outputs: Arrays, request: Request) -> Any:
        return {"word": self.word, "rows": len(outputs["logits"])}
