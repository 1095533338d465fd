"""The name that a person may have meant.

Knows names. Does not know what they name.
"""

import difflib
from collections.abc import Iterable

MOST_SEARCHES = 200  # in one file: each takes about a millisecond, and a file may have thousands of wrong names
LONGEST = 100  # characters of a name that is searched for


class Nearest:
    """Finds the nearest of known names for the first few wrong names of one file, and none for the others."""

    def __init__(self) -> None:
        self._searches = 0

    def to(self, name: str, known: Iterable[str]) -> str:
        """Return the known name that is most like another, or ""."""
        if self._searches >= MOST_SEARCHES or len(name) > LONGEST:
            return ""
        self._searches += 1
        return next(iter(difflib.get_close_matches(name, known, 1)), "")
