"""Every sentence that the product can say stands in tests/golden/messages.txt, which an editor reads as a whole.

`UPDATE_GOLDEN=1 .venv/bin/pytest tests/test_messages.py` writes the file anew. Other tests pin a reason or a few words.
"""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.running import ROOT

GOLDEN = ROOT / "tests/golden/messages.txt"
PRODUCT = ("src", "conf", "dashboards", "relay", "ci", "image", "charts")
FOUR_WORDS = re.compile(r"(?:^|\s)(?:[A-Za-z][a-z]*[,;:]?\s){3,}[a-z]+")
# How a sentence of this project never speaks, and what it says in place of that.
AWKWARD = {
    r"(?<![Tt]here )\b(?:is|are) no\b(?! (?:longer|more|later|less|sooner))": "is not a",
    r"\bso many\b": "the number itself",
    r"\bthat is none\b": "which it is not",
    r"^(?:Who|Which|What|One that)\b(?!.*\?)": "the subject's name",
}


@cache
def messages() -> dict[str, list[str]]:
    """Return the sentences of each module, in their order; what is filled in stands in braces."""
    found = {}
    for folder in PRODUCT:
        for module in sorted((ROOT / folder).rglob("*.py")):
            if sentences := list(dict.fromkeys(_sentences(ast.parse(module.read_text(encoding="utf-8"))))):
                found[str(module.relative_to(ROOT))] = sentences
    return found


def _sentences(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr | ast.Constant):
        text = " ".join(_text(node).split())
        if FOUR_WORDS.search(text):
            yield text
        return
    body = getattr(node, "body", None)
    for child in ast.iter_child_nodes(node):
        if isinstance(body, list) and isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
            continue  # a docstring
        yield from _sentences(child)


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.FormattedValue(value=value):
            return f"{{{ast.unparse(value)}}}"
    return ""


def test_the_golden_file_holds_every_message() -> None:
    text = "".join(f"{module}\n" + "".join(f"  {line}\n" for line in lines) + "\n" for module, lines in messages().items())
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("pattern", AWKWARD)
def test_no_message_speaks_awkwardly(pattern: str) -> None:
    wrong = [f"{module}: {line}" for module, lines in messages().items() for line in lines if re.search(pattern, line)]
    assert wrong == [], f"say {AWKWARD[pattern]}"
