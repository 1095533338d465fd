"""JSON lines of one file, plain or gzip: each line that is not blank is a record.

Knows lines and gzip. Does not know what a line means. Memory: one line of at most the largest record, whatever the file holds.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from typing import BinaryIO

from serving.base.errors import StartError
from serving.offline.records import Origin, Record, Refusal, SourceFailed
from serving.offline.refill.items import Item, Place

HEAD = 64 * 2**10  # bytes that tell a file from another one
PIECE = 2**20  # bytes read at once where they are skipped
GZIP = b"\x1f\x8b"
OTHERS = {  # first bytes of files that people have in place of JSON lines
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"PK\x03\x04": "a ZIP archive",
    b"PAR1": "Parquet",
}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEADERS = (("content-type", b"application/json"),)
BROKEN = (gzip.BadGzipFile, EOFError, zlib.error)


class LineFile:
    """An Input. The place of a line is its number and the byte behind it, of the text that gzip holds."""

    def __init__(self, path: str, largest: int):
        """largest: bytes of a line. Raises StartError where the file cannot be read or holds no JSON lines."""
        self.name, self.passed_over, self._largest = path, 0, largest
        self._topic = os.fsencode(path).decode("utf-8", "backslashreplace")
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                head = file.read(HEAD)
        except OSError as error:
            raise StartError(f"{path}: {error.strerror}; --from takes files that can be read") from None
        self.size, self._time = float(status.st_size), status.st_mtime_ns // 1_000_000
        self._digest, self._zipped = hashlib.sha256(head).hexdigest(), head.startswith(GZIP)
        self._check(head)

    def identity(self) -> Mapping[str, object]:
        return {"bytes": int(self.size), "digest": self._digest}

    def interrupt(self) -> None:
        """Nothing is left to do: a read of a file does not wait."""

    def read(self, after: Place | None) -> Iterator[Item]:
        number, position = map(int, after) if isinstance(after, list) else (0, 0)
        with open(self.name, "rb") as file:
            text: BufferedIOBase | BinaryIO = gzip.GzipFile(fileobj=file) if self._zipped else file
            try:
                _skip(text, position)
                while line := text.readline(self._largest + len("\r\n")):
                    number += 1
                    length = len(line) + (0 if line.endswith(b"\n") else _skip_line(text))
                    position += length
                    if record := self._record(number, line, length):
                        yield Item(record, number, [number, position], float(file.tell() if self._zipped else position))
            except BROKEN as error:
                raise SourceFailed(
                    f"{self.name}: its gzip is broken at byte {file.tell()}, behind line {number} ({error}); put a whole "
                    "file there and run the command with --again"
                ) from None
            except OSError as error:
                raise SourceFailed(f"{self.name}: {error.strerror}, behind line {number}; run the command again") from None

    def _record(self, number: int, line: bytes, length: int) -> Record | None:
        """Return the record of a line, or None for a blank one. line: its beginning at least. length: of all of it."""
        value = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
        value = value.rstrip(b"\r\n")
        origin = Origin(self._topic, 0, number)
        if length > len(line) or len(value) > self._largest:
            words = f"the line has {length} bytes, and offline_max_record allows {self._largest}"
            return Record(origin, self._time, None, None, HEADERS, Refusal("too_large", words))
        return Record(origin, self._time, None, value, HEADERS) if value.strip() else None

    def _check(self, head: bytes) -> None:
        """Raise StartError where a file's first bytes are not JSON lines."""
        try:
            head = zlib.decompressobj(31).decompress(head, HEAD) if self._zipped else head
        except zlib.error as error:
            raise StartError(f"{self.name}: its gzip is broken at the beginning ({error}); put a whole file there") from None
        for first, words in OTHERS.items():
            if head.startswith(first):
                raise StartError(f"{self.name} is {words}; --from takes JSON lines, plain or gzip")
        text = head.removeprefix(BYTE_ORDER_MARK).lstrip()
        if text and not text.startswith(b"{"):
            found = text[:1].decode("utf-8", "replace")
            raise StartError(f"{self.name} holds no JSON lines: it begins with {found!r}, not with an object as {{...}}")


def _skip(text: BufferedIOBase | BinaryIO, count: int) -> None:
    if isinstance(text, gzip.GzipFile):
        while count > 0 and (piece := text.read(min(count, PIECE))):
            count -= len(piece)
    else:
        text.seek(count)


def _skip_line(text: BufferedIOBase | BinaryIO) -> int:
    """Read up to the line's end, and return how many bytes that were."""
    count = 0
    while piece := text.readline(PIECE):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count
