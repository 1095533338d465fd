"""A listening socket that is about to be closed.

Knows the kernel's side of it. Does not know HTTP.
"""

import contextlib
import ctypes
import socket
import struct


def turn_away(listening: socket.socket) -> None:
    """Have the kernel drop every SYN that comes to a socket. Who sent it asks again in a second, and is refused by then.

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
