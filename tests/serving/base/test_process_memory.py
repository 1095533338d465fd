"""Memory that any thread has freed goes back to the system."""

import subprocess
import sys
import threading
import time

import pytest

from serving.base import process_memory
from tests.memory import MIB
from tests.running import PYTHONPATH
from tests.waiting import until

FREED_BY_A_THREAD = f"""
import ctypes, threading
from serving.base.process_memory import resident_bytes, trim, use_one_arena

use_one_arena()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]


def work(size):
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)


work(24 * {MIB})  # from now on malloc keeps what is smaller than this
thread = threading.Thread(target=work, args=(16 * {MIB},))
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
    assert kept > 12 * MIB  # as malloc does by itself
    assert after_trim < 2 * MIB


def test_memory_is_given_back_once_a_count_stands_still_and_not_again_before_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed, moved = list[float](), [0]
    monkeypatch.setattr(process_memory, "trim", lambda: trimmed.append(time.monotonic()))
    threading.Thread(target=process_memory.trim_at_rest, args=(lambda: moved[0], 0.4), daemon=True).start()
    for count in (1, 2):
        for _ in range(10):
            moved[0] += 1
            time.sleep(0.05)
        last = time.monotonic() - 0.05
        until(lambda count=count: len(trimmed) == count, 5)  # type: ignore[misc]
        assert trimmed[-1] - last > 0.3
        time.sleep(1)
        assert len(trimmed) == count
