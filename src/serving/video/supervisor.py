"""Starts a confined process for each video: `python -m serving.video.supervisor LISTENING_DESCRIPTOR BYTES`.

BYTES: of memory that each process may take beyond what this one has.

A client connects to the Unix socket (SOCK_SEQPACKET: a message is one `recv`) and sends the fields of a Job as JSON, with two
descriptors: the video, and SLOTS slots of equal size for frames. The process answers with messages in JSON:

    {"slot": 2, "seconds": 3.0, "width": 455, "height": 256}      a frame: uint8 [height, width, 3], red, green, blue
    {"damaged": false, "seconds": 9.96, "decoded": 250, ...}   the last one, where the video was read
    {"info": {"seconds": 9.96, ...}}                              the only one, where the job says "info": true
    {"refused": "too_long", "words": "..."}                       the last one, where the video is not read
    {"failed": "Traceback ..."}                                   the last one, where this program is wrong
    {"died": 9}                                                   the last one, by the supervisor: the signal that ended it

A slot is the client's until it sends its number as one byte.

Concurrency. The supervisor has one thread, so that a fork copies no lock that another thread holds. A process ends when it is
done, when its client closes the connection (the supervisor kills it), at a limit, and with the supervisor. The supervisor ends
with its standard input, whose other end its parent has and no one else.
"""

import contextlib
import ctypes
import json
import mmap
import os
import platform
import resource
import select
import signal
import socket
import struct
import sys
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, BinaryIO, cast

import numpy as np

from serving.video import decoder
from serving.video.decoder import Pixels
from serving.video.sampling import MESSAGE, SLOTS, Job, Refused, Sampling

NICENESS = 10  # like the platform's other threads that compute
SET_PDEATHSIG, SET_NO_NEW_PRIVS, SET_SECCOMP = 1, 38, 22  # of prctl(2)
# The system calls that decoding takes, by their numbers on each machine (asm/unistd_64.h, asm-generic/unistd.h): read, write,
# close, lseek, mmap, mprotect, munmap, brk, mremap, madvise; signals' own; the socket's messages; locks, time, use, exit.
ALLOWED = {
    "x86_64": (
        0xC000003E,
        (
            0,
            1,
            3,
            5,
            8,
            9,
            10,
            11,
            12,
            13,
            14,
            15,
            24,
            25,
            28,
            39,
            44,
            45,
            46,
            47,
            60,
            96,
            98,
            131,
            186,
            202,
            204,
            228,
            231,
            318,
        ),
    ),
    "aarch64": (
        0xC00000B7,
        (
            57,
            62,
            63,
            64,
            80,
            93,
            94,
            98,
            113,
            123,
            124,
            132,
            134,
            135,
            139,
            165,
            169,
            172,
            178,
            206,
            207,
            211,
            212,
            214,
            215,
            216,
        )
        + (222, 226, 233, 278),
    ),
}


def serve(listening: socket.socket, memory: int) -> None:
    """Start a process for each connection, until standard input ends."""
    poll, connections, processes = select.epoll(), dict[int, socket.socket](), dict[int, tuple[int, int]]()
    poll.register(listening, select.EPOLLIN)
    poll.register(sys.stdin, select.EPOLLHUP)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == sys.stdin.fileno():
                return
            if descriptor == listening.fileno():
                accepted, _ = listening.accept()
                connections[accepted.fileno()] = accepted
                poll.register(accepted, select.EPOLLIN)
            elif descriptor in connections and not any(of == descriptor for _, of in processes.values()):
                found = _started(connections[descriptor], memory)
                if found is None:
                    connections.pop(descriptor).close()
                    continue
                watched = os.pidfd_open(found)
                processes[watched] = found, descriptor
                poll.register(watched, select.EPOLLIN)
                poll.modify(descriptor, select.EPOLLRDHUP)
            elif descriptor in connections:  # the client has gone
                poll.unregister(descriptor)
                process = next(each for each, of in processes.values() if of == descriptor)
                os.kill(process, signal.SIGKILL)
            elif descriptor in processes:
                process, of = processes.pop(descriptor)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                os.close(descriptor)
                connection = connections.pop(of)
                with contextlib.suppress(OSError):
                    connection.send(json.dumps({"died": -code}).encode(), socket.MSG_DONTWAIT)
                connection.close()


def _started(connection: socket.socket, memory: int) -> int | None:
    """Return the id of a new process that decodes what a client asks for, None where the client has gone."""
    try:
        message, descriptors, *_ = socket.recv_fds(connection, MESSAGE, 2)
    except OSError:
        return None
    if len(descriptors) != 2:
        return None
    video, slots = descriptors
    process = os.fork()
    if process == 0:
        try:
            _decode(connection, json.loads(message), video, slots, memory)
        finally:
            os._exit(0)
    os.close(video)
    os.close(slots)
    return process


def _decode(connection: socket.socket, asked: dict[str, Any], video: int, slots: int, memory: int) -> None:
    """Decode a video, and tell the client of each frame. Runs in a process of its own."""

    def say(**message: Any) -> None:
        connection.send(json.dumps(message).encode())

    try:
        job = Job(**{**asked, "wanted": Sampling(**asked["wanted"])})
        file, out = cast(BinaryIO, os.fdopen(video, "rb", buffering=0)), mmap.mmap(slots, 0)
        confine((connection.fileno(), video), job, memory)
        if job.info:
            return say(info=decoder.info(file, job))
        ending = decoder.decode(file, job, Slots(connection, out).give)
        used = resource.getrusage(resource.RUSAGE_SELF)
        say(**asdict(ending), cpu=used.ru_utime + used.ru_stime)
    except Refused as refused:
        say(refused=refused.reason, words=str(refused))
    except MemoryError:
        words = f"the video needs more memory to decode than {memory // 2**20} MiB, the limit for one"
        say(refused="memory", words=f"{words}; send it smaller, or raise decode_memory in value.py")
    except (BrokenPipeError, ConnectionResetError):
        pass  # the client has gone
    except BaseException:
        say(failed=traceback.format_exc())


class Slots:
    """The places for frames. A frame waits until the client has given one back."""

    def __init__(self, connection: socket.socket, memory: mmap.mmap):
        self._connection, self._free = connection, deque(range(SLOTS))
        self._memory = np.frombuffer(memory, np.uint8).reshape(SLOTS, -1)

    def give(self, seconds: float, pixels: Pixels) -> None:
        """Give a frame. Raises Refused where it is larger than a slot."""
        height, width, _ = pixels.shape
        if pixels.size > self._memory.shape[1]:
            words = f"the video's frames are {width} x {height} pixels, and decode_memory has no room for {SLOTS} of them"
            raise Refused("memory", f"{words}; send it smaller, ask for smaller frames by at_least, or raise decode_memory")
        while not self._free:
            number = self._connection.recv(1)
            if not number:
                raise BrokenPipeError
            self._free.append(number[0])
        slot = self._free.popleft()
        np.copyto(self._memory[slot, : pixels.size].reshape(pixels.shape), pixels)
        self._connection.send(json.dumps({"slot": slot, "seconds": seconds, "width": width, "height": height}).encode())


def confine(kept: Sequence[int], job: Job, memory: int) -> None:
    """Leave this process some descriptors, a bounded amount of memory and time, and no way to open or start anything.

    memory: bytes that it may take beyond what it has. Raises OSError where the kernel cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    kept = sorted((-1, 2, *kept, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))  # 2 is for the last words of a crash
    for before, after in pairwise(kept):
        os.closerange(before + 1, after)
    with open("/proc/self/statm") as sizes:
        memory += int(sizes.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    seconds = int(job.seconds_left) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(kind, (0, 0))
    os.nice(NICENESS)
    allow_system_calls(libc)


def allow_system_calls(libc: ctypes.CDLL) -> None:
    """Have the kernel fail every system call but ALLOWED, as seccomp(2) describes it. Raises OSError."""
    machine, numbers = ALLOWED[platform.machine()]
    count = len(numbers)
    program = [
        (0x20, 0, 0, 4),  # load the machine
        (0x15, 1, 0, machine),  # where it is another: the next line
        (0x06, 0, 0, 0x80000000),  # kill the process
        (0x20, 0, 0, 0),  # load the number of the call
        *((0x15, count - at, 0, number) for at, number in enumerate(numbers)),  # one of these: the last line
        (0x06, 0, 0, 0x00050001),  # fail with EPERM
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    option = ctypes.create_string_buffer(struct.pack("HL", len(program), ctypes.addressof(code)))
    if libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, 2, option, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls (seccomp)")


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
