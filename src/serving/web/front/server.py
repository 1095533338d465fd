"""A listening port, and the loop of the I/O thread over all of them.

Knows when a connection is taken in, looked after and turned away. Does not know what is said on it.
"""

import contextlib
import ctypes
import resource
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from serving.web.front.channel import RECV_BYTES, Channel
from serving.web.front.parser import Rules

SWEEP_SECONDS = 0.25
CONNECTION_LIMIT = 4096
ACCEPTS_A_TURN = 32
SPARE_CONNECTIONS = 256  # that the admin port has beyond the data port's limit, since waitress counts both ports' together
INBUF_OVERFLOW = 2**20  # bytes of a body held in memory; beyond, it is spooled to /tmp
KEEP_ALIVE_SECONDS = 120


class Server(TcpWSGIServer):
    """A listening port, its connections and its worker threads."""

    channel_class = Channel

    def __init__(self, app: Any, rules: Rules, sockets: dict[int, Any], host: str, port: int, threads: int, spare: int = 0):
        self.rules = rules
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        try:
            super().__init__(app, sockets, True, None, dispatcher, _adjustments(rules, host, port, spare))
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or error
            cure = "choose others with --host, --port and --admin-port, or with make serve PORT=18080 ADMIN_PORT=18081"
            raise OSError(f"{host}:{port}: {words}; {cure}") from error
        self._next_sweep = 0.0

    def add_task(self, channel: Channel) -> None:
        """A channel has a whole request, first in line: called by the I/O thread or a worker, with requests_lock held."""
        while channel.requests:
            if channel.admit():
                self.task_dispatcher.add_task(channel)
                return

    def handle_accept(self) -> None:
        """Take in what waits, not one connection a turn: each turn of the loop looks at every connection there is."""
        for _ in range(ACCEPTS_A_TURN):
            before = len(self.active_channels)
            super().handle_accept()
            if len(self.active_channels) == before:
                break

    def sweep(self) -> None:
        """Look after slow and lingering connections, a few times a second however often it is called."""
        now = time.monotonic()
        if now < self._next_sweep:
            return
        self._next_sweep = now + SWEEP_SECONDS
        for channel in list(self.active_channels.values()):
            channel.sweep(now, self.rules.upload_timeout)

    def turn_away(self) -> None:
        """Have the system make no new connections; those that it has made are still taken in."""
        _drop_syn_packets(self.socket)

    def stop_listening(self) -> None:
        """Take in the last connections that the system has made, then listen no more."""
        before = -1
        while before != len(self.active_channels):
            before = len(self.active_channels)
            self.handle_accept()
        self.accepting = False
        self.del_channel()
        self.socket.close()

    def quiet(self) -> bool:
        """Return whether no connection has a request or an unsent answer."""
        return not any(
            c.requests or c.request is not None or c.total_outbufs_len or c.lingers_until or c.skip
            for c in list(self.active_channels.values())
        )

    def idle(self, seconds: float) -> bool:
        """Return whether every connection has been without a byte for so long."""
        return all(c.idle_seconds() >= seconds for c in list(self.active_channels.values()))


def turn(sockets: dict[int, Any], servers: Iterable[Server]) -> None:
    """Let the I/O thread do what there is to do, for SWEEP_SECONDS at most when there is nothing.

    servers: swept also when they listen no more and have left the sockets.
    """
    wasyncore.loop(timeout=SWEEP_SECONDS, use_poll=True, map=sockets, count=1)
    for server in servers:
        server.sweep()


def _adjustments(rules: Rules, host: str, port: int, spare: int) -> Adjustments:
    """Return waitress' settings. spare: connections that this port may have beyond the other port's limit."""
    return Adjustments(
        host=host,
        port=port,
        recv_bytes=RECV_BYTES,
        inbuf_overflow=INBUF_OVERFLOW,
        max_request_body_size=rules.max_body + 1,  # waitress refuses at this size, not above it
        max_request_header_size=64 * 2**10,
        connection_limit=min(CONNECTION_LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2) + spare,
        channel_timeout=KEEP_ALIVE_SECONDS,
        channel_request_lookahead=1,  # or a client that goes away would not be noticed
        asyncore_use_poll=True,
        log_socket_errors=False,
        ident=None,
        clear_untrusted_proxy_headers=False,
    )


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
