"""The files of YAML that a service brings for its plan: alerts.yaml, panels.yaml and pod.yaml, read in one way."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from conf.base.yaml_nodes import Form, read_table
from serving.settings import UnreadableError, text_of
from serving.settings.reader import ConfigError

MAX_FILE = 64  # KiB, enough for some hundred rules


def text_in(service: Path, file: str) -> str:
    """Return the text of a file in a service's folder, "" where there is none. Raises ConfigError where it is no text."""
    path = service / file
    if not os.path.lexists(path):
        return ""
    try:
        return text_of(path, MAX_FILE)
    except UnreadableError as error:
        raise ConfigError([f"{file}: {error}; save it anew as text, or delete it"]) from None


def table_in(
    file: str, text: str, form: type[Form], judge: Callable[[Form], Iterable[tuple[str, str]]] = lambda _: ()
) -> tuple[Form | None, Mapping[str, int]]:
    """Return the table in a file's text, None for comments alone, and the line of each value, as `read_table` does."""
    if all(line.lstrip().startswith("#") or not line.strip() for line in text.splitlines()):
        return None, {}
    return read_table(file, text, form, judge)
