"""Tables and sizes as a terminal shows them.

Knows widths and units. Does not know what a table shows.
"""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return rows under a head, each column as wide as it needs to be. right: the columns of numbers, by their heads."""
    lines = [head, *rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    pad = [str.rjust if name in right else str.ljust for name in head]
    return "\n".join("  ".join(pad[at](line[at], widths[at]) for at in range(len(head))).rstrip() for line in lines) + "\n"


def size(count: int) -> str:
    """Return bytes as a person reads them: powers of 1000, as file managers and registries count."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"
