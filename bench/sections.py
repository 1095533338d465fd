"""Writes sections of docs/reliability.md. One target of make writes each section, and the other targets leave it alone.

Knows the page and the marks in it. Does not know figures.
"""

from bench.served import BenchError
from bench.work import ROOT

PAGE = ROOT / "docs" / "reliability.md"
TITLE = "# Reliability\n"


def page() -> str:
    """Return the page's text, or "" where there is none."""
    return PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""


def with_section(text: str, made: str, maker: str) -> str:
    """Return a page's text with a section between its marks. It replaces an older one, or is added. Raises BenchError.

    maker: the command that makes it, as "make soak".
    """
    first = f"<!-- Made by `{maker}`, from here to the next such line; do not edit. -->"
    last = f"<!-- End of what `{maker}` made. -->"
    marked = f"{first}\n{made.strip()}\n{last}\n"
    before, begin, rest = (text or TITLE).partition(first)
    _, end, after = rest.partition(last)
    if begin and not end:
        raise BenchError(
            f"docs/reliability.md has the line {first!r} and not, after it, {last!r}; put it where the section ends"
        )
    return before + marked + after.removeprefix("\n") if begin else f"{before.rstrip()}\n\n{marked}"
