"""Python source cut into statements, so that a line that is not Python is one mistake among the others.

Knows syntax, and parses without ever executing. Does not know settings.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_STATEMENT = 200  # lines: bounds the search for the end of a bracket that is never closed
MOST_TRIES = 4_000  # in one file, or thousands of open brackets would take hours
LARGEST_FILE = 256 * 1024  # characters
NO_VALUE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(#.*)?")


@dataclass(frozen=True)
class Assignment:
    """`name = literal` at a line."""

    name: str
    value: object
    line: int


@dataclass(frozen=True)
class Mistake:
    """Something that may not stand in the file. missing names the setting whose value is left out."""

    line: int
    message: str
    missing: str = ""


def assignments(text: str) -> Iterator[Assignment | Mistake]:
    """Yield every assignment of a literal, and a mistake for everything else that is not a comment or a docstring."""
    if len(text) > LARGEST_FILE:
        yield Mistake(1, f"the file has {len(text)} characters, at most {LARGEST_FILE} are read")
        return
    for found in _statements(text):
        if isinstance(found, Mistake):
            yield found
        elif not (isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant) and isinstance(found.value.value, str)):
            yield _assignment(found)


def _parse(text: str) -> list[ast.stmt] | str:
    """Return the statements, or in words why the text is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" in a text, which is told once more for every try
            return ast.parse(text).body
    except SyntaxError as error:
        return error.msg
    except (ValueError, RecursionError, MemoryError) as error:  # null bytes; nesting past the parser's limits
        return str(error) or "nested too deeply"


def _statements(text: str) -> Iterator[ast.stmt | Mistake]:
    whole = _parse(text)
    if isinstance(whole, list):
        yield from whole
        return
    lines = re.split(r"\r\n|\r|\n", text)
    start, tries = 0, iter(range(MOST_TRIES))
    while start < len(lines):
        size, found = _statement_at(lines, start, tries)
        if isinstance(found, Mistake):
            yield found
        else:
            for node in found:
                ast.increment_lineno(node, start)
                yield node
        start += size


def _statement_at(lines: list[str], start: int, tries: Iterator[int]) -> tuple[int, list[ast.stmt] | Mistake]:
    """Return how many lines the statement at `start` takes, and what it is. Each look at further lines uses up a try."""
    first = _parse(lines[start])
    if isinstance(first, list):
        return 1, first
    without_value = NO_VALUE.fullmatch(lines[start])
    if without_value:
        return 1, Mistake(start + 1, f"{without_value[1]} has no value", without_value[1])
    for end, _ in zip(range(start + 2, min(start + LONGEST_STATEMENT, len(lines)) + 1), tries, strict=False):
        if isinstance(found := _parse("\n".join(lines[start:end])), list):
            return end - start, found
    return 1, Mistake(start + 1, f"not Python: {first}; write one setting a line, as name = value")


def _assignment(node: ast.stmt) -> Assignment | Mistake:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return Mistake(node.lineno, "only lines of the form name = value may stand here: the file is read, never run")
    name = node.targets[0].id
    try:
        return Assignment(name, ast.literal_eval(node.value), node.lineno)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        words = f"{name} must be a literal (a number, a text, True, a list, a table): the file is read, never run"
        return Mistake(node.lineno, words, name)
