"""Writes sections of pages of docs/. One target of make writes each section, and the other targets leave it alone."""

from pathlib import Path

from bench.served import BenchError
from bench.work import ROOT

PAGE = ROOT / "docs" / "reliability.md"
PERFORMANCE = ROOT / "docs" / "performance.md"
OFFLINE = ROOT / "docs" / "offline.md"
CANARY = ROOT / "docs" / "canary.md"
MOVING = ROOT / "docs" / "moving.md"
AUTOSCALING = ROOT / "docs" / "autoscaling.md"
TITLES = {
    PAGE: "# Reliability\n",
    PERFORMANCE: "# Performance\n",
    OFFLINE: "# Offline\n",
    AUTOSCALING: "# Autoscaling\n",
    CANARY: "# Canary\n",
    MOVING: "# Moving here\n",
}


def page(path: Path = PAGE) -> str:
    """Return a page's text, or "" where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def with_section(text: str, made: str, maker: str, path: Path = PAGE) -> str:
    """Return a page's text with a section between its marks. It replaces an older one, or is added. Raises BenchError.

    maker: the command that makes it, as "make soak". path: the page, one of TITLES.
    """
    first = f"<!-- Made by `{maker}`, from here to the next such line; do not edit. -->"
    last = f"<!-- End of what `{maker}` made. -->"
    marked = f"{first}\n{made.strip()}\n{last}\n"
    before, begin, rest = (text or TITLES[path]).partition(first)
    _, end, after = rest.partition(last)
    if begin and not end:
        raise BenchError(f"docs/{path.name} has the line {first!r} and not, after it, {last!r}; put it where the section ends")
    return before + marked + after.removeprefix("\n") if begin else f"{before.rstrip()}\n\n{marked}"
