"""Takes the records of a backfill on a real loop, and finishes them as a test says."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.offline.backfill.opening import Opened, open_source
from serving.offline.records import Origin, Record
from serving.settings.value_file import load
from tests.running import make_service


class Taker:
    """Takes records. finish: called with the source and each list of records, on the loop."""

    def __init__(self, opened: Opened, finish: Callable[["Taker", Sequence[Record]], None]):
        self.source, self.taken, self.withdrawn = opened.source, list[Record](), list[tuple[str, int]]()
        self.opened, self._finish = opened, finish

    async def run(self) -> None:
        """Take all records until the source ends."""
        self.source.start(self._take, self._withdraw)
        try:
            await asyncio.wait_for(self.source.ended(), 60)
        finally:
            if self.opened.dead:
                await self.opened.dead.close()

    def finish_all(self, records: Sequence[Record]) -> None:
        for record in records:
            self.source.finished(record.origin)

    def _take(self, records: Sequence[Record]) -> None:
        self.taken += records
        self._finish(self, records)

    def _withdraw(self, topic: str, partition: int) -> Sequence[Origin]:
        self.withdrawn.append((topic, partition))
        return []


def opened(tmp_path: Path, *given: str, settings: str = "", **options: Any) -> Opened:
    """Return a backfill into a sink, for a small service whose folder holds the note."""
    folder = tmp_path / "service"
    if not folder.exists():
        make_service(folder, f'model_path = "model/digits.onnx"\n{settings}', models=("tests/models/digits.onnx",))
    return open_source(given, ["stdout"], load(folder / "value.py", []).settings, **{"folder": tmp_path, **options})


def write_lines(path: Path, count: int, first: int = 1) -> Path:
    path.write_text("".join(f'{{"postid": "{number}"}}\n' for number in range(first, first + count)))
    return path


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(json.loads(record.value or b"")["postid"]) for record in records]
