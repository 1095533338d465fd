"""One connection: its requests in order, its refusals, its end.

Concurrency. The loop's thread alone calls everything here. One request of a connection is read or answered at a time. Bytes
behind it wait in the buffer, at most AHEAD_BYTES and those of one read. A connection's share of a turn of the loop is one full
read, REQUESTS_A_TURN requests, or CHUNKS_A_TURN chunks. Then it is read no further, and goes on in the next turn.

Refusing. A refused request gets no 100 Continue, no buffer and no thread: the answer is written, and what still comes of the
body is thrown away. Where its end is known and near, the connection then serves on; else it is closed for writing. Once the
client has taken the answer, it is read for LINGER_SECONDS more, and for LINGER_BYTES at most in all. Closing with unread bytes
would reset it, and the answer could be lost with that.

A client that has closed its sending side may still wait for its answer, or may be gone: the system says the same of both. An
interim answer, which HTTP/1.1 allows at any time (RFC 9110, 15.2), tells them apart. The system of a client that is gone
answers it with a reset.
"""

import asyncio
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from serving.base.errors import BadInput, BodiesFull, HeadTooLarge, ServingError, SlowBody
from serving.web.admission import READY
from serving.web.front.answers import CONTINUE
from serving.web.front.body import Body, Upload
from serving.web.front.heads import MAX_HEAD_BYTES, Head, empty_lines, end_of_head, parse
from serving.web.front.held_bytes import Bodies, Share, UnsentBytes
from serving.web.front.request_cycle import PING, RequestCycle, unread_head

if TYPE_CHECKING:
    from serving.web.front.port import Port

CARRIAGE_RETURN = 13


class Buffer:
    """The bytes. give_up: refuses what waits here, where others need its room."""

    def __init__(self, bodies: Bodies, give_up: Callable[[BodiesFull], None]):
        self.bytes = bytearray()
        self._bodies, self._give_up = bodies, give_up
        self._share: Share | None = None
        self._searched = 0  # bytes in which no head ends
        self._empty = 0  # bytes of empty lines that came before the next head

    def next_head(self) -> tuple[Head, int] | None:
        """Remove the next head, and return it with its size in bytes. None where it is not whole yet.

        Raises BadInput and HeadTooLarge.
        """
        waiting = self.bytes
        if waiting[0] == CARRIAGE_RETURN:
            empty = empty_lines(waiting, self._empty)
            del waiting[:empty]
            self._empty, self._searched = self._empty + empty, 0
        end = end_of_head(waiting, self._searched)
        if end < 0 and len(waiting) <= MAX_HEAD_BYTES:
            self._searched = len(waiting)
            return None
        if not 0 < end <= MAX_HEAD_BYTES:
            raise HeadTooLarge(f"the request's head is over {MAX_HEAD_BYTES} bytes; send fewer or shorter headers")
        head = parse(self.take(end))
        self._searched = self._empty = 0
        return head, end

    def take(self, count: int) -> bytes:
        """Remove and return the first bytes, at most count."""
        taken = bytes(memoryview(self.bytes)[:count])
        del self.bytes[:count]
        return taken

    def clear(self) -> None:
        """Remove all bytes."""
        self.bytes.clear()
        self._searched = self._empty = 0
        self.account()

    def account(self) -> None:
        """Count the bytes that are here now as held."""
        size = len(self.bytes)
        if size:
            if self._share is None:
                self._share = self._bodies.begin(self._give_up)
            self._share.add(size - self._share.bytes)
        elif self._share is not None:
            self._share.release()
            self._share = None


REQUESTS_A_TURN = 4
HEAD_BYTES = 8 * 2**10  # each of these in a head counts as one request more
FULL_READ = 128 * 2**10  # bytes; after a full read, the loop would read on and on in the same turn
CHUNKS_A_TURN = 64
AHEAD_BYTES = 64 * 2**10
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 2**20
SKIP_BYTES = 2**20  # of a refused body: a connection with less to come serves on
KEEP_ALIVE_SECONDS = 120.0
UNREAD_SECONDS = 1.0  # beyond the timeout, for an answer that the client does not take
ESTABLISHED_OR_HALF_CLOSED, TCP_CLOSE = (1, 8), 7  # TCP_ESTABLISHED, TCP_CLOSE_WAIT and TCP_CLOSE of <netinet/tcp.h>


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, port: "Port"):
        self._port, self._rules, self._loop = port, port.rules, port.rules.loop
        self._buffer = Buffer(port.rules.bodies, self._give_up)
        self._cycle: RequestCycle | None = None  # that is being read or answered
        self._upload: Upload | None = None  # its body, where that comes in several reads
        self._skip = 0  # bytes of a refused body to throw away before the next request
        self._refuse_next: ServingError | None = None
        self._spoke = self._paused = self._blocked = self._advancing = self._scheduled = self._ended = self._refused = False
        self._lingers_until = 0.0  # set once refused: from then on, bytes are thrown away
        self._lingered = 0
        self._began = self.active = time.monotonic()  # the first byte of what is being read; the last byte of all
        self._unsent = (0, 0.0)  # bytes that the client has not taken, and since when
        self._answer_bytes = 0  # of the latest answer

    # Called by the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._unsent_share = UnsentBytes(self._rules.bodies, self._transport.abort)
        self._port.opened(self)

    def data_received(self, data: bytes) -> None:
        self.active = time.monotonic()
        if len(data) >= FULL_READ:
            self._yield_turn()
        if not self._spoke:
            self._spoke = True
            self._port.spoke(self)
        if self._cycle is None and not (self._buffer.bytes or self._skip or self._blocked or self._lingers_until):
            self._began = self.active
            self._cycle = None if self._ended else self._rules.lane(self, data, self.active)
            if self._cycle is None:
                self._begin_with(data)
            self._rules.bodies.make_room()
            return
        if self._lingers_until:
            self._lingered += len(data)
            if self._lingered > LINGER_BYTES:
                self._transport.abort()
            return
        if self._refuse_next is not None:
            return  # it will be refused, so no more of it is kept
        if self._skip:
            data = self._skipped(data)
        if self._upload is not None and not self._upload.chunked and not self._buffer.bytes:
            self._receive(self._upload, data)
        elif data:
            if not self._buffer.bytes and self._upload is None:
                self._began = self.active
            self._buffer.bytes += data
        self._advance()
        self._rules.bodies.make_room()

    def eof_received(self) -> bool:
        """Return whether the connection is kept, for a client that may still wait for its answer."""
        self._ended = True
        if self._lingers_until:
            return self._unsent_bytes() > 0
        if not (self.waits_for_answer() or self._scheduled or self._blocked):
            return False
        if self._cycle is not None and self._cycle.head.version == "1.1":
            self._transport.write(self._cycle.interim())
        self._port.half_closed(self)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._port.closed(self)
        self._buffer.clear()
        self._unsent_share.release()
        cycle, self._cycle, self._upload = self._cycle, None, None  # or the body would wait for the garbage collector
        if cycle is not None:
            cycle.abandon()

    def pause_writing(self) -> None:
        self._blocked = True
        self._unsent_share.hold(max(self._answer_bytes, self._transport.get_write_buffer_size()))
        self._loop.call_soon(self._rules.bodies.make_room)

    def resume_writing(self) -> None:
        self._blocked = False
        self._unsent_share.release()
        if self._cycle is not None:
            self._cycle.send_parts()
        self._advance()

    # Called by the port.

    def quiet(self) -> bool:
        """Return whether there is neither a request nor an answer that the client has yet to take."""
        return self.at_rest() and not self._unsent_bytes()

    def at_rest(self) -> bool:
        """Return whether there is neither a request nor an answer that the system has yet to take."""
        unsent = self._transport.get_write_buffer_size()
        return not (self._cycle or self._buffer.bytes or self._skip or self._refused or unsent)

    def waits_for_answer(self) -> bool:
        """Return whether a request is being answered."""
        return self._cycle is not None and self._cycle.running

    def sweep(self, now: float) -> None:
        """Refuse a request that comes too slowly, and end what lingers, is idle, or takes no answer."""
        asks = self._lingers_until or self._rules.gate.state != READY  # the end of the process waits for the system's bytes too
        unsent = self._unsent_bytes() if asks else self._transport.get_write_buffer_size()
        if self._takes_nothing(now, unsent):
            self._transport.abort()
            return
        if self._lingers_until:
            if unsent:
                self._lingers_until = now + LINGER_SECONDS
            elif self._ended or now > self._lingers_until:
                self._transport.abort()
            return
        cycle = self._cycle
        if cycle is not None and cycle.running:
            if cycle.over:  # its answer failed on its way here, and no other will come
                self._transport.abort()
            return
        if self._skip:
            if now - self._began > LINGER_SECONDS:
                self._transport.abort()
        elif self._blocked or (self._scheduled and cycle is None):
            return
        elif self._buffer.bytes or cycle is not None:
            longest = min(self._rules.upload_timeout, self._rules.timeout)
            if now - self._began > longest:
                self._give_up(SlowBody(f"the request was not whole after {longest:g} s; send it faster, or in parts"))
        elif now - self.active > KEEP_ALIVE_SECONDS:
            self._transport.close()

    def check_client(self) -> None:
        """End the connection where the client of a half-closed one is gone."""
        if self._tcp_state() not in ESTABLISHED_OR_HALF_CLOSED:
            self._transport.abort()

    def close(self) -> None:
        """End a connection that has no request."""
        self._transport.close()

    # Called by a request cycle.

    def takes_more(self) -> bool:
        """Return whether the client takes what it is sent, so that little of it waits here."""
        return not self._blocked

    def send_part(self, data: bytes) -> None:
        """Send a part of an answer that `send` ends."""
        self.active, self._answer_bytes = time.monotonic(), len(data)
        if not self._transport.is_closing():
            self._transport.write(data)

    def send(self, answer: bytes, close: bool, body: bytes = b"") -> None:
        """Send an answer, and its body where that stands apart. close: end the connection with it."""
        self._cycle = None
        if self._transport.is_closing():
            return
        self._answer_bytes = len(answer) + len(body)
        self._transport.write(answer)
        if body:
            self._transport.write(body)
        if self._refuse_next is not None and not close:
            error, self._refuse_next = self._refuse_next, None
            self._refuse_unread(error)
        elif close:
            self._close()
        elif (self._buffer.bytes or self._paused or self._ended) and not self._advancing:
            self._advance()

    # The requests.

    def _advance(self) -> None:
        """Take what is in the buffer, as far as a turn's share allows."""
        if self._advancing or self._scheduled:
            self._buffer.account()
            return
        self._advancing = True
        try:
            left, used = REQUESTS_A_TURN, 1
            while used and left > 0 and self._can_go_on():
                used = self._step()
                left -= used
        finally:
            self._advancing = False
        if used and self._can_go_on():
            self._yield_turn()
        if self._ended and not (self._lingers_until or self.waits_for_answer() or self._scheduled or self._blocked):
            self._close()  # the client sends no more, and all that it sent is answered
        self._buffer.account()
        self._update_reading()

    def _begin_with(self, data: bytes) -> None:
        """Take what came where nothing waits: in most cases one whole request, which then is never copied to the buffer."""
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or data[0] == CARRIAGE_RETURN or end > MAX_HEAD_BYTES:
            self._buffer.bytes += data
        else:
            try:
                head = parse(data[:end])
            except ServingError as error:
                self._refuse_unread(error)
                return
            self._advancing = True
            try:
                self._begin(head, end, data[end:])
            finally:
                self._advancing = False
        if self._buffer.bytes or self._ended:
            self._advance()

    def _can_go_on(self) -> bool:
        ready = self._cycle is None or self._upload is not None
        return bool(ready and self._buffer.bytes and not (self._blocked or self._lingers_until or self._skip))

    def _yield_turn(self) -> None:
        """Do and read nothing until the next turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._go_on)
            self._update_reading()

    def _go_on(self) -> None:
        self._scheduled = False
        if not self._transport.is_closing():
            self._advance()
            self._rules.bodies.make_room()

    def _step(self) -> int:
        """Take the next head, or the next part of a body, from the buffer. Return how much of the share that took."""
        if self._upload is not None:
            return self._receive(self._upload)
        try:
            found = self._buffer.next_head()
        except ServingError as error:
            self._refuse_unread(error)
            return 0
        if found is None:
            return 0
        self._begin(*found)
        return 1 + found[1] // HEAD_BYTES

    def _begin(self, head: Head, size: int, behind: bytes = b"") -> None:
        """Begin a request. size: bytes of its head. behind: what came behind it, where that is not in the buffer."""
        alone = 0 < len(behind) == head.length <= self._rules.max_body
        if not alone:
            self._buffer.bytes += behind
        cycle = RequestCycle(self, self._rules, head, self._began)
        self._began = self.active
        if head.path == PING and not cycle.work:  # answered whatever else is under way
            if head.length or head.chunked:
                self._refuse(cycle, BadInput("a ping has no body; send GET /api/ping without one"), head.length)
            else:
                cycle.pong()
            return
        self._cycle = cycle
        whole = alone or not head.chunked and len(self._buffer.bytes) >= head.length
        refusal = None if alone else cycle.too_large() or (None if whole else cycle.refusal())
        if refusal is not None:
            self._refuse(cycle, refusal, head.length)
        elif whole:
            cycle.held = size + head.length
            self._rules.bodies.add_whole(cycle.held)
            body = behind if alone else self._buffer.take(head.length) if head.length else b""
            self._run(cycle, body, accepted=False)
        else:
            cycle.share = self._rules.bodies.begin(self._give_up)
            cycle.share.add(size)
            self._upload = Upload(head, cycle.share, self._rules.max_body)
            self._began = cycle.life.begin
            if head.expects and not self._buffer.bytes:
                self._transport.write(CONTINUE)

    def _receive(self, upload: Upload, data: bytes = b"") -> int:
        """Take bytes of a body: from the buffer, or else the data. Return how much of a turn's share that took."""
        cycle, waiting = self._cycle, self._buffer.bytes
        assert cycle is not None
        if waiting:
            data = self._buffer.take(AHEAD_BYTES)
        try:
            waiting[:0] = upload.take(data, CHUNKS_A_TURN)
        except ServingError as error:
            self._refuse(cycle, error)
            return 0
        if upload.whole:
            self._upload = None
            self._began = self.active
            if cycle.share is not None:
                cycle.share.finish()
            self._run(cycle, upload.body, accepted=True)
        return REQUESTS_A_TURN if upload.chunked else 1

    def _run(self, cycle: RequestCycle, body: Body | bytes, accepted: bool) -> None:
        refusal = cycle.run(body, accepted)
        if refusal is not None:
            self._refuse(cycle, refusal)

    def _skipped(self, data: bytes) -> bytes:
        count = min(self._skip, len(data))
        self._skip -= count
        return data[count:]

    # Refusing and ending.

    def _refuse(self, cycle: RequestCycle, error: ServingError, unread: int = 0) -> None:
        """Answer with an error, and throw away what still comes of the body. unread: bytes of it, where none was read."""
        if self._upload is not None:
            unread, self._upload = self._upload.unread, None
        keep = cycle.may_serve_on() and unread <= SKIP_BYTES and not isinstance(error, SlowBody)
        self._refused = not keep
        if keep:
            self._skip, self._began = unread, self.active
            self._skip -= len(self._buffer.take(unread)) if unread else 0
        cycle.refuse(error, close=not keep)

    def _refuse_unread(self, error: ServingError) -> None:
        self._refused = True
        self._rules.refused(error, self._began)
        self._transport.write(unread_head(error))
        self._close()

    def _give_up(self, error: BodiesFull | SlowBody) -> None:
        """Refuse the request that is being read: it is too slow, or others need its room."""
        cycle = self._cycle
        if cycle is None:
            self._refuse_unread(error)
        elif cycle.running:  # answers keep their order
            self._refuse_next = error
        else:
            self._refuse(cycle, error)
        self._buffer.clear()

    def _close(self) -> None:
        """End the connection once its last answer is taken. Later bytes of the client are thrown away."""
        self._buffer.clear()
        self._lingers_until = time.monotonic() + LINGER_SECONDS
        self._transport.write_eof()
        self._update_reading()

    def _tcp_state(self) -> int:
        state: int = self._transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        return state

    def _unsent_bytes(self) -> int:
        """Return how many bytes wait here and in the system for the client. The end of the connection counts as one."""
        number = self._transport.get_extra_info("socket").fileno()
        if number < 0 or self._tcp_state() == TCP_CLOSE:
            return 0
        system: int = struct.unpack("i", fcntl.ioctl(number, termios.TIOCOUTQ, bytes(4)))[0]
        return self._transport.get_write_buffer_size() + system

    def _takes_nothing(self, now: float, size: int) -> bool:
        """Return whether the client has taken nothing of an answer for too long. size: bytes of it that are left."""
        if size != self._unsent[0] or not size:
            self._unsent = (size, now)
        return now - self._unsent[1] > self._rules.timeout + UNREAD_SECONDS

    def _update_reading(self) -> None:
        full = self._blocked or len(self._buffer.bytes) >= AHEAD_BYTES
        pause = self._scheduled or (full and not self._lingers_until and self._refuse_next is None)
        if pause != self._paused and not self._transport.is_closing():
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()
