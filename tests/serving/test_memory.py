"""What a thread has freed goes back to the system, whichever thread it was."""

import subprocess
import sys

from tests.memory import MB
from tests.running import PYTHONPATH

FREED_BY_A_THREAD = f"""
import ctypes, threading
from serving.memory import resident_bytes, trim, use_one_arena

use_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


def work(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)


work(24 * {MB})  # from now on malloc keeps what is smaller than this
thread = threading.Thread(target=work, args=(16 * {MB},))
before = resident_bytes()
thread.start()
thread.join()
kept = resident_bytes() - before
trim()
print(kept, resident_bytes() - before)
"""


def test_what_any_thread_has_freed_is_given_back() -> None:
    command = [sys.executable, "-c", FREED_BY_A_THREAD]
    said = subprocess.check_output(command, env={"PYTHONPATH": PYTHONPATH}, text=True)
    kept, after_trim = (int(word) for word in said.split())
    assert kept > 12 * MB  # as malloc does by itself
    assert after_trim < 2 * MB
