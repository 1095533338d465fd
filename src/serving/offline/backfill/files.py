"""Files as inputs: JSON lines, plain or gzip, and folders of files. Each line that is not blank is a record.

Memory: one line of at most the largest record, whatever the file holds; of folders the names in one folder, and one file.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import BufferedIOBase
from pathlib import PurePath
from typing import BinaryIO

from serving.base.errors import StartError
from serving.inputs.files import BYTES, PICTURES, FileKinds, content_type
from serving.offline.backfill.input_progress import Item, Place
from serving.offline.records import Origin, Record, Refusal, SourceFailed

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
READ = ("image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp")  # what "image/*" stands for, since these are decoded


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
    count = 0
    while piece := text.readline(PIECE):
        count += len(piece)
        if piece.endswith(b"\n"):
            break
    return count


class FolderFiles:
    """An Input of files and folders. The name of a file is its number from 1 in the order of paths, and so is its place.

    Folders are read through, but no symbolic links to folders.
    """

    def __init__(self, paths: Sequence[str], kinds: FileKinds, largest: int):
        """kinds: which files are records. largest: bytes of a file. Raises StartError where a folder cannot be read."""
        self.name, self.passed_over = "pictures" if kinds == PICTURES else "files", 0  # older notes know pictures
        self._paths, self._kinds, self._largest = paths, kinds, largest
        self.size, self.count = 0.0, 0
        digest = hashlib.sha256()
        try:
            for path in self._files():
                size = os.stat(path).st_size
                self.size += size
                self.count += 1
                digest.update(os.fsencode(path) + b"\0%d\0" % size)
        except OSError as error:
            raise StartError(f"{error.filename}: {error.strerror}; --from takes folders that can be read") from None
        self._digest = digest.hexdigest()
        self.passed_over = self._others

    def identity(self) -> Mapping[str, object]:
        return {self.name: self.count, "bytes": int(self.size), "digest": self._digest}

    def interrupt(self) -> None:
        """Nothing is left to do: a read of a file does not wait."""

    def read(self, after: Place | None) -> Iterator[Item]:
        begin = after if isinstance(after, int) else 0
        through = 0.0
        try:
            for number, path in enumerate(self._files(), 1):
                if number > begin:
                    record, size = _record(path, self._largest)
                    through += size
                    yield Item(record, number, number, through)
                else:
                    through += os.stat(path).st_size
        except OSError as error:
            raise SourceFailed(f"{error.filename}: {error.strerror}; run the command with --again") from None

    def _files(self) -> Iterator[str]:
        self._others = 0
        for path in self._paths:
            yield from self._walk(path) if os.path.isdir(path) else [path]

    def _walk(self, folder: str) -> Iterator[str]:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path)
            elif is_record(entry.name, self._kinds) and entry.is_file():
                yield entry.path
            else:
                self._others += 1


def is_record(path: str, kinds: FileKinds) -> bool:
    """Return whether a file is one that the service takes, by its name."""
    type = content_type(PurePath(path))
    known = type in READ or not type.startswith(("image/", BYTES))
    return any(type in kind.types or (known and kind.takes(type)) for kind in kinds.values())


def _record(path: str, largest: int) -> tuple[Record, int]:
    encoded = os.fsencode(path)
    origin = Origin(encoded.decode("utf-8", "backslashreplace"), 0, 0)
    headers = (("content-type", content_type(PurePath(path)).encode()),)
    size, time = 0, 0
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            size, time = status.st_size, status.st_mtime_ns // 1_000_000
            value = file.read(largest + 1) if size <= largest else b""
    except OSError as error:
        return Record(origin, time, encoded, None, headers, Refusal("unreadable", f"{origin.topic}: {error.strerror}")), size
    if max(size, len(value)) > largest:
        words = f"the file has {max(size, len(value))} bytes, and offline_max_record allows {largest}"
        return Record(origin, time, encoded, None, headers, Refusal("too_large", words)), size
    return Record(origin, time, encoded, value, headers), size
