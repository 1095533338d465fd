"""JSON lines as a sink: standard output, or a file that lines are added to.

Concurrency. A pipe whose reader is slow blocks a writer, so one thread does all of it, one call after the other, and tells the
loop. It is a daemon: a pipe that nobody reads keeps no process alive. `close` waits for it at most CLOSE_SECONDS.
"""

import asyncio
import contextlib
import os
import select
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.base import json_codec
from serving.base.errors import BadInput, StartError
from serving.core.stages import WorkerThreads
from serving.offline.records import Answer, Refusal, Unreachable
from serving.telemetry.logs import stdout_number

CLOSE_SECONDS = 5.0
BLOCK = 1 << 16  # bytes that are read at once, from a file's end backwards


class JsonLines:
    """A sink that writes one line an answer. path: of the file, which is made where it is missing, or None for stdout."""

    def __init__(self, name: str, path: Path | None = None):
        self.name = name
        self._path = path
        self._file = -1
        self._thread = WorkerThreads(1, "lines")
        self._torn = False  # whether stdout's last line lacks its end

    async def open(self) -> None:
        """Open the file, and mend its last line where a process was killed while it wrote. Raises StartError."""
        try:
            await self._run(self._open)
        except OSError as error:
            raise StartError(f"{self.name}: {error.strerror}; name a file in a folder that this user may write to") from None

    async def write(self, answers: Sequence[Answer]) -> Sequence[Refusal | None]:
        """Write a line for each answer, and return once the disk, or the reader of a pipe, has them.

        Raises Unreachable where the disk is full, and BrokenPipeError where nobody reads standard output any more.
        """
        text = b"".join(map(line_of, answers))
        try:
            await self._run(lambda: self._append(text))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Unreachable(f"{self.name}: {error.strerror}") from None
        return [None] * len(answers)

    async def close(self) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._run(self._close), CLOSE_SECONDS)

    async def _run(self, work: Callable[[], None]) -> None:
        """Have the thread do a piece of work, and wait for it. Raises what it raises."""
        loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def settle(error: Exception | None) -> None:
            if not done.done():
                done.set_exception(error) if error else done.set_result(None)

        def run() -> None:
            found = None
            try:
                work()
            except Exception as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, found)

        self._thread.run(run)
        await done

    def _open(self) -> None:
        if self._path is None:
            self._file = os.dup(stdout_number())
            return
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        size = os.lseek(self._file, 0, os.SEEK_END)
        last = _last_line(self._file, size)
        if _is_whole(last):
            _write(self._file, b"\n")
        elif last:
            os.ftruncate(self._file, size - len(last))

    def _append(self, text: bytes) -> None:
        if self._path is None:
            begin, self._torn = (b"\n" if self._torn else b""), True
            _write(self._file, begin + text)
            self._torn = False
            return
        size = os.lseek(self._file, 0, os.SEEK_END)
        try:
            _write(self._file, text)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, size)  # the same lines are written again
            raise

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def line_of(answer: Answer) -> bytes:
    """Return an answer's line: where its record stands, the record's time in milliseconds, the version, and the answer."""
    record = answer.record
    place = {**record.origin._asdict(), "time": record.time, "version": answer.version}
    # A line break of JSON text stands between its values alone, where a blank means the same.
    body = answer.body.replace(b"\r", b" ").replace(b"\n", b" ")
    return json_codec.dumps(place)[:-1] + b',"answer":' + body + b"}\n"


def _write(file: int, text: bytes) -> None:
    """Write all of it, also to a pipe that another process has made not to block. Raises OSError."""
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:
            select.select([], [file], [])


def _last_line(file: int, size: int) -> bytes:
    found, start = b"", size
    while start and b"\n" not in found:
        before = max(0, start - BLOCK)
        found, start = os.pread(file, start - before, before) + found, before
    return found.rpartition(b"\n")[2]


def _is_whole(line: bytes) -> bool:
    try:
        json_codec.loads(line)
    except BadInput:
        return False
    return True
