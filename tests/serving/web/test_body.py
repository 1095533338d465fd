"""A body's bytes are given back as they came, from memory or from a file in /tmp."""

import gc
import os
import tracemalloc
from pathlib import Path

import pytest

from serving.web.front.body import MAX_IN_MEMORY, Body


def files() -> list[str]:
    """Return the unnamed files of /tmp that this process has open."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.append(os.readlink(each))
        except OSError:  # the folder's own
            continue
    return [each for each in found if each.startswith("/tmp/") and each.endswith(" (deleted)")]


def made(*pieces: bytes | memoryview) -> Body:
    body = Body()
    for piece in pieces:
        body.add(piece)
    return body


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b""],
        [b"one"],
        [b"one", b"two", b""],
        [b"x" * MAX_IN_MEMORY],
        [b"x" * MAX_IN_MEMORY, b"y"],
        [b"a" * (2 * MAX_IN_MEMORY), b"b", b"c" * MAX_IN_MEMORY],
    ],
    ids=["none", "empty", "one", "several", "the most in memory", "a byte more", "large"],
)
def test_the_bytes_are_read_as_they_came_and_as_often_as_asked(pieces: list[bytes]) -> None:
    body, whole = made(*pieces), b"".join(pieces)
    assert body.length == len(whole)
    assert body.read() == whole
    assert body.read() == whole
    assert body.stream().read() == whole
    assert body.stream().read(7) == whole[:7]
    assert body.stream().read() == whole


def test_a_memoryview_is_copied_since_its_buffer_is_used_again() -> None:
    for size in (4, 2 * MAX_IN_MEMORY):
        buffer = bytearray(b"x" * size)
        body = made(memoryview(buffer))
        buffer[:] = b"y" * size
        assert body.read() == b"x" * size


def test_a_body_of_one_piece_is_not_copied() -> None:
    piece = b"x" * 1000
    assert made(piece).read() is piece


def test_a_large_body_lies_in_a_file_which_goes_with_it() -> None:
    gc.collect()
    before = len(files())
    body = made(b"x" * MAX_IN_MEMORY)
    assert len(files()) == before
    body.add(b"y")
    assert len(files()) == before + 1
    assert body._pieces == []
    del body
    assert len(files()) == before


def test_many_small_pieces_take_little_more_than_their_bytes() -> None:
    tracemalloc.start()
    try:
        body = made(*[memoryview(b"x" * 32)] * (MAX_IN_MEMORY // 32))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert body.length == MAX_IN_MEMORY
    assert held < 1.1 * MAX_IN_MEMORY
