"""The body of one request: in memory, or in an unnamed file in /tmp where it is large.

Knows bytes. Does not know how they are framed.
"""

import contextlib
import io
import logging
import tempfile
from typing import BinaryIO

from serving.base.errors import ServiceFailed

log = logging.getLogger("monopod.front")

MOST_IN_MEMORY = 2**20  # bytes of one body
MOST_PIECES = 256  # before they are joined: a small piece takes a multiple of its bytes


class Body:
    """The bytes of one body so far. The loop adds; a worker thread reads once all have come."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self.length

    def __del__(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk takes not even the rest
                self._file.close()

    def add(self, piece: bytes | memoryview) -> None:
        """Keep a piece. A memoryview is copied. Raises ServiceFailed where /tmp takes no more."""
        self.length += len(piece)
        if self._file is None and self.length <= MOST_IN_MEMORY:
            self._pieces.append(bytes(piece))
            if len(self._pieces) > MOST_PIECES:
                self._pieces = [b"".join(self._pieces)]
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this body
                self._file.write(b"".join(self._pieces))
                self._pieces = []
            self._file.write(piece)
        except OSError as error:
            log.error("a body of over %d bytes cannot be kept in %s: %s", MOST_IN_MEMORY, tempfile.gettempdir(), error)
            raise ServiceFailed("the server has no room for the body; its log tells why; try again in a second") from None

    def read(self) -> bytes:
        """Return all bytes."""
        if self._file is None:
            return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._file.seek(0)
        return self._file.read()

    def stream(self) -> BinaryIO:
        """Return all bytes as a file."""
        if self._file is None:
            return io.BytesIO(self.read())
        self._file.seek(0)
        return self._file
