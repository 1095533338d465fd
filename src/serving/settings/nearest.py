"""Suggestions: what a person probably meant by a wrong name or a wrong value.

Knows names and kinds of values, and the hooks of a service's class. Runs no code.
"""

import ast
import difflib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from serving.settings.text_files import UnreadableError, text_of
from serving.settings.validators import Validator

MOST_SEARCHES = 200  # for one file: each takes about a millisecond, and a file may hold thousands of wrong names
LONGEST = 100  # characters; for a longer name or value nothing is suggested
MOST_CODE = 1024  # KiB of a src/server.py
HOOKS = ("setup", "preprocess", "postprocess", "handle")  # the methods of a service's class that the platform calls


class Nearest:
    """Finds the nearest known name for the first MOST_SEARCHES wrong names of one file."""

    def __init__(self) -> None:
        self._searches = 0

    def to(self, name: str, known: Iterable[str]) -> str:
        """Return the known name that is most like `name`, or "" where none is like it or no search is left."""
        if self._searches >= MOST_SEARCHES or len(name) > LONGEST:
            return ""
        self._searches += 1
        return next(iter(difflib.get_close_matches(name, known, 1)), "")


def nearest_value(validator: Validator, value: Any) -> str:
    """Return a suggestion for a literal that is not allowed, as the end of a sentence, or "" where there is none."""
    if isinstance(value, str) and len(value) > LONGEST:
        return ""
    with suppress(ValueError, SyntaxError):  # the value cannot be written out, or the string is no literal
        near = next((meant for meant in validator.near(value) if _is_allowed(validator, meant)), None)
        if near is not None:
            return f"; did you mean {_literal(near)}?" if len(_literal(near)) <= LONGEST else ""
        if isinstance(value, str) and _is_allowed(validator, ast.literal_eval(value)):
            return f"; drop the quotes: {value}"
    return ""


def misnamed_hooks(folder: Path) -> list[str]:
    """Return a sentence for each public method of a subclass of Service that nothing uses, and whose name is like a hook's.

    folder: of the service. Its src/server.py is read and not run. A file that is missing or is not Python has no such methods.
    """
    try:
        tree = ast.parse(text_of(folder / "src" / "server.py", MOST_CODE))
    except (UnreadableError, SyntaxError, ValueError, RecursionError):
        return []
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    kinds = (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    own = (item for kind in kinds if any(ast.unparse(base).endswith("Service") for base in kind.bases) for item in kind.body)
    nearest, found = Nearest(), []
    for item in own:
        if isinstance(item, ast.FunctionDef) and not item.decorator_list and item.name not in used.union(HOOKS):
            near = "" if item.name.startswith("_") else nearest.to(item.name, HOOKS)
            if near:
                found.append(f"src/server.py:{item.lineno}: nothing calls {item.name!r}; did you mean the hook {near!r}?")
    return found


def _is_allowed(validator: Validator, value: Any) -> bool:
    try:
        validator.convert(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')
