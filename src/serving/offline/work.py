"""A record on its way: where it stands, its tries, and what is known of its end.

Knows states. Does not know what moves a record from one to the next. The loop alone changes anything.
"""

import asyncio
from enum import Enum, auto

from serving.base.request_ids import new_request_id
from serving.offline.records import Record, Refusal


class State(Enum):
    WAITING = auto()  # for a place in the core
    RUNNING = auto()  # in the core
    PAUSED = auto()  # for the time of its next try
    HELD = auto()  # until the model works again
    WRITING = auto()  # its answer or its dead letter waits for an acknowledgement
    DONE = auto()  # finished or dropped; whatever still comes of it is ignored


NOT_BEGUN = (State.WAITING, State.PAUSED, State.HELD)  # neither a model nor a sink has such a record


class Work:
    """A record on its way. id: as in the logs. unacknowledged: how many sinks have not acknowledged its answer."""

    __slots__ = ("id", "record", "refusal", "state", "timer", "tries", "unacknowledged", "withdrawn")

    def __init__(self, record: Record):
        self.record, self.id = record, new_request_id()
        self.state, self.tries, self.unacknowledged = State.WAITING, 0, 0
        self.refusal: Refusal | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.withdrawn = False

    def size(self) -> int:
        """Return the bytes that the record holds."""
        return len(self.record.value or b"")
