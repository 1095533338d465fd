"""The model's files in a service's folder, as facts that rules judge.

Knows files, and reads the inputs and outputs of a model's graph. Does not know what is wrong with them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from conf.rules.onnx_graphs import GraphError, GraphTooLarge, Value, values_of
from serving.settings import UnreadableError, text_of
from serving.settings.model_files import pointed_size

MOST_FILES = 10_000
MOST_REQUIREMENTS = 256  # KiB


@dataclass(frozen=True)
class ModelFiles:
    """The files of a service's model."""

    path: str = ""
    there: bool = False  # Whether the path is a file.
    pointer: bool = False  # Whether Git LFS has not fetched a file.
    parts: tuple[str, ...] = ()  # The files that the model is split into.
    checksums: bool = False  # Whether a .sha256 lies beside it.
    size: int = 0  # Bytes, with files beside it that hold its weights. A pointer counts as the file that it stands for.
    made: bool = False  # Whether model/Makefile can make it.
    values: tuple[Value, ...] = ()  # The inputs and outputs of its graph.
    broken: str = ""  # Why it is not an ONNX model.
    unread: str = ""  # Why its graph was not read, though the file may be right.
    others: int = 0  # Bytes of further ONNX files in model/.
    requirements: tuple[str, ...] = ()  # The lines of src/requirements.txt.
    folder: bool = False  # Whether the path is a folder.
    inside: tuple[str, ...] = ()  # The ONNX files in that folder.


def model_files(service: Path, model_path: str) -> ModelFiles:
    """Return the files of a service's model. Parts of a model are called model.onnx-aa, -ab and so on."""
    path = service / model_path
    around = list(path.parent.iterdir()) if model_path and path.parent.is_dir() else []
    family = sorted(item for item in around if item.is_file() and item.name.startswith(path.name))
    parts = tuple(item.name for item in family if item.name.startswith(f"{path.name}-"))
    values, broken, unread = _graph(path) if path in family and pointed_size(path) is None else ((), "", "")
    others = _onnx_files(service / "model")
    return ModelFiles(
        path=model_path,
        there=path in family,
        pointer=any(pointed_size(item) is not None for item in family),
        parts=parts,
        checksums=(path.parent / f"{path.name}.sha256").is_file(),  # "" in "." has no name to replace
        size=sum(map(_size, family)),
        made=(service / "model" / "Makefile").is_file(),
        values=values,
        broken=broken,
        unread=unread,
        others=sum(map(_size, others.difference(family))),
        requirements=_lines(service / "src" / "requirements.txt"),
        folder=path.is_dir() and bool(model_path),
        inside=tuple(sorted(str(item.relative_to(service)) for item in others if item.is_relative_to(path))),
    )


def _onnx_files(folder: Path) -> set[Path]:
    """Return the ONNX files among the first MOST_FILES entries of a folder, which may be a link to a whole disk."""
    found: set[Path] = set()
    seen = 0
    for place, _, names in os.walk(folder):
        found.update(Path(place, name) for name in names if ".onnx" in name and not name.endswith(".sha256"))
        seen += 1 + len(names)
        if seen > MOST_FILES:
            break
    return {item for item in found if item.is_file()}


def _size(path: Path) -> int:
    pointed = pointed_size(path)
    return path.stat().st_size if pointed is None else pointed


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(text_of(path, MOST_REQUIREMENTS).splitlines())
    except UnreadableError:
        return ()


def _graph(path: Path) -> tuple[tuple[Value, ...], str, str]:
    """Return the inputs and outputs of a model's graph, why it is not an ONNX model, and why it was not read."""
    if path.suffix == ".ort":
        return (), "", "it is in onnxruntime's own format"
    try:
        return values_of(path), "", ""
    except GraphError as error:
        return (), str(error), ""
    except GraphTooLarge:
        return (), "", "it has too many parts"
    except OSError as error:
        return (), "", str(error.strerror)
