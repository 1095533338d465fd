"""Tables, sizes and progress bars, as a terminal shows them. Only this module imports tqdm."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return rows under a head, each column as wide as it needs to be. right: the columns of numbers, by their heads."""
    lines = [[printable(cell) for cell in line] for line in (head, *rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    pad = [str.rjust if name in right else str.ljust for name in head]
    return "\n".join("  ".join(pad[at](line[at], widths[at]) for at in range(len(head))).rstrip() for line in lines) + "\n"


def printable(text: str) -> str:
    """Return a text on one line: a name in a file may hold line ends, or characters that command a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def print_mistakes(mistakes: str, as_json: bool, **fields: Any) -> None:
    """Print mistakes, one a line, on stderr, or on stdout as JSON with further fields."""
    if as_json:
        print(json.dumps({**fields, "mistakes": mistakes.splitlines()}, indent=2))
    else:
        print(mistakes, file=sys.stderr)


def size(count: int) -> str:
    """Return bytes as a person reads them: powers of 1000, as file managers and registries count."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


@contextlib.contextmanager
def progress(total: float, what: str, unit: str = "") -> Iterator[Callable[[float], None]]:
    """Show on stderr how much of a total is done, for the length of a block, and nothing where stderr is not a terminal.

    Yields a function that takes how much is done by now, from 0 to total.
    """
    from tqdm import tqdm  # a service's image lacks it, and holds this module

    form = "{l_bar}{bar}| {n:.0f}/{total:.0f}" + unit
    with tqdm(total=total, desc=what, bar_format=form, leave=False, disable=None) as bar:

        def done(now: float) -> None:
            bar.update(min(now, total) - bar.n)

        yield done


@contextlib.contextmanager
def timed_progress(total: float, begin: float = 0.0) -> Iterator[Callable[[float, str], None]]:
    """Show on stderr how much of a total is done and how much time is left, and nothing where stderr is not a terminal.

    begin: what was done before. Yields a function that takes how much is done by now, from 0 to total, and words for the bar.
    """
    if not sys.stderr.isatty():
        yield lambda now, words: None
        return
    from tqdm import tqdm

    form = "{percentage:3.0f}%|{bar}| {desc}, {remaining} left"
    with tqdm(total=total, initial=begin, bar_format=form, leave=False) as bar:

        def done(now: float, words: str) -> None:
            bar.set_description_str(words, refresh=False)
            bar.update(min(now, total) - bar.n)

        yield done
