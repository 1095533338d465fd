"""What lies in a service's folder, as facts that rules can judge.

Knows files, and reads no more of a model than its first line. Does not know what is wrong with them.
"""

from dataclasses import dataclass
from pathlib import Path

POINTER = b"version https://git-lfs.github.com/spec/"
LONGEST_POINTER = 1024  # bytes


@dataclass(frozen=True)
class ModelFiles:
    """The model of a service. size: bytes, of files beside it that hold its weights too; of a pointer what it points to."""

    path: str = ""
    there: bool = False
    pointer: bool = False
    parts: tuple[str, ...] = ()
    checksums: bool = False
    size: int = 0


def model_files(service: Path, model_path: str) -> ModelFiles:
    """Look at a service's model. A model may be split into parts (model.onnx-aa, -ab, ...), checked by model.onnx.sha256."""
    path = service / model_path
    if not model_path or not path.parent.is_dir():
        return ModelFiles(model_path)
    family = sorted(item for item in path.parent.iterdir() if item.is_file() and item.name.startswith(path.name))
    parts = tuple(item.name for item in family if item.name.startswith(f"{path.name}-"))
    pointed = [_pointed(item) for item in family]
    return ModelFiles(
        path=model_path,
        there=path.is_file(),
        pointer=any(size is not None for size in pointed),
        parts=parts,
        checksums=path.with_name(f"{path.name}.sha256").is_file(),
        size=sum(item.stat().st_size if size is None else size for item, size in zip(family, pointed, strict=True)),
    )


def _pointed(path: Path) -> int | None:
    """Return the size that a Git LFS pointer points to, or None for a file that is none."""
    if path.stat().st_size > LONGEST_POINTER:
        return None
    text = path.read_bytes()
    if not text.startswith(POINTER):
        return None
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith(b"size ") and line[5:].strip().isdigit()]
    return int(sizes[0]) if sizes else 0
