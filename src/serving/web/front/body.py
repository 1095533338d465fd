"""The body of one request while it comes: its framing and its bytes. A large body lies in an unnamed file in /tmp.

Of the framing of chunks (RFC 9112, 7.1) nothing is kept but the part of a line that has not come whole. Extensions and trailers
are checked and thrown away. A body of many small chunks ends early, since each chunk costs time whatever it holds.
"""

import contextlib
import io
import logging
import re
import tempfile
from typing import BinaryIO

from serving.base.errors import BadInput, ServiceFailed, TooLarge
from serving.inputs.tensor_codec import show
from serving.web.front.heads import Head
from serving.web.front.held_bytes import Share

log = logging.getLogger("monopod.front")

MAX_IN_MEMORY = 2**20  # bytes of one body
MAX_PIECES = 256  # before they are joined: a small piece takes a multiple of its bytes


class Body:
    """The bytes of one body so far. The loop adds; a worker thread reads once all have come."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[bytes] = []
        self._file: BinaryIO | None = None

    def __len__(self) -> int:
        return self.length

    def __del__(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk takes not even the rest
                self._file.close()

    def add(self, piece: bytes | memoryview) -> None:
        """Keep a piece. A memoryview is copied. Raises ServiceFailed where /tmp takes no more."""
        self.length += len(piece)
        if self._file is None and self.length <= MAX_IN_MEMORY:
            self._pieces.append(bytes(piece))
            if len(self._pieces) > MAX_PIECES:
                self._pieces = [b"".join(self._pieces)]
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this body
                self._file.write(b"".join(self._pieces))
                self._pieces = []
            self._file.write(piece)
        except OSError as error:
            log.error("a body of over %d bytes cannot be kept in %s: %s", MAX_IN_MEMORY, tempfile.gettempdir(), error)
            raise ServiceFailed("the server has no room for the body; its log tells why; try again in a second") from None

    def read(self) -> bytes:
        """Return all bytes."""
        if self._file is None:
            return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._file.seek(0)
        return self._file.read()

    def stream(self) -> BinaryIO:
        """Return all bytes as a file."""
        if self._file is None:
            return io.BytesIO(self.read())
        self._file.seek(0)
        return self._file


MAX_SIZE_DIGITS = 16
MAX_EXTENSION_BYTES = 256  # of one chunk
MAX_EXTENSIONS_BYTES = 16 * 2**10  # of a body
MAX_TRAILER_BYTES = 8 * 2**10
MAX_TRAILERS = 32
FREE_CHUNKS = 4096  # that a body may have, whatever its content
CHUNK_BYTES = 32  # of content, which allow one chunk more
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,%d}+)(;[\t\x20-\x7e\x80-\xff]{0,%d}+)?\r" % (MAX_SIZE_DIGITS, MAX_EXTENSION_BYTES - 1))
TRAILER_LINE = re.compile(rb"[\w!#$%&'*+.^`|~-]++:[\t\x20-\x7e\x80-\xff]*+\r")
SIZE, END_OF_CHUNK, TRAILER = range(3)  # the kinds of lines


class ChunkedBody:
    """Takes the bytes of a chunked body, and tells its content and its end.

    done: the body has ended, and `take` takes nothing more. After an error the object is unusable.
    """

    def __init__(self, max_bytes: int) -> None:
        self.done = False
        self._most = max_bytes  # of content
        self._content = 0  # bytes that the size lines announced so far
        self._chunks = 0
        self._extensions = 0  # bytes
        self._trailers = self._trailer_bytes = 0
        self._piece_due = 0  # bytes of the chunk's content that have not come yet
        self._line = b""  # the part of a line that has come
        self._line_due = SIZE

    def take(self, data: bytes | memoryview, at: int, max_chunks: int) -> tuple[int, list[bytes | memoryview]]:
        """Take bytes from position `at` on: `max_chunks` chunks at most. The last may be taken in part.

        Returns the position up to which all was taken, and the pieces of content as slices of `data`. Where the position is
        short of the end and the body is not done, more chunks are there to take. Raises TooLarge as soon as a size
        says that the content is over its bound, and BadInput for whatever is malformed or over another bound.
        """
        pieces: list[bytes | memoryview] = []
        last = self._chunks + max_chunks
        end = len(data)
        while at < end and not self.done:
            if self._piece_due:
                piece = data[at : at + self._piece_due]
                pieces.append(piece)
                at += len(piece)
                self._piece_due -= len(piece)
            elif self._chunks >= last and self._line_due == SIZE:
                break
            else:
                at = self._take_line(data, at)
        return at, pieces

    def _take_line(self, data: bytes | memoryview, at: int) -> int:
        """Take a line, or the part of it that is there. Returns the position after it."""
        most = self._most_line_bytes()
        part = bytes(data[at : at + most + 1 - len(self._line)])
        length = part.find(b"\n")
        self._line += part if length < 0 else part[:length]
        if length < 0 and len(self._line) <= most:
            return at + len(part)
        line, self._line = self._line, b""
        (self._size, self._end_of_chunk, self._trailer)[self._line_due](line)
        return at + length + 1

    def _most_line_bytes(self) -> int:
        """Return how long the line that is due may be, with its carriage return and without its line feed."""
        if self._line_due == SIZE:
            return MAX_SIZE_DIGITS + MAX_EXTENSION_BYTES + 1
        return 1 if self._line_due == END_OF_CHUNK else MAX_TRAILER_BYTES - self._trailer_bytes + 1

    def _size(self, line: bytes) -> None:
        found = SIZE_LINE.fullmatch(line)
        if found is None:
            shown = show(line[:100].decode("latin-1"))
            raise BadInput(
                f"the size of a chunk is {shown}; it must be 1 to {MAX_SIZE_DIGITS} hexadecimal digits, "
                f"perhaps an extension after a semicolon of at most {MAX_EXTENSION_BYTES} bytes in all, and CR LF"
            )
        digits, extension = found.groups()
        size = int(digits, 16)
        self._chunks += 1
        self._content += size
        if extension:
            self._extensions += len(extension)
        self._check_bounds()
        self._piece_due = size
        self._line_due = END_OF_CHUNK if size else TRAILER

    def _check_bounds(self) -> None:
        if self._content > self._most:
            raise TooLarge(
                f"the body is too large (exceeds max_body of {self._most}); send less, or raise max_body in value.py"
            )
        if self._extensions > MAX_EXTENSIONS_BYTES:
            raise BadInput(f"the chunks of the body have over {MAX_EXTENSIONS_BYTES} bytes of extensions; send none")
        if self._chunks > FREE_CHUNKS + self._content // CHUNK_BYTES:
            raise BadInput(
                f"the body has {self._chunks} chunks for {self._content} bytes; at most {FREE_CHUNKS} are taken, "
                f"and one more for each {CHUNK_BYTES} bytes: send larger chunks"
            )

    def _end_of_chunk(self, line: bytes) -> None:
        if line != b"\r":
            raise BadInput("the content of a chunk is not followed by CR LF; its size and its content must agree")
        self._line_due = SIZE

    def _trailer(self, line: bytes) -> None:
        """Take a field after the last chunk, or the empty line that ends the body."""
        if line == b"\r":
            self.done = True
            return
        self._trailers += 1
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES or self._trailers > MAX_TRAILERS:
            raise BadInput(f"the body has over {MAX_TRAILERS} trailers, or over {MAX_TRAILER_BYTES} bytes of them; send none")
        if not TRAILER_LINE.fullmatch(line):
            shown = show(line[:100].decode("latin-1"))
            raise BadInput(f"a trailer of the body is {shown}; it must be a name, a colon, a value and CR LF, on one line")


class Upload:
    """A body that has come in part. share: its bytes count there. unread: bytes of a body of known length that are due."""

    def __init__(self, head: Head, share: Share, max_bytes: int):
        self.body = Body()
        self.unread = head.length
        self._share = share
        self._chunks = ChunkedBody(max_bytes) if head.chunked else None

    @property
    def chunked(self) -> bool:
        """Whether it comes in chunks, whose number in one turn of the loop is bounded."""
        return self._chunks is not None

    @property
    def whole(self) -> bool:
        """Whether the last byte has come."""
        return self._chunks.done if self._chunks is not None else not self.unread

    def take(self, data: bytes, max_chunks: int) -> bytes:
        """Take what belongs to the body, and return the rest. Raises BadInput and TooLarge."""
        if self._chunks is None:
            part = data if len(data) <= self.unread else memoryview(data)[: self.unread]
            self.unread -= len(part)
            self._keep(part)
            return data[len(part) :]
        position, pieces = self._chunks.take(data, 0, max_chunks)
        for piece in pieces:
            self._keep(piece)
        return data[position:]

    def _keep(self, piece: bytes | memoryview) -> None:
        self.body.add(piece)
        self._share.add(len(piece))
