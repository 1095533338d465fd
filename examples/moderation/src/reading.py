"""Reads a video in a process of its own, whose memory can be limited and which can be ended at any moment.

Concurrency. A Reading belongs to one thread. The process writes into a pipe that holds less than one sample, so it blocks while
nobody reads. It ends when it is done, when the block is left, and at its first write after its reader is gone.
"""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sampling import SIDE, Ending, Limits, Refused, Sample, container

from serving.api import Lifetime

PROGRAM = Path(__file__).with_name("video.py")
CONTAINERS = "it may be mp4, mov, webm, mkv or avi"
POLL_MS = 100  # between two checks that the client is still there
PIECE = 2**16


class Reading(AbstractContextManager["Reading"]):
    """One video being decoded. It is a context manager; inside its block it iterates over the samples and then the ending."""

    def __init__(self, video: bytes, limits: Limits, life: Lifetime):
        """Check the container. Raises Refused, without starting a process, where its first bytes are of no accepted one."""
        kind = container(video)
        if not kind:
            words = f"the video's first bytes are of no accepted container; {CONTAINERS}"
            raise Refused("container", words if video else "the video is empty")
        self._life, self._limits, self._waiting = life, limits, bytearray()
        command = [sys.executable, str(PROGRAM), kind, json.dumps(asdict(limits))]
        with open(os.memfd_create("video"), "w+b") as file:  # a file in memory, in which the process can seek
            file.write(video)
            file.seek(0)
            # A session of its own keeps a terminal's Ctrl-C from the process: the service still finishes what it has accepted.
            # The environment is empty, since the service's may hold secrets.
            self._process = subprocess.Popen(
                command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, env={}
            )

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def __iter__(self) -> Iterator[Sample | Ending]:
        """Yield the samples as they are decoded, then the ending.

        Raises Refused; what Lifetime.check raises when nobody waits any more; RuntimeError where video.py itself fails.
        """
        while True:
            line = json.loads(self._until(b"\n"))
            if "turn" in line:
                yield Sample(line["seconds"], line["turn"], self._take(SIDE * SIDE * 3))
            elif "end" in line:
                yield Ending(line["damaged"], line["end"])
                return
            elif "refused" in line:
                raise Refused(line["refused"], line["words"])
            else:
                raise RuntimeError(line["failed"])

    @property
    def _pipe(self) -> Any:
        return self._process.stdout

    def _until(self, end: bytes) -> bytes:
        while end not in self._waiting:
            self._read()
        return self._take(self._waiting.index(end) + 1)

    def _take(self, count: int) -> bytes:
        while len(self._waiting) < count:
            self._read()
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        return taken

    def _read(self) -> None:
        """Wait for more bytes, as long as the client waits for the answer."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        self._life.check()
        while not poll.poll(POLL_MS):
            self._life.check()
        piece = os.read(self._pipe.fileno(), PIECE)
        if not piece:
            raise self._gone(self._process.wait())
        self._waiting += piece

    def _gone(self, code: int) -> Exception:
        """Return the error for a process that ended without an ending. code: its exit code."""
        if code == -signal.SIGXCPU:
            seconds = self._limits.decode_seconds
            return Refused("too_heavy", f"the video takes more than {seconds} s to decode; send it smaller, or a part of it")
        if code < 0:
            return Refused(
                "crash", f"the video ends its decoder ({signal.Signals(-code).name}): it is broken, or made to do so"
            )
        return RuntimeError(f"{PROGRAM.name} ended with code {code} and no message; run it by hand to see why")
