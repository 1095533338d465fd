"""The statements of value.py, which is parsed and never run.

A line of value.py that is not Python is one mistake among the others.
"""

import ast
import bisect
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

MAX_STATEMENT = 200  # lines. Bounds the search for the end of a bracket that is never closed.
# Characters of one file that are parsed to find ends of statements: about a second. Open brackets would take minutes otherwise.
MAX_TRIED = 500_000
# The last line of a statement of several lines looks so. Otherwise the line before it ends with a backslash.
MAY_END = re.compile(r"[)\]}]|\"\"\"|'''|^\s")
NO_VALUE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(#.*)?")
INNER_LINE = re.compile(r" \(detected at line \d+\)$")  # Python counts it from the statement's first line, not the file's
SOME_VALUE = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)")
PYTHON_WORDS = {"true": "True", "yes": "True", "on": "True", "false": "False", "no": "False", "off": "False"}


@dataclass(frozen=True)
class Assignment:
    """`name = literal`, with its line."""

    name: str
    value: object
    line: int


@dataclass(frozen=True)
class Mistake:
    """A statement that the file may not hold.

    missing: the setting that has no usable value, so that the reader adds what is allowed. about: the setting that is
    meant, where the message is complete already.
    """

    line: int
    message: str
    missing: str = ""
    about: str = ""


def assignments(text: str) -> Iterator[Assignment | Mistake]:
    """Yield every assignment of a literal, and a mistake for everything else but comments and docstrings."""
    for found in _statements(text):
        if isinstance(found, Mistake):
            yield found
        elif not (isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant) and isinstance(found.value.value, str)):
            yield _assignment(found)


def _parse(text: str) -> list[ast.stmt] | str:
    """Return the statements, or why the text is not Python, in words."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python would warn of "\d" in a string once for every try
            return ast.parse(text).body
    except SyntaxError as error:
        return "a number of thousands of digits" if "set_int_max_str_digits" in error.msg else INNER_LINE.sub("", error.msg)
    except ValueError as error:  # null bytes
        return str(error)
    except (RecursionError, MemoryError):
        return "nested too deeply"


def _statements(text: str) -> Iterator[ast.stmt | Mistake]:
    whole = _parse(text)
    if isinstance(whole, list):
        yield from whole
        return
    lines = re.split(r"\r\n|\r|\n", text)
    ends = [number for number, line in enumerate(lines) if MAY_END.search(line) or lines[number - 1].endswith("\\")]
    start, left = 0, MAX_TRIED
    while start < len(lines):
        later = ends[bisect.bisect(ends, start) : bisect.bisect(ends, start + MAX_STATEMENT)]
        size, found, left = _statement_at(lines, start, later, left)
        if isinstance(found, Mistake):
            yield found
        else:
            for node in found:
                ast.increment_lineno(node, start)
                yield node
        start += size


def _statement_at(lines: list[str], start: int, ends: list[int], left: int) -> tuple[int, list[ast.stmt] | Mistake, int]:
    """Return the number of lines of the statement at `start`, its nodes or a mistake, and the characters still to be tried.

    ends: the lines that may be its last one, where it has several. left: characters that may be tried before this call.
    """
    first = _parse(lines[start])
    if isinstance(first, list):
        return 1, first, left
    without_value = NO_VALUE.fullmatch(lines[start])
    if without_value:
        return 1, Mistake(start + 1, f"{without_value[1]} has no value", without_value[1]), left
    for end in ends:
        text = "\n".join(lines[start : end + 1])
        if len(text) > left:
            break
        left -= len(text)
        if isinstance(found := _parse(text), list):
            return end + 1 - start, found, left
    named = SOME_VALUE.match(lines[start])
    words = f"not Python: {first}; write one setting per line, as name = value"
    return 1, Mistake(start + 1, words, named[1] if named else ""), left


def _assignment(node: ast.stmt) -> Assignment | Mistake:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return Mistake(node.lineno, "only lines of the form name = value may stand here: the file is read, never run")
    name = node.targets[0].id
    own = PYTHON_WORDS.get(node.value.id.lower()) if isinstance(node.value, ast.Name) else None
    if own:
        return Mistake(node.lineno, f"{name} is {ast.unparse(node.value)}, which Python writes {own}: {name} = {own}", "", name)
    try:
        return Assignment(name, ast.literal_eval(node.value), node.lineno)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        words = f"{name} must be a literal (a number, a string, True, a list, a table): the file is read, never run"
        return Mistake(node.lineno, words, name)
