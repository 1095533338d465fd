"""The body of one request while it comes.

Knows the framing of bodies. Does not know sockets, or what the body is for.
"""

from serving.web.front.body import Body
from serving.web.front.chunks import ChunkedBody
from serving.web.front.heads import Head
from serving.web.held_bodies import Share


class Upload:
    """A body that has come in part. share: its bytes count there. unread: bytes of a body of known length that are due."""

    def __init__(self, head: Head, share: Share, most_bytes: int):
        self.body = Body()
        self.unread = head.length
        self._share = share
        self._chunks = ChunkedBody(most_bytes) if head.chunked else None

    @property
    def chunked(self) -> bool:
        """Whether it comes in chunks, whose number in one turn of the loop is bounded."""
        return self._chunks is not None

    @property
    def whole(self) -> bool:
        """Whether the last byte has come."""
        return self._chunks.done if self._chunks is not None else not self.unread

    def take(self, data: bytes, most_chunks: int) -> bytes:
        """Take what belongs to the body, and return the rest. Raises BadInput and TooLarge."""
        if self._chunks is None:
            part = data if len(data) <= self.unread else memoryview(data)[: self.unread]
            self.unread -= len(part)
            self._keep(part)
            return data[len(part) :]
        position, pieces = self._chunks.take(data, 0, most_chunks)
        for piece in pieces:
            self._keep(piece)
        return data[position:]

    def _keep(self, piece: bytes | memoryview) -> None:
        self.body.add(piece)
        self._share.add(len(piece))
