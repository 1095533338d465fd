"""Dead letters of a backfill: lines of JSON in a file beside its checkpoint, each with the record's value, origin and error.

The holder of the file's lock owns the checkpoint too, so that no two processes do one backfill. A last line without an end
belongs to a record that was not acknowledged, and is cut off.

Concurrency. The loop calls the coroutines, one at a time. Each writes on a thread, so that a slow disk does not stop the loop.
"""

import asyncio
import base64
import fcntl
import json
import mmap
import os
from collections.abc import Sequence
from io import FileIO
from pathlib import Path

from serving.base.errors import StartError
from serving.offline.records import DEAD, DeadLetter, Unreachable


class DeadFile:
    """DeadLetters of a file. count: of those written by this process."""

    name = DEAD

    def __init__(self, path: Path, again: bool = False):
        """Lock the file. again: whether to begin it anew. Raises StartError where another process has it."""
        self.path, self.count = path, 0
        try:
            self._file = _locked(path)
        except BlockingIOError:
            raise StartError(f"{path} is in use: another process does this backfill; wait for its end") from None
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}; a backfill writes its checkpoint and dead letters there") from None
        if again:
            self._file.truncate(0)
        else:
            _cut_unended(self._file)

    async def open(self) -> None:
        """Nothing is left to do, since the file is locked from the start."""

    async def write(self, letters: Sequence[DeadLetter]) -> Sequence[None]:
        lines = b"".join(map(_line, letters))
        try:
            await asyncio.to_thread(_append, self._file, lines)
        except OSError as error:
            raise Unreachable(f"{self.path}: {error.strerror}") from None
        self.count += len(letters)
        return [None] * len(letters)

    async def close(self) -> None:
        self.release()

    def release(self) -> None:
        if not self._file.closed:
            if not os.fstat(self._file.fileno()).st_size:
                self.path.unlink(missing_ok=True)
            self._file.close()


def _locked(path: Path) -> FileIO:
    """Open a file and lock it until it is closed. Its last owner may have removed it meanwhile, so look again."""
    while True:
        file = open(path, "a+b", buffering=0)  # noqa: SIM115  # what a full disk did not take is not written later
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()


def _is_at(file: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _cut_unended(file: FileIO) -> None:
    if os.fstat(file.fileno()).st_size:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            end = text.rfind(b"\n") + 1
        file.truncate(end)


def _append(file: FileIO, lines: bytes) -> None:
    size = os.fstat(file.fileno()).st_size
    try:
        rest = memoryview(lines)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
    except OSError:
        os.ftruncate(file.fileno(), size)  # the same lines are written again
        raise


def _line(letter: DeadLetter) -> bytes:
    record = letter.record
    line: dict[str, object] = {
        "reason": letter.refusal.reason,
        "error": letter.refusal.text,
        "id": letter.id,
        "topic": record.origin.topic,
        "partition": record.origin.partition,
        "offset": record.origin.offset,
        "time": record.time,
        "version": letter.version,
    }
    if record.key is not None:
        line |= _text_of("key", record.key)
    line |= {"by_reference": True} if record.value is None else _text_of("value", record.value)
    return json.dumps(line).encode() + b"\n"


def _text_of(name: str, content: bytes) -> dict[str, str]:
    """Return bytes as a field of text, or of base64 where they are not UTF-8."""
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(content).decode()}
