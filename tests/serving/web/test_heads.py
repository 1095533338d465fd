"""Heads: what is taken, what is refused, and that neither costs time beyond its size."""

import re
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.base.errors import BadInput, HeadTooLarge, ServingError
from serving.web.front.heads import (
    MAX_CONNECTION_BYTES,
    MAX_EMPTY_LINES,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_PATH_BYTES,
    Head,
    empty_lines,
    end_of_head,
    parse,
)

HOST = b"Host: demo.example\r\n"


def of(*fields: bytes, line: bytes = b"POST /api/demo HTTP/1.1", host: bytes = HOST) -> bytes:
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def refused(head: bytes, words: str, kind: type[ServingError] = BadInput) -> None:
    with pytest.raises(kind, match=re.escape(words)) as caught:
        parse(head)
    assert len(str(caught.value)) < 400


# Where a head begins and ends.


def test_the_end_of_a_head_is_found_wherever_it_was_cut() -> None:
    head = of(b"A: b")
    for seen in range(len(head)):
        assert end_of_head(bytearray(head[:seen]), 0) == -1
        assert end_of_head(bytearray(head + b"body\r\n\r\n"), seen) == len(head)


def test_bytes_that_were_searched_are_not_searched_again() -> None:
    buffer = bytearray(b"\r\n\r\n" + b"x" * 10)
    assert end_of_head(buffer, 0) == 4
    assert end_of_head(buffer, len(buffer)) == -1


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n", b"GET / HTTP/1.1\n\n"])
def test_a_head_with_bare_line_feeds_ends_and_is_refused(head: bytes) -> None:
    assert end_of_head(bytearray(head), 0) == len(head)
    refused(head, "CR LF")


@pytest.mark.parametrize(
    ("buffer", "count"), [(b"", 0), (b"\r", 0), (b"\n", 0), (b"\r\n", 2), (b"\r\n\r\nGET", 4), (b"G\r\n", 0)]
)
def test_empty_lines_before_a_request_line_are_counted(buffer: bytes, count: int) -> None:
    assert empty_lines(bytearray(buffer)) == count


def test_empty_lines_are_bounded_over_all_that_came_before_a_request() -> None:
    most = bytearray(b"\r\n" * MAX_EMPTY_LINES)
    assert empty_lines(most) == 2 * MAX_EMPTY_LINES
    with pytest.raises(BadInput, match="empty lines"):
        empty_lines(most + b"\r\n" * 10**6)
    assert empty_lines(bytearray(b"GET"), 2 * MAX_EMPTY_LINES) == 0
    with pytest.raises(BadInput, match="empty lines"):
        empty_lines(bytearray(b"\r\n"), 2 * MAX_EMPTY_LINES)


# Heads that are taken.


def test_a_head_gives_its_values() -> None:
    head = of(b"Content-Length: 12", b"Content-Type: \tapplication/json \t", b"X-Empty:")
    headers = {b"host": b"demo.example", b"content-length": b"12", b"content-type": b"application/json", b"x-empty": b""}
    assert parse(head) == Head("POST", "/api/demo", "", "1.1", headers, 12, False, True, False)


def test_repeated_fields_are_joined_and_cookies_by_semicolons() -> None:
    headers = parse(of(b"A: 1 ", b"Cookie: a=1", b"a: 2", b"cookie: b=2", b"A:")).headers
    assert (headers[b"a"], headers[b"cookie"]) == (b"1, 2, ", b"a=1; b=2")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", ""),
        (b"/a%20b;c?d=e?f", "/a%20b;c", "d=e?f"),
        (b"/?", "/", ""),
        (b"//host/path", "//host/path", ""),
        (b"http://other:8080/a/b?c", "/a/b", "c"),
        (b"HTTPS://other", "/", ""),
        (b"http://other?c=/d", "/", "c=/d"),
        (b"http://[::1]:80/x", "/x", ""),
    ],
)
def test_a_target_gives_its_path_and_query(target: bytes, path: str, query: str) -> None:
    head = parse(of(line=b"GET " + target + b" HTTP/1.1"))
    assert (head.path, head.query) == (path, query)


def test_the_host_of_a_target_goes_before_the_field() -> None:
    assert parse(of(line=b"GET http://other:8080/ HTTP/1.1")).headers[b"host"] == b"other:8080"
    assert parse(of(line=b"GET / HTTP/1.1")).headers[b"host"] == b"demo.example"


def test_options_may_ask_for_the_whole_server() -> None:
    assert parse(of(line=b"OPTIONS * HTTP/1.1")).path == "*"


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close", False),
        (b"1.1", b"Connection: foo , Close", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: close", False),
        (b"1.1", b"Connection: closed", True),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive", True),
        (b"1.0", b"Connection: keep-alive, close", False),
    ],
)
def test_a_connection_is_kept_by_version_and_field(version: bytes, connection: bytes, kept: bool) -> None:
    head = parse(of(*[connection] if connection else [], line=b"GET / HTTP/" + version))
    assert (head.version, head.keep_alive) == (version.decode(), kept)


@pytest.mark.parametrize(
    ("version", "body", "expects"),
    [
        (b"1.1", b"Content-Length: 5", True),
        (b"1.1", b"Transfer-Encoding: Chunked", True),
        (b"1.1", b"Content-Length: 0", False),
        (b"1.1", b"X: y", False),
        (b"1.0", b"Content-Length: 5", False),
    ],
)
def test_a_client_may_wait_for_100_continue_where_a_body_is_due(version: bytes, body: bytes, expects: bool) -> None:
    assert parse(of(body, b"Expect: 100-Continue", line=b"POST / HTTP/" + version)).expects is expects
    assert parse(of(body, b"Expect: 200-ok", line=b"POST / HTTP/" + version)).expects is False


@pytest.mark.parametrize(
    "head",
    [
        of(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", b"Content-Length: 7"),
        of(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 7"),
        of(b"Content-Length: 7", line=b"CONNECT /x HTTP/1.1"),
    ],
)
def test_an_upgrade_is_served_as_http_1_1(head: bytes) -> None:
    found = parse(head)
    assert (found.version, found.length, found.keep_alive) == ("1.1", 7, True)


def test_http_1_0_needs_no_host() -> None:
    assert parse(of(line=b"GET / HTTP/1.0", host=b"")).headers == {}


@pytest.mark.parametrize(
    "host", [b"", b"a", b"a:80", b"a_b.c-d", b"127.0.0.1:8080", b"[::1]", b"[::ffff:1.2.3.4]:80", b"a:", b"%41"]
)
def test_a_valid_host_is_taken(host: bytes) -> None:
    assert parse(of(host=b"Host: " + host + b"\r\n")).headers[b"host"] == host


# Heads that are refused.


def test_a_long_path_and_a_long_field_of_the_connection_are_refused_before_they_are_taken_apart() -> None:
    assert parse(b"GET /" + b"x" * (MAX_PATH_BYTES - 1) + b"?" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    long = b"GET /" + b"x" * MAX_PATH_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    refused(long, f"at most {MAX_PATH_BYTES} are taken", HeadTooLarge)
    assert parse(of(b"Connection: " + b"a," * (MAX_CONNECTION_BYTES // 2)))
    refused(of(b"Connection: " + b"a," * MAX_CONNECTION_BYTES), f"over {MAX_CONNECTION_BYTES} bytes", HeadTooLarge)


def test_a_large_head_and_many_fields_are_refused_with_431() -> None:
    fits = MAX_HEAD_BYTES - len(of(b"A: "))
    assert parse(of(b"A: " + b"x" * fits))
    refused(of(b"A: " + b"x" * (fits + 1)), f"at most {MAX_HEAD_BYTES} are taken", HeadTooLarge)
    assert len(parse(of(*[b"A%d: b" % i for i in range(MAX_FIELDS - 1)])).headers) == MAX_FIELDS
    refused(of(*[b"A: b"] * MAX_FIELDS), f"at most {MAX_FIELDS} are taken", HeadTooLarge)
    refused(of(*[b"A:"] * 15_000), f"at most {MAX_FIELDS} are taken", HeadTooLarge)


@pytest.mark.parametrize(
    "version", [b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"RTSP/1.0", b"HTTP/11", b"X"]
)
def test_other_versions_and_protocols_are_refused(version: bytes) -> None:
    refused(of(line=b"GET / " + version), "HTTP/1.1 or HTTP/1.0")


WRONG_REQUEST_LINES = [
    b"GET /", b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET\t/\tHTTP/1.1",
    b"GET /a b HTTP/1.1", b"GET /a\nb: HTTP/1.1", b"GET /a\r\nb: HTTP/1.1", b"GET /a\rb: HTTP/1.1",
    b"GET http://a\nb: HTTP/1.1", b"", b"\r\nGET / HTTP/1.1", b"\nGET / HTTP/1.1", b"\rGET / HTTP/1.1", b"\x16\x03\x01\x02",
    b"HTTP/1.1 200 OK",
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG_REQUEST_LINES)
def test_a_request_line_has_three_words_and_single_spaces(line: bytes) -> None:
    refused(of(line=line), "the ")


@pytest.mark.parametrize("method", [b"get", b"FOO", b"G\x00T", b"PRI", b"\xff", b"DESCRIBE", b"SOURCEX"])
def test_a_method_that_http_does_not_have_is_refused(method: bytes) -> None:
    refused(of(line=method + b" / HTTP/1.1"), "malformed")


WRONG_TARGETS = [
    b"a://" + b"1" * 8000, b"a://b", b"foo", b"*", b"example.org:80", b"http://[", b"http://", b"http:///x", b"http:/x",
    b"http://user@host/", b"http://a:b/", b"http://a:80:80/", b"/a#b", b"http://a/#b", b"/\x00", b"/\x7f", b"/\xff", b"/\t",
    b"?a", b"",
]  # fmt: skip


@pytest.mark.parametrize("target", WRONG_TARGETS)
def test_other_targets_are_refused(target: bytes) -> None:
    refused(of(line=b"GET " + target + b" HTTP/1.1"), "the ")


def test_a_connect_has_no_target_that_is_taken() -> None:
    refused(of(line=b"CONNECT example.org:443 HTTP/1.1"), "must be a path")
    refused(of(line=b"CONNECT * HTTP/1.1"), "the ")


def test_a_host_is_due_once() -> None:
    refused(of(host=b""), "the field Host is missing")
    refused(of(HOST.strip()), "is repeated")
    refused(of(HOST.strip(), line=b"GET / HTTP/1.0"), "is repeated")
    refused(of(HOST.strip(), line=b"GET http://a/ HTTP/1.1"), "is repeated")


@pytest.mark.parametrize(
    "host", [b"a b", b"a/b", b"a@b", b"[", b"[::1", b"[]", b"a:b", b"a:123456", b"a\xffb", b"a?b", b"a:80:80", b'"']
)
def test_an_invalid_host_is_refused(host: bytes) -> None:
    refused(of(host=b"Host: " + host + b"\r\n"), "the field Host is")
    refused(of(host=b"Host: " + host + b"\r\n", line=b"GET / HTTP/1.0"), "the field Host is")


@pytest.mark.parametrize(
    "value",
    [b"5, 5", b"5,5", b"+5", b"-5", b"0x5", b"5 5", b"", b"five", b"5.0", b"9" * 5000, b"0" * 5000 + b"5", b"9" * 19, b"\xb2"],
)
def test_a_content_length_is_one_number(value: bytes) -> None:
    refused(of(b"Content-Length: " + value), "Content-Length")


def test_a_repeated_content_length_is_refused() -> None:
    refused(of(b"Content-Length: 5", b"Content-Length: 5"), "Content-Length")
    refused(of(b"Content-Length: 5", b"content-length: 6"), "Content-Length")


def test_a_body_has_a_length_or_a_coding() -> None:
    refused(of(b"Content-Length: 5", b"Transfer-Encoding: chunked"), "Content-Length")
    refused(of(b"Transfer-Encoding: chunked", b"Content-Length: 5"), "Content-Length")
    refused(of(b"Transfer-Encoding: chunked", b"Content-Length: 5", b"Connection: Upgrade", b"Upgrade: h2c"), "Content-Length")


def test_transfer_encoding_belongs_to_http_1_1() -> None:
    refused(of(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), "only HTTP/1.1 has it")


WRONG_CODINGS = [
    b"chunked, chunked", b"gzip, chunked", b"gzip", b"identity", b"", b"chunked;a", b"xchunked", b"chunked,", b",chunked",
    b'"chunked"',
]  # fmt: skip


@pytest.mark.parametrize("value", WRONG_CODINGS)
def test_a_transfer_encoding_is_chunked_and_nothing_else(value: bytes) -> None:
    assert parse(of(b"Transfer-Encoding: chunked")).chunked
    refused(of(b"Transfer-Encoding: " + value), "Transfer-Encoding")
    refused(of(b"Transfer-Encoding: " + value, b"Connection: Upgrade", b"Upgrade: h2c"), "Transfer-Encoding")


def test_two_transfer_encodings_are_refused() -> None:
    refused(of(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "Transfer-Encoding")


@pytest.mark.parametrize("line", [b"A: b\r\n c", b"A: b\r\n\tc", b"A:\r\n b", b"A: b\r\n ", b" A: b"])
def test_folded_lines_are_refused(line: bytes) -> None:
    refused(of(line), "folded lines are not taken")
    refused(of(line, host=b""), "folded lines are not taken")


@pytest.mark.parametrize("line", [b"A: b\nC: d", b"A: b\rC: d", b"A: b\r", b"A:\nb", b"\nA: b", b"A\r: b", b"A: \r b"])
def test_bare_carriage_returns_and_line_feeds_are_refused(line: bytes) -> None:
    refused(of(line), "CR LF")
    refused(of(line, host=b"Host: a\r\nX: y\r\n"), "CR LF")


@pytest.mark.parametrize("byte", [bytes([code]) for code in [*range(9), *range(10, 32), 127]])
def test_control_characters_are_refused_everywhere(byte: bytes) -> None:
    refused(of(b"A: b" + byte + b"c"), "the ")
    refused(of(b"A: " + byte), "the ")
    refused(of(b"A" + byte + b"b: c"), "the ")
    refused(of(line=b"GET /a" + byte + b" HTTP/1.1"), "the ")
    refused(of(line=b"GET /?a" + byte + b" HTTP/1.1"), "the ")
    refused(of(line=b"GET http://a" + byte + b"/ HTTP/1.1"), "the ")


@pytest.mark.parametrize("name", [b"A ", b"A\t", b"", b"A B", b"A(", b"A/", b"A@", b"\xc3\xa4", b"[A]", b"{", b'"'])
def test_a_field_has_a_name_and_no_white_space_before_the_colon(name: bytes) -> None:
    refused(of(name + b": b"), "malformed")


def test_a_field_without_a_colon_is_refused() -> None:
    refused(of(b"A"), "malformed")


@pytest.mark.parametrize(
    "head", [b"", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1", of()[:-2], of() + b"x", of() + of(), of() + b"\r\n\r\n"]
)
def test_what_is_not_one_whole_head_is_refused(head: bytes) -> None:
    refused(head, "the ")


# Time that a head costs.


def seconds(call: Callable[[], object]) -> float:
    """Return the least of three processor times of a call."""
    spent = []
    for _ in range(3):
        begin = time.process_time()
        with suppress(ServingError):
            call()
        spent.append(time.process_time() - begin)
    return min(spent)


N = 64_000
HOSTILE = [
    of(line=b"GET a://" + b"1" * N + b" HTTP/1.1"),
    of(line=b"GET http://" + b"1" * N + b" HTTP/1.1"),
    of(line=b"GET http://[" + b":" * N + b" HTTP/1.1"),
    of(line=b"GET http://a:" + b"1" * N + b" HTTP/1.1"),
    of(line=b"GET /" + b"?" * N + b" HTTP/1.1"),
    of(line=b"GET " + b" " * N + b" HTTP/1.1"),
    of(line=b"G" * N),
    of(host=b"Host: " + b"a" * N + b"/\r\n"),
    of(host=b"Host: [" + b"1" * N + b"\r\n"),
    of(host=b"Host: a" + b":" * N + b"\r\n"),
    of(b"A: " + b" " * 32_000),
    of(b"A: " + b" " * N),
    of(b"A: x" + b" " * N + b"x"),
    of(b"A" * N),
    of(b"A" * N + b" : b"),
    of(b"Content-Length: " + b"1" * N),
    of(b"Content-Length: " + b"0" * N),
    of(b"Connection: " + b"," * N),
    of(b"Connection: " + b"a,close" * (N // 7)),
    of(b"Transfer-Encoding: " + b"chunked," * (N // 8)),
    of(*[b"A: " + b"x" * 500] * 120),
    of(*[b"A: " + b" " * 500] * 120),
    of(*[b"%x: b" % i for i in range(7_000)]),
    b"\r\n" * (N // 2),
    b"\n" * N,
]


@pytest.mark.parametrize("head", HOSTILE)
def test_no_head_takes_long(head: bytes) -> None:
    assert seconds(lambda: parse(head)) < 0.02


@pytest.mark.parametrize("piece", [b"\r", b"\n\r", b"\r\n", b"x", b"\r\nA"])
def test_to_search_a_slow_head_takes_time_in_proportion_to_it(piece: bytes) -> None:
    def search() -> None:
        buffer, searched = bytearray(), 0
        for _ in range(20_000):
            buffer += piece
            end_of_head(buffer, searched)
            searched = len(buffer)

    assert seconds(search) < 0.5


# Heads at random.

GOOD = [
    of(b"Content-Length: 12", b"Accept: */*", b"Expect: 100-continue", b"Cookie: a=b"),
    of(b"Transfer-Encoding: chunked", b"Connection: keep-alive", line=b"POST /v2/models/m/infer?a=b HTTP/1.1"),
    of(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk", line=b"GET http://a:80/b HTTP/1.1"
    ),
    of(b"Connection: keep-alive", line=b"OPTIONS * HTTP/1.0"),
    of(line=b"CONNECT /a HTTP/1.1"),
]
SNIPPETS = [
    b"\r\n", b"\n", b"\na:", b"\r", b"\0", b" ", b"\t", b":", b",", b"\xff", b"HTTP/1.0", b"HTTP/2.0", b"[", b"#", b"*", b"?",
]  # fmt: skip
SNIPPETS += [b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"chunked", b"http://", b"\r\n\r\n"]
MUTATION = st.tuples(st.integers(0, 300), st.integers(0, 8), st.sampled_from(SNIPPETS) | st.binary(max_size=3))
STRICT = re.compile(
    rb"[A-Z-]+ [!-~]+ HTTP/1\.[01]\r\n(?:[\w!#$%&'*+.^`|~-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n|"
    rb"[A-Z-]+ [!-~]+ HTTP/1\.0\r\n\r\n"
)


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(GOOD), st.lists(MUTATION, min_size=1, max_size=4))
def test_a_mutated_head_is_strictly_well_formed_or_refused(head: bytes, mutations: list[tuple[int, int, bytes]]) -> None:
    for at, lost, snippet in mutations:
        place = at % (len(head) + 1)
        head = head[:place] + snippet + head[place + lost :]
    found: Head | ServingError
    try:
        found = parse(head)
    except ServingError as error:
        found = error
    if isinstance(found, ServingError):
        assert found.status in (400, 431)
        assert len(str(found)) < 400
        return
    assert STRICT.fullmatch(head)
    assert found.path.startswith("/") or found.path == "*"
    assert not (found.chunked and found.length)
    assert head.lower().count(b"\r\nhost:") <= 1
