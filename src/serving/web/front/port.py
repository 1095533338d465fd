"""A listening port: which connections it takes in, looks after and turns away.

Only the loop's thread calls it.

uvloop's own servers cannot stop accepting, so the listening socket is watched here. Where the port has as many connections as
it may have, a new one takes the place of the oldest that never sent a byte. Where there is none, it takes the place of the one
that has been idle for longest. Where all are in use, no more are taken in until one ends, and the gate says so.
"""

import asyncio
import contextlib
import ctypes
import logging
import resource
import select
import socket
import struct
import time

from serving.web.front.connection import Connection
from serving.web.front.request_cycle import Rules

log = logging.getLogger("monopod.front")

SWEEP_SECONDS = 0.25
CHECK_SECONDS = 0.02  # between two looks at whether half-closed clients are still there
CONNECTION_LIMIT = 4096
BACKLOG = 1024
ACCEPTS_A_TURN = 32


class Port:
    """A listening port and its connections."""

    def __init__(self, rules: Rules, host: str, port: int):
        """Bind the port. Nothing is accepted before `start`. Raises OSError."""
        self.rules, self._loop = rules, rules.loop
        # Of all descriptors, a quarter is for the models, for bodies in /tmp, and for a service's own files.
        self.limit = min(CONNECTION_LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 8)
        self.connections: set[Connection] = set()
        self._silent: dict[Connection, None] = {}  # never sent a byte; the oldest first
        self._idle: list[Connection] = []  # at the last sweep, the longest idle last; empty below the limit
        self._swept = 0.0
        self._half_closed: set[Connection] = set()
        self._opening: dict[Connection, asyncio.Task[None]] = {}  # accepted, and not yet among `connections`
        self._listens = self._warned = False
        self._socket = _listen(host, port)
        self.number: int = self._socket.getsockname()[1]

    def start(self) -> None:
        """Begin to accept, and to look after the connections."""
        self._accept_on()
        self._sweep()

    def turn_away(self) -> None:
        """Have the system make no new connections; those that it has made are still taken in."""
        _drop_syn_packets(self._socket)

    def stop_listening(self) -> None:
        """Take in the last connections that the system has made, then listen no more."""
        while self._accept_one():
            pass
        self._accept_off()
        self._socket.close()

    def quiet(self) -> bool:
        """Return whether no connection has a request or an unsent answer."""
        return not self._opening and all(connection.quiet() for connection in self.connections)

    def idle(self, seconds: float) -> bool:
        """Return whether every connection has been without a byte for so long."""
        since = time.monotonic() - seconds
        return all(connection.active <= since for connection in self.connections)

    # Called by a connection.

    def opened(self, connection: Connection) -> None:
        self._opening.pop(connection, None)  # its task still runs: it must not count twice against the limit
        self.connections.add(connection)
        self._silent[connection] = None

    def spoke(self, connection: Connection) -> None:
        self._silent.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._half_closed.discard(connection)
        self._silent.pop(connection, None)
        self._accept_again()

    def half_closed(self, connection: Connection) -> None:
        if not self._half_closed:
            self._loop.call_later(CHECK_SECONDS, self._check_half_closed)
        self._half_closed.add(connection)

    # Accepting.

    def _accept_on(self) -> None:
        self._listens = True
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept_again(self) -> None:
        """Accept where that was given up for a while, and the port is not closed."""
        if not self._listens and self._socket.fileno() >= 0:
            self._accept_on()

    def _accept_off(self) -> None:
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._socket.fileno())

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            if len(self.connections) + len(self._opening) >= self.limit:
                if not self._someone_waits():  # the loop may call once more than there are clients
                    return
                if not self._make_room():
                    self._accept_off()
                    return
            if not self._accept_one():
                return

    def _someone_waits(self) -> bool:
        asked = select.poll()
        asked.register(self._socket, select.POLLIN)
        return bool(asked.poll(0))

    def _make_room(self) -> bool:
        """End the oldest connection that never sent a byte, or else the longest idle one. Return whether there was one."""
        if not self._warned:
            self._warned = True
            words = "port %d has reached the connection limit of %d; those that never sent a byte go first, then idle ones"
            log.warning(words, self.number, self.limit)
        oldest = next(iter(self._silent), None)
        while oldest is None:
            if not self._idle:  # the next sweep looks for more: to look at all of them takes milliseconds
                return False
            found = self._idle.pop()
            oldest = found if found in self.connections and found.active < self._swept and found.at_rest() else None
        self.closed(oldest)
        oldest.close()
        return True

    def _accept_one(self) -> bool:
        try:
            accepted, _ = self._socket.accept()
        except BlockingIOError:
            return False
        except OSError as error:  # the client has gone, or descriptors have run out: then every turn fails
            log.warning("port %d: a connection was not accepted: %s", self.number, error)
            self._accept_off()
            return False
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self)
        self._opening[connection] = self._loop.create_task(self._open(connection, accepted))
        return True

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
        finally:
            self._opening.pop(connection, None)

    # Looking after.

    def _sweep(self) -> None:
        self._loop.call_later(SWEEP_SECONDS, self._sweep)
        self._swept = now = time.monotonic()
        for connection in list(self.connections):
            connection.sweep(now)
        full = len(self.connections) >= self.limit
        idle = [each for each in self.connections if each.at_rest()] if full else []
        self._idle = sorted(idle, key=lambda each: each.active, reverse=True)
        if full and not idle and not self.rules.gate.crowded:
            log.warning("port %d: not ready, since all %d connections are in use", self.number, self.limit)
        self.rules.gate.crowded = full and not idle
        self._accept_again()

    def _check_half_closed(self) -> None:
        self._half_closed = {each for each in self._half_closed if each.waits_for_answer()}
        if self._half_closed:
            self._loop.call_later(CHECK_SECONDS, self._check_half_closed)
        for connection in list(self._half_closed):
            connection.check_client()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        words = getattr(error, "strerror", None) or error
        cure = "choose others with --host, --port and --admin-port, or with make serve PORT=18080 ADMIN_PORT=18081"
        raise OSError(f"{host}:{port}: {words}; {cure}") from error
    listening.setblocking(False)
    return listening


def _drop_syn_packets(listening: socket.socket) -> None:
    """Have the kernel drop every SYN that comes to a socket. The client sends it again in a second, and is refused by then.

    Closing a listening socket resets the connections that were made and not accepted yet. Once none is made any more, the
    backlog can be emptied first. The filter is classic BPF over the TCP header (see SO_ATTACH_FILTER in socket(7)).
    """
    program = (
        (0x30, 0, 0, 13),  # load the flags' byte
        (0x54, 0, 0, 0x12),  # keep SYN and ACK
        (0x15, 0, 1, 0x02),  # SYN alone: the next line, else the one after
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0x40000),  # take whole
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    with contextlib.suppress(OSError):  # elsewhere than on Linux the gap stays, of some microseconds
        option = struct.pack("HL", len(program), ctypes.addressof(code))
        listening.setsockopt(socket.SOL_SOCKET, 26, option)  # SO_ATTACH_FILTER, which Python does not name
