"""Prints what an image installs: the requirements of a project's extras, or the extras that a service needs by its settings."""

import ast
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(text: str, extras: Sequence[str]) -> list[str]:
    """Return the requirements of some extras. text: of a pyproject.toml. Raises KeyError for an extra that it does not name."""
    known = tomllib.loads(text)["project"]["optional-dependencies"]
    return [line for extra in extras for line in known[extra]]


def needed(text: str) -> list[str]:
    """Return the extras that a service needs beside `runtime` and its target. text: of a value.py, which is not run.

    A text that is not Python needs none: the start of the pod tells its mistakes.
    """
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return []
    names = [each.id for each in ast.walk(tree) if isinstance(each, ast.Name)]
    shares = re.search(r"""^(\w+_)?cache *= *["']redis["']""", text, re.MULTILINE)
    return ["offline"] * any(name.endswith("offline_source") for name in names) + ["cache"] * bool(shares)


if __name__ == "__main__":
    path, *extras = sys.argv[1:]
    text = Path(path).read_text(encoding="utf-8")
    print("\n".join(needed(text) if path.endswith(".py") else requirements(text, extras)))
