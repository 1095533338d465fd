"""docs/architecture.md names every module of the product, with the first sentences of its docstring.

`UPDATE_ARCHITECTURE=1 .venv/bin/pytest tests/test_architecture.py` writes that part anew.
"""

import ast
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from tests.running import ROOT
from tests.test_messages import PRODUCT

PAGE, HEADING = ROOT / "docs/architecture.md", "## Every module\n"
SERVICE = {"src/server.py", "src/test_server.py"}  # of the demo


def modules() -> Iterator[Path]:
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "__init__.py" and str(path.relative_to(ROOT)) not in SERVICE:
                yield path.relative_to(ROOT)


def listed() -> str:
    """Return the page's part: a list for each folder."""
    lines = []
    for folder, paths in groupby(sorted(modules(), key=lambda path: (str(path.parent), path.name)), lambda path: path.parent):
        lines.append(f"\n### {folder}/\n")
        for path in paths:
            first = (ast.get_docstring(ast.parse((ROOT / path).read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
            lines.append(f"- `{path.name}`: {' '.join(first.split())}\n")
    return "".join(lines)


def test_the_page_of_the_architecture_lists_every_module() -> None:
    before, heading, part = PAGE.read_text(encoding="utf-8").partition(HEADING)
    assert heading
    if os.environ.get("UPDATE_ARCHITECTURE"):
        PAGE.write_text(before + heading + listed(), encoding="utf-8")
    else:
        assert part == listed()
