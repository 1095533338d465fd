"""A record as the core takes it: its value is what a request's body is online.

Knows which content type a value has. Does not know what it holds, nor where it came from.
"""

import time
from collections.abc import Mapping

from serving.base.lifetime import Lifetime
from serving.core.messages import JSON, StageTimes
from serving.offline.records import Record

BYTES = "application/octet-stream"
CONTENT_TYPE = "content-type"  # the header that names it; a name of a header is compared in lower case
BLANK = b" \t\r\n"
LOOKED_AT = 256  # bytes of blanks before JSON, at most
NONE: Mapping[str, str] = {}


class RawRecord:
    """One try of a record. Its time begins now."""

    __slots__ = ("__weakref__", "_value", "content_type", "id", "kind", "length", "life", "times")

    def __init__(self, record: Record, id: str, timeout: float):
        """id: as in the logs. timeout: seconds for this try."""
        now = time.monotonic()
        self.id, self.life, self.times = id, Lifetime(now, timeout), StageTimes(now)
        self._value = record.value or b""
        self.content_type = content_type_of(record, self._value)
        self.kind = self.content_type.partition(";")[0].strip().lower()
        self.length = len(self._value)

    def read(self) -> bytes:
        """Return the record's value."""
        return self._value

    def parameters(self) -> Mapping[str, str]:
        """Return no parameters, since there is no URL."""
        return NONE


def content_type_of(record: Record, value: bytes) -> str:
    """Return JSON for an object, else what the header content-type says, else plain bytes."""
    if value[:LOOKED_AT].lstrip(BLANK)[:1] == b"{":
        return JSON
    given = next((text for name, text in record.headers if name.lower() == CONTENT_TYPE and text), b"")
    return given.decode("latin-1") if given else BYTES
