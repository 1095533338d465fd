"""The files of YAML that a service brings for its plan: alerts.yaml, panels.yaml and pod.yaml, read in one way."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from conf.base.yaml_nodes import compose
from serving.settings import UnreadableError, text_of
from serving.settings.reader import ConfigError, Reader, Table

MAX_FILE = 64  # KiB, enough for some hundred rules

Form = TypeVar("Form")


class ServiceFileError(ConfigError):
    """A file of a service cannot be used."""


def text_in(service: Path, file: str) -> str:
    """Return the text of a file in a service's folder, "" where there is none. Raises ServiceFileError where it is no text."""
    path = service / file
    if not os.path.lexists(path):
        return ""
    try:
        return text_of(path, MAX_FILE)
    except UnreadableError as error:
        raise ServiceFileError([f"{file}: {error}; save it anew as text, or delete it"]) from None


def table_in(
    file: str, text: str, form: type[Form], judge: Callable[[Form], Iterable[tuple[str, str]]] = lambda _: ()
) -> tuple[Form | None, Mapping[str, int]]:
    """Return the table in a file's text, None for comments alone, and the line of each value by its path.

    judge: returns the mistakes between fields that are right by themselves, each with the path of its value.
    Raises ServiceFileError with every mistake.
    """
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.splitlines()):
        return None, {}
    root, mistakes = compose(text)
    reader = Reader(file, mistakes)
    found = reader.read(Table(form), root) if root else None
    if isinstance(found, form):
        for path, message in judge(found):
            reader.add_at(path, message)
    if reader.mistakes or not isinstance(found, form):
        raise ServiceFileError(reader.sentences())
    return found, reader.lines
