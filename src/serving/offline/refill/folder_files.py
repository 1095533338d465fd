"""Files in folders: each file that the service declares is a record, and its path is the record's key.

Knows folders and names of files. Does not know what a file holds. Memory: the names in one folder, and one file.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from serving.base.errors import StartError
from serving.inputs.files import BYTES, PICTURES, FileKinds, content_type
from serving.offline.records import Origin, Record, Refusal, SourceFailed
from serving.offline.refill.items import Item, Place

READ = ("image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp")  # what "image/*" stands for, since these are decoded


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
        """Yield the paths of all records, and count the other files."""
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
    """Return the record of a file, and its size in bytes."""
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
