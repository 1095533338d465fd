"""The body of one request: in memory, or in an unnamed file in /tmp where it is large.

Knows bytes. Does not know how they are framed.
"""

import io
import tempfile
from typing import BinaryIO

MOST_IN_MEMORY = 2**20  # bytes of one body


class Body:
    """The bytes that have come of one body. The loop adds; a worker thread reads once all have come."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self.length

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, piece: bytes | memoryview) -> None:
        """Keep a piece. A memoryview is copied."""
        self.length += len(piece)
        if self._file is None and self.length > MOST_IN_MEMORY:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this body
            self._file.write(b"".join(self._pieces))
            self._pieces = []
        if self._file is None:
            self._pieces.append(bytes(piece))
        else:
            self._file.write(piece)

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
