"""A body's bytes come out as they went in, from memory or a file, and however its chunks are cut."""

import gc
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.base.errors import BadInput, ServingError, TooLarge
from serving.web.front.body import (
    FREE_CHUNKS,
    MAX_EXTENSION_BYTES,
    MAX_EXTENSIONS_BYTES,
    MAX_IN_MEMORY,
    MAX_TRAILER_BYTES,
    MAX_TRAILERS,
    Body,
    ChunkedBody,
)


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


MOST = 10**6
MANY = 10**9  # chunks
QUICK = settings(max_examples=100, deadline=None, derandomize=True, database=None)
MESSAGE = b"5;name=value\r\nhello\r\n00c\r\n\r\n0\r\nworld\r\n\r\n1\r\n!\r\n0;last\r\nA: b\r\nCheck-Sum:\tx y\r\n\r\n"
CONTENT = b"hello\r\n0\r\nworld\r\n!"
NEXT = b"GET / HTTP/1.1\r\n"  # of a pipelined request


def read(parts: list[bytes], max_chunks: int = MANY, max_bytes: int = MOST) -> tuple[bytes, int, bool]:
    """Return the content, the position after the body among all parts, and whether it is done."""
    body = ChunkedBody(max_bytes)
    content, position = b"", 0
    for part in parts:
        at, before = 0, -1
        while at != before and not body.done:
            before = at
            at, pieces = body.take(part, at, max_chunks)
            content += b"".join(pieces)
        position += at
        if body.done:
            break
        assert at == len(part)
    return content, position, body.done


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False)]


def fails(data: bytes, max_bytes: int = MOST) -> str:
    """Return the error's text, which is the same for the bytes at once and for each byte alone."""
    texts = set()
    for parts in ([data], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(BadInput) as caught:
            read(parts, max_bytes=max_bytes)
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert len(max(texts)) < 500
    return texts.pop()


def test_a_body_gives_its_content_and_its_end() -> None:
    assert read([MESSAGE]) == (CONTENT, len(MESSAGE), True)
    assert read([b"0\r\n\r\n"]) == (b"", 5, True)


@pytest.mark.parametrize("place", range(len(MESSAGE)))
def test_any_cut_gives_the_same_content(place: int) -> None:
    assert read([MESSAGE[:place], MESSAGE[place:] + NEXT]) == (CONTENT, len(MESSAGE), True)


@QUICK
@given(st.lists(st.integers(0, 10**4)), st.integers(1, 4))
def test_any_cuts_and_any_turns_give_the_same_content_and_end(places: list[int], max_chunks: int) -> None:
    assert read(cut(MESSAGE + NEXT, places), max_chunks) == (CONTENT, len(MESSAGE), True)


@QUICK
@given(st.lists(st.binary(min_size=1, max_size=80), max_size=20), st.lists(st.integers(0, 10**4)))
def test_any_content_comes_out_as_it_went_in(pieces: list[bytes], places: list[int]) -> None:
    message = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    assert read(cut(message + NEXT, places)) == (b"".join(pieces), len(message), True)


@QUICK
@given(st.binary(max_size=200), st.integers(0, len(MESSAGE)), st.integers(0, 9), st.lists(st.integers(0, 10**4)))
def test_random_bytes_end_in_the_same_way_however_they_are_cut(junk: bytes, at: int, lost: int, places: list[int]) -> None:
    def outcome(parts: list[bytes]) -> object:
        try:
            return read(parts)
        except ServingError as error:
            return type(error), str(error)

    damaged = MESSAGE[:at] + junk + MESSAGE[at + lost :] + b"\r\n"
    assert outcome([damaged]) == outcome(cut(damaged, places))


def test_nothing_behind_the_end_is_taken() -> None:
    body = ChunkedBody(MOST)
    assert body.take(b"xx" + MESSAGE + NEXT, 2, MANY)[0] == 2 + len(MESSAGE)
    assert body.done
    assert body.take(NEXT, 3, MANY) == (3, [])


def test_a_memoryview_is_cut_without_a_copy() -> None:
    data = bytearray(b"3\r\nabc\r\n0\r\n\r\n")
    _, pieces = ChunkedBody(MOST).take(memoryview(data), 0, MANY)
    data[3:6] = b"xyz"
    assert b"".join(pieces) == b"xyz"


def test_a_turn_takes_no_more_chunks_than_it_may() -> None:
    data = b"1\r\na\r\n" * 5 + b"0\r\n\r\n"
    body = ChunkedBody(MOST)
    assert body.take(data, 0, 2) == (12, [b"a"] * 2)
    assert body.take(data, 12, 3) == (30, [b"a"] * 3)
    assert body.take(data, 30, 1) == (35, [])
    assert body.done


WRONG_SIZES = [
    b"", b" 5", b"5 ", b"5 ;a", b"+5", b"-5", b"0x5", b"5_0", b"5g", b"5,5", b"0" * 17, b"f" * 17, b";a=b", b"5\r",
    b"\xd9\xa5",
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG_SIZES)
def test_a_size_is_one_to_sixteen_hexadecimal_digits(line: bytes) -> None:
    assert "1 to 16 hexadecimal digits" in fails(line + b"\r\nhello\r\n0\r\n\r\n")


def test_a_size_of_sixteen_digits_and_of_both_cases_is_taken() -> None:
    assert read([b"000000000000000a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"]) == (b"0123456789" * 2, 50, True)


@pytest.mark.parametrize(
    "data", [b"5\nhello\r\n0\r\n\r\n", b"5;a\nhello\r\n0\r\n\r\n", b"5\rhello\r\n0\r\n\r\n", b"1\r\na\r\n0\n\r\n"]
)
def test_a_bare_line_feed_after_a_size_is_refused(data: bytes) -> None:
    assert "CR LF" in fails(data)


@pytest.mark.parametrize(
    "data",
    [b"5\r\nhello\n0\r\n\r\n", b"5\r\nhelloworld\r\n", b"5\r\nhello0\r\n\r\n", b"5\r\nhello\r0\r\n", b"5\r\nhello\r\r\n"],
)
def test_content_that_is_not_followed_by_a_line_end_is_refused(data: bytes) -> None:
    assert "its size and its content must agree" in fails(data)


@pytest.mark.parametrize("byte", [b"\x00", b"\r", b"\x01", b"\x0b", b"\x7f"])
def test_control_characters_in_extensions_are_refused(byte: bytes) -> None:
    assert "the size of a chunk is" in fails(b"5;a=" + byte + b"b\r\nhello\r\n0\r\n\r\n")


def test_an_extension_is_bounded() -> None:
    most = b"1;" + b"x" * (MAX_EXTENSION_BYTES - 1)
    assert read([most + b"\r\na\r\n0\r\n\r\n"])[0] == b"a"
    assert f"at most {MAX_EXTENSION_BYTES} bytes" in fails(most + b"x\r\na\r\n0\r\n\r\n")
    assert f"at most {MAX_EXTENSION_BYTES} bytes" in fails(b"1;" + b"x" * 10_000)


def test_the_extensions_of_a_body_are_bounded() -> None:
    chunk = b"1;" + b"x" * 255 + b"\r\na\r\n"
    count = MAX_EXTENSIONS_BYTES // 256
    assert read([chunk * count + b"0\r\n\r\n"])[0] == b"a" * count
    assert f"over {MAX_EXTENSIONS_BYTES} bytes of extensions" in fails(chunk * count + b"0;\r\n\r\n")


def test_twelve_megabytes_of_extensions_cost_no_memory() -> None:
    part = b"1;" + b"x" * 12 * 10**6
    body = ChunkedBody(MOST)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput):
            body.take(part, 0, MANY)
        with pytest.raises(BadInput):
            read([(b"1;" + b"x" * 200 + b"\r\na\r\n") * 60_000])
        read([(b"0;" + b"x" * 100)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_600_000 + 2**20  # the second body itself has 12.6 MB


def test_content_over_its_bound_is_too_large_before_it_comes() -> None:
    assert read([b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"], max_bytes=10)[0] == b"helloworld"
    body = ChunkedBody(10)
    assert body.take(b"5\r\nhello\r\n", 0, MANY)[1] == [b"hello"]
    with pytest.raises(TooLarge, match="exceeds max_body of 10"):
        body.take(b"6\r\n", 0, MANY)
    with pytest.raises(TooLarge):
        ChunkedBody(10).take(b"ffffffffffffffff\r\n", 0, MANY)


def test_a_body_of_one_byte_chunks_ends_early() -> None:
    body = ChunkedBody(MOST)
    with pytest.raises(BadInput, match="send larger chunks"):
        body.take(b"1\r\na\r\n" * 5_000, 0, MANY)
    allowed = FREE_CHUNKS + FREE_CHUNKS // 32
    assert len(read([b"1\r\na\r\n" * allowed])[0]) == allowed


def test_more_content_allows_more_chunks() -> None:
    chunk = b"20\r\n" + b"x" * 32 + b"\r\n"
    assert len(read([chunk * 20_000 + b"0\r\n\r\n"])[0]) == 640_000


@pytest.mark.parametrize(
    "line", [b"A: \x00", b"A\x00: b", b"A: \x1f", b"A: \x7f", b"A : b", b" b", b"\tb", b": b", b"A", b"A: b\rC: d", b"\xe4: b"]
)
def test_a_malformed_trailer_is_refused(line: bytes) -> None:
    assert "a trailer of the body is" in fails(b"0\r\n" + line + b"\r\n\r\n")
    assert "a trailer of the body is" in fails(b"0\r\nA: b\r\n" + line + b"\r\n\r\n")


@pytest.mark.parametrize("rest", [b"A: b\n\r\n", b"\n", b"\rA: b\r\n\r\n", b"A: b\r\n\n"])
def test_a_bare_line_feed_among_trailers_is_refused(rest: bytes) -> None:
    assert "CR LF" in fails(b"0\r\n" + rest)


def test_trailers_are_bounded_in_count_and_bytes() -> None:
    assert read([b"0\r\n" + b"A: b\r\n" * MAX_TRAILERS + b"\r\n"])[2]
    assert f"over {MAX_TRAILERS} trailers" in fails(b"0\r\n" + b"A: b\r\n" * (MAX_TRAILERS + 1) + b"\r\n")
    exact = b"A:" + b"x" * (MAX_TRAILER_BYTES - 3)  # with its carriage return
    assert read([b"0\r\n" + exact + b"\r\n\r\n"])[2]
    assert read([b"0\r\n" + exact + b"\r\n\r"])[2] is False
    assert f"over {MAX_TRAILER_BYTES} bytes" in fails(b"0\r\n" + exact + b"x\r\n\r\n")
    assert f"over {MAX_TRAILER_BYTES} bytes" in fails(b"0\r\n" + exact + b"\r\nA:\r\n\r\n")
    assert f"over {MAX_TRAILER_BYTES} bytes" in fails(b"0\r\n" + b"x" * 20_000)
