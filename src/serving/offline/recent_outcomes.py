"""The outcomes of the last records, and whether the model fails for most of them.

Pure. Knows outcomes. Does not know records, models or what follows.
"""

from collections import deque

KEPT = 100  # records
FEWEST = 20  # records: where fewer are known, the failures are compared with half of so many, or one failure would count as all


class RecentOutcomes:
    """The last KEPT outcomes."""

    def __init__(self) -> None:
        self._failed: deque[bool] = deque(maxlen=KEPT)
        self._failures = 0

    def note(self, failed: bool) -> None:
        """Note a record's last outcome. failed: by the model or the service's code."""
        if len(self._failed) == KEPT:
            self._failures -= self._failed[0]
        self._failed.append(failed)
        self._failures += failed

    def failing(self) -> bool:
        """Return whether over half of the last records failed."""
        return 2 * self._failures > max(len(self._failed), FEWEST)

    def forget(self) -> None:
        """Begin anew, since the model works again."""
        self._failed.clear()
        self._failures = 0
