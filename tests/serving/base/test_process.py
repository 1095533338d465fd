"""Memory that any thread has freed goes back to the system.

Threads that compute yield the cores, at any niceness of the process, and without a privilege.

Requests in progress together hold no more than the pod's memory allows, and all of it is released.
"""

import base64
import gc
import json
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.base import process
from serving.base.errors import MemoryFull, TooLarge
from serving.base.process import MIN_COUNTED, WorkingMemory, peak_bytes
from serving.settings import Settings
from serving.web.process import limit_work
from tests.memory import MIB, forget_peak, settled_bytes
from tests.running import PYTHONPATH, Running, get, make_service, running
from tests.waiting import until

FREED_BY_A_THREAD = f"""
import ctypes, threading
from serving.base.process import resident_bytes, trim, use_one_arena

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
    monkeypatch.setattr(process, "trim", lambda: trimmed.append(time.monotonic()))
    threading.Thread(target=process.trim_at_rest, args=(lambda: moved[0], 0.4), daemon=True).start()
    for count in (1, 2):
        for _ in range(10):
            moved[0] += 1
            time.sleep(0.05)
        last = time.monotonic() - 0.05
        until(lambda count=count: len(trimmed) == count, 5)  # type: ignore[misc]
        assert trimmed[-1] - last > 0.3
        time.sleep(1)
        assert len(trimmed) == count


# As in a pod: the user nobody, whose threads may only become nicer.
NICE_THREADS = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from serving.base.process import yield_to_others
os.setpriority(os.PRIO_PROCESS, 0, {nice})  # whatever the niceness of the tests is
if os.getuid() == 0:
    os.setuid(65534)
def told():
    yield_to_others()  # a thread that such a thread starts does it again
    return os.getpriority(os.PRIO_PROCESS, 0)
print(ThreadPoolExecutor(1, initializer=yield_to_others).submit(told).result(), os.getpriority(os.PRIO_PROCESS, os.getpid()))
"""


@pytest.mark.parametrize(("nice", "threads"), [(0, 10), (5, 15), (15, 19), (19, 19)])
def test_threads_yield_to_the_process_that_they_are_of_however_nice_it_is(nice: int, threads: int) -> None:
    command = [sys.executable, "-c", NICE_THREADS.format(nice=nice)]
    done = subprocess.run(
        command, env={"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()) == (0, [str(threads), str(nice)]), done.stderr


MEMORY = 700 * MIB
CODE = """
import time

from serving.service.service import Service


class Sizes(Service):
    pictures = True

    def handle(self, request):
        picture = request.image()
        time.sleep(request.value("seconds", float, 0.0))
        return picture.size
"""


class Thing:
    pass


def test_what_is_taken_is_bounded_and_comes_back() -> None:
    memory = WorkingMemory()
    memory.set_limit(memory=100 * MIB, resident=50 * MIB)
    assert memory.reserve(30 * MIB, "one") == 30 * MIB
    with pytest.raises(MemoryFull, match="hold 30 MiB of the 40 MiB .*20 MiB"):
        memory.reserve(20 * MIB, "another")
    assert memory.held() == 30 * MIB
    memory.release(30 * MIB)
    assert memory.reserve(40 * MIB, "another") == 40 * MIB


def test_what_no_such_pod_can_hold_is_too_large_however_little_others_hold() -> None:
    memory = WorkingMemory()
    memory.set_limit(memory=100 * MIB, resident=50 * MIB)
    with pytest.raises(TooLarge, match="a picture needs 41 MiB .* has 40 MiB"):
        memory.reserve(41 * MIB, "a picture")


def test_a_pod_that_has_too_little_left_says_so_at_its_start(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings(service_name="small", username="like", memory="1Gi", max_body="16Mi")
    limit_work(WorkingMemory(), settings, 900 * MIB)
    assert caplog.messages == []
    limit_work(WorkingMemory(), settings, 910 * MIB)
    [line] = caplog.messages
    assert "910 MiB at rest: 11 MiB are left" in line


def test_small_things_are_not_counted_and_before_the_limit_is_known_all_is_taken() -> None:
    memory = WorkingMemory()
    assert memory.reserve(MIN_COUNTED - 1, "a body") == 0
    assert memory.reserve(10_000 * MIB, "a body") == 10_000 * MIB


def test_what_is_bound_to_a_thing_comes_back_with_its_end_even_from_the_collector() -> None:
    memory, thing, circle = WorkingMemory(), Thing(), Thing()
    vars(circle)["itself"] = circle
    memory.release_with(thing, memory.reserve(2 * MIB, "one"))
    memory.release_with(circle, memory.reserve(3 * MIB, "another"))
    assert memory.held() == 5 * MIB
    del thing
    assert memory.held() == 3 * MIB
    del circle
    gc.collect()
    assert memory.held() == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    patient = "timeout_second = 100\nupload_timeout_second = 100"  # for a machine that other tests keep busy
    settings = f'memory = "{MEMORY // MIB}Mi"\nqueue_limit = 40\n{patient}'
    folder = make_service(tmp_path_factory.mktemp("pictures") / "small", settings, CODE)
    with running(folder) as it:
        yield it


def deep_png(width: int, height: int, size: int) -> bytes:
    """A PNG of 16 bits and four channels, transparent, and padded to a size in bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    packer = zlib.compressobj(1)
    row = b"\0" + bytes(8 * width)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return png + bytes(size - len(png))


def test_pictures_on_their_way_stay_within_the_pods_memory_and_the_rest_is_told_to_come_again(service: Running) -> None:
    """Sixteen of 20 megapixels at once, each kept for five seconds: without a bound they take more than the pod has."""
    before = settled_bytes(service.process.pid)
    forget_peak(service.process.pid)
    png = deep_png(5000, 4000, 8 * MIB)
    with ThreadPoolExecutor(16) as clients:
        url = service.url + "/api/small?seconds=5"
        answers = list(clients.map(lambda _: get(url, png, {"Content-Type": "image/png"}), range(16)))
    assert peak_bytes(service.process.pid) < MEMORY
    reasons = Counter((status, json.loads(body).get("reason")) for status, body in answers)
    assert set(reasons) == {(200, None), (429, "memory_full")}, reasons
    assert all(json.loads(body)["results"] == [5000, 4000] for status, body in answers if status == 200)
    assert settled_bytes(service.process.pid) < before + 20 * MIB
    assert service.metric("monopod_working_memory_bytes") == 0


def test_a_picture_that_the_pod_cannot_hold_is_a_413_and_leaves_nothing_behind(service: Running) -> None:
    before = settled_bytes(service.process.pid)
    status, body = get(service.url + "/api/small", deep_png(10_000, 5_000, 2 * MIB), {"Content-Type": "image/png"})
    assert status == 413
    assert "raise memory in value.py" in json.loads(body)["error"]
    assert settled_bytes(service.process.pid) < before + 20 * MIB
    assert service.metric("monopod_working_memory_bytes") == 0


def test_memory_is_given_back_at_rest_though_no_batch_ran(service: Running, tmp_path: Path) -> None:
    before = settled_bytes(service.process.pid)
    broken = deep_png(4000, 4000, 15 * MIB)[: 14 * MIB]
    for _ in range(4):
        assert get(service.url + "/api/small", broken, {"Content-Type": "image/png"})[0] in (200, 400)
    assert settled_bytes(service.process.pid) < before + 20 * MIB


def test_values_on_their_way_stay_within_the_pods_memory_too(service: Running) -> None:
    """JSON of many short texts takes fifteen times its bytes once it is read, for as long as the request is in progress."""
    before = settled_bytes(service.process.pid)
    forget_peak(service.process.pid)
    texts = b'"ab",' * (8 * MIB // 5) + b'"ab"'
    document = b'{"image":"' + base64.b64encode(deep_png(10, 10, 1000)) + b'","seconds":4,"more":[' + texts + b"]}"
    with ThreadPoolExecutor(8) as clients:
        url, headers = service.url + "/api/small", {"Content-Type": "application/json"}
        answers = list(clients.map(lambda _: get(url, document, headers), range(8)))
    assert peak_bytes(service.process.pid) < MEMORY
    reasons = Counter((status, json.loads(body).get("reason")) for status, body in answers)
    assert set(reasons) == {(200, None), (429, "memory_full")}, reasons
    assert settled_bytes(service.process.pid) < before + 20 * MIB
    assert service.metric("monopod_working_memory_bytes") == 0
