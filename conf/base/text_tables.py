"""Tables of text for a terminal."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return rows under a head, each column as wide as its longest cell. right: heads of the columns to align at the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    pad = [str.rjust if name in right else str.ljust for name in head]
    return "\n".join("  ".join(pad[i](line[i], widths[i]) for i in range(len(head))).rstrip() for line in lines) + "\n"


def shortened(text: str) -> str:
    """Return a text of others on one line, and its first 300 characters at most."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."
