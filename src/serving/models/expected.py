"""Admitted requests whose rows no model's queue counts yet: each counts as one row that waits for the model of its route.

Knows models' names and lifetimes. Does not know models or requests: a name need not be a model's.

Concurrency. Any thread may call anything here, without a lock, since every step is one operation on a dict. A request stands in
the table that its lifetime names. The thread that admits a request calls `add`, before any other thread has the request. `pop`
takes it out once, however many threads try. A batcher takes it out after it has queued its rows, so a request may be counted
twice for a moment, but never nowhere. `list` copies a table in one step, so the oldest is looked for in a copy.
"""

from serving.base.lifetime import Lifetime


class Expected:
    """Counts requests by the name of their model."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[Lifetime, None]] = {}

    def add(self, name: str, life: Lifetime) -> None:
        """Count one row for a model until `forget`. A request that is counted for another model is counted there no more."""
        table = self._tables.setdefault(name, {})
        before = life.expected
        table[life] = None
        life.expected = table
        if before is not None and before is not table:
            before.pop(life, None)

    def rows(self, name: str) -> int:
        """Return the number of requests that are counted for a model."""
        table = self._tables.get(name)
        return len(table) if table else 0

    def oldest(self, name: str) -> float | None:
        """Return when the last byte of the oldest of a model's requests came, in seconds of its clock, or None."""
        return min((life.received for life in list(self._tables.get(name, ()))), default=None)

    def names(self) -> list[str]:
        """Return every name for which a request was ever counted."""
        return list(self._tables)


def forget(life: Lifetime) -> None:
    """Count a request no more. It does no harm where it is not counted."""
    table = life.expected
    if table is not None:
        life.expected = None
        table.pop(life, None)
