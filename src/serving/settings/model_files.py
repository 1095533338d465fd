"""Read lists of sha256 sums (SHA256SUMS, x.onnx.sha256), and Git LFS pointers that stand in place of model files.

Imports the standard library alone, no module beside it either: image/weights.py uses it in a build stage that holds no other.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

SUMS = "SHA256SUMS"
LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64})(?:[ \t]+\*?(?P<name>.+))?")  # as sha256sum writes it; a name may be missing
POINTER = b"version https://git-lfs.github.com/spec/"
MAX_POINTER = 1024  # bytes


@dataclass(frozen=True)
class Checksum:
    """A line of a list of checksums.

    path: the file that it names. sha256: lower-case hex, "" where the line is not a checksum. Lines are counted from 1.
    """

    path: Path
    sha256: str
    listed_in: Path
    line: int


def is_checksum_list(path: Path) -> bool:
    """Return whether a file is a list of checksums, by its name."""
    return path.name == SUMS or path.suffix == ".sha256"


def read_checksums(folder: Path) -> list[Checksum]:
    """Return each line of each list in a folder and the folders below, but for empty lines and comments (`#`).

    SHA256SUMS names files relative to itself. x.onnx.sha256 lies beside its file, so only the last part of a name counts there,
    and a line without a name means x.onnx.
    """
    lists = (path for path in sorted(folder.rglob("*")) if is_checksum_list(path) and path.is_file())
    return [checksum for path in lists for checksum in _read_list(path)]


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pointed_size(path: Path) -> int | None:
    """Return the bytes of the file that a Git LFS pointer stands for, 0 where it says none, or None for any other file."""
    if path.stat().st_size > MAX_POINTER:
        return None
    text = path.read_bytes()
    if not text.startswith(POINTER):
        return None
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith(b"size ") and line[5:].strip().isdigit()]
    return int(sizes[0]) if sizes else 0


def _read_list(path: Path) -> list[Checksum]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            match = LINE.fullmatch(line.strip())
            name = (match["name"] if match else None) or ""
            if path.name != SUMS:
                name = Path(name).name or path.stem
            sha256 = match["sum"].lower() if match and name else ""
            found.append(Checksum(path.parent / (name or "FILE"), sha256, path, number))
    return found
