"""A record on its way, and each try of it as the core takes one. The loop alone changes anything."""

import asyncio
import time
from collections.abc import Callable, Mapping
from enum import Enum, auto

from serving.base.lifetime import Lifetime
from serving.base.request_ids import new_request_id
from serving.core.messages import JSON, Result, StageTimes
from serving.offline.records import Record, Refusal

BYTES = "application/octet-stream"
CONTENT_TYPE = "content-type"  # the header that names it; a name of a header is compared in lower case
BLANK = b" \t\r\n"
LOOKED_AT = 256  # bytes of blanks before JSON, at most
NONE: Mapping[str, str] = {}


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
        return len(self.record.value or b"")


class RawRecord:
    """One try of a record, as the core takes it: its value is what a request's body is online. Its time begins now.

    It ends once, with what the core gives or at its deadline.
    """

    __slots__ = ("__weakref__", "_ended", "_value", "content_type", "id", "kind", "length", "life", "times")

    def __init__(self, record: Record, id: str, timeout: float, ended: "Callable[[RawRecord, Result], None]"):
        """id: as in the logs. timeout: seconds for this try. ended: called once."""
        now = time.monotonic()
        self.id, self.life, self.times = id, Lifetime(now, timeout), StageTimes(now)
        self._ended: Callable[[RawRecord, Result], None] | None = ended
        self._value = record.value or b""
        self.content_type = content_type_of(record, self._value)
        self.kind = self.content_type.partition(";")[0].strip().lower()
        self.length = len(self._value)

    def read(self) -> bytes:
        return self._value

    def parameters(self) -> Mapping[str, str]:
        """Return no parameters, since there is no URL."""
        return NONE

    def finish(self, result: Result) -> None:
        ended, self._ended = self._ended, None
        if ended:
            ended(self, result)


def content_type_of(record: Record, value: bytes) -> str:
    """Return JSON for an object, else what the header content-type says, else plain bytes."""
    if value[:LOOKED_AT].lstrip(BLANK)[:1] == b"{":
        return JSON
    given = next((text for name, text in record.headers if name.lower() == CONTENT_TYPE and text), b"")
    return given.decode("latin-1") if given else BYTES
