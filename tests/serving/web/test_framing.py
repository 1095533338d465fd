"""Requests whose end two servers could see at different places: refused with 400, and nothing behind them is run.

A gateway that reads such a request in another way would let a client smuggle a second one past it (RFC 9112, 11.2).
"""

import json

import pytest

from tests.running import Running
from tests.serving.echo_service import PING, PONG, Client, both_paths, check_owner, echo_body, echo_request

pytestmark = both_paths
BODY = echo_body(7)
PLAIN = b"Host: x\r\nContent-Type: application/json\r\n"
ENDED = b"Connection: close\r\n"


def head(*fields: str, version: str = "1.1", host: bool = True) -> bytes:
    """Return the head of a request for the model. fields: header lines."""
    lines = [f"POST /api/small HTTP/{version}", *(["Host: x"] if host else []), "Content-Type: application/json", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def sized(*fields: str, version: str = "1.1", host: bool = True) -> bytes:
    """Return a request with a right Content-Length besides these fields."""
    return head(f"Content-Length: {len(BODY)}", *fields, version=version, host=host) + BODY


def chunk(
    size: bytes = b"%x" % len(BODY), size_end: bytes = b"\r\n", data_end: bytes = b"\r\n", last: bytes = b"0\r\n\r\n"
) -> bytes:
    """Return a body of one chunk. All parts are right unless they are given."""
    return size + size_end + BODY + data_end + last


CHUNKED = head("Transfer-Encoding: chunked")
SIZE = f"{len(BODY):x}"
GOOD = {
    "length": sized(),
    "chunks": CHUNKED + chunk(),
    "chunks with an extension and a trailer": CHUNKED + chunk(SIZE.encode() + b";a=b", last=b"0\r\nA: b\r\n\r\n"),
    "a size in capitals, with zeros": CHUNKED + chunk(b"00" + SIZE.upper().encode()),
    "spaces around a length": head(f"Content-Length:  {len(BODY)} ") + BODY,
    "CHUNKED": head("Transfer-Encoding: CHUNKED") + chunk(),
}
BAD = {
    "length and chunks": sized("Transfer-Encoding: chunked"),
    "chunks and length": head("Transfer-Encoding: chunked", f"Content-Length: {len(chunk())}") + chunk(),
    "chunks in HTTP/1.0": head("Transfer-Encoding: chunked", "Connection: keep-alive", version="1.0") + chunk(),
    "no host": sized(host=False),
    "two hosts": sized("Host: y"),
    "the same host twice": sized("Host: x"),
    "chunked, chunked": head("Transfer-Encoding: chunked, chunked") + chunk(),
    "chunked, identity": head("Transfer-Encoding: chunked, identity") + chunk(),
    "identity": head("Transfer-Encoding: identity") + chunk(),
    "chunked in quotes": head('Transfer-Encoding: "chunked"') + chunk(),
    "xchunked": head("Transfer-Encoding: xchunked") + chunk(),
    "two encodings": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + chunk(),
    "an empty encoding": sized("Transfer-Encoding:"),
    "a bare line feed after a size": CHUNKED + chunk(size_end=b"\n"),
    "a bare carriage return after a size": CHUNKED + chunk(size_end=b"\r"),
    "a bare line feed after data": CHUNKED + chunk(data_end=b"\n"),
    "data longer than its chunk": CHUNKED + chunk(data_end=b"xx"),
    "a bare line feed after the last size": CHUNKED + chunk(last=b"0\n\r\n"),
    "a bare line feed in an extension": CHUNKED + chunk(SIZE.encode() + b";a\nb"),
    "NUL in an extension": CHUNKED + chunk(SIZE.encode() + b";a\0b"),
    "NUL in a trailer": CHUNKED + chunk(last=b"0\r\nA: b\0c\r\n\r\n"),
    "a bare line feed in a trailer": CHUNKED + chunk(last=b"0\r\nA: b\nB: c\r\n\r\n"),
    "a trailer without a colon": CHUNKED + chunk(last=b"0\r\nabc\r\n\r\n"),
    "0x": CHUNKED + chunk(f"0x{SIZE}".encode()),
    "a negative size": CHUNKED + chunk(b"-1"),
    "a size with a sign": CHUNKED + chunk(f"+{SIZE}".encode()),
    "an empty size": CHUNKED + chunk(b""),
    "a size of 17 digits": CHUNKED + chunk(SIZE.rjust(17, "f").encode()),
    "a space before a size": CHUNKED + chunk(f" {SIZE}".encode()),
    "an underscore in a size": CHUNKED + chunk(f"0_{SIZE}".encode()),
    "a bare carriage return in a field": sized("A: b\rc"),
    "a bare carriage return before a field": sized("A: b\rTransfer-Encoding: chunked"),
    "NUL in a field": sized("A: b\0c"),
    "a folded line": sized("A: b\r\n c"),
    "a folded first line": head(f" Content-Length: {len(BODY)}", host=False) + BODY,
    "a space before a colon": head(f"Content-Length : {len(BODY)}") + BODY,
    "a tab before a colon": sized("Transfer-Encoding\t: chunked"),
    "no name": sized(": b"),
    "no colon": sized("abc"),
    "a length with a sign": head(f"Content-Length: +{len(BODY)}") + BODY,
    "a negative length": head(f"Content-Length: -{len(BODY)}") + BODY,
    "two lengths in a field": head(f"Content-Length: {len(BODY)}, {len(BODY)}") + BODY,
    "two lengths in two fields": sized("Content-Length: 0"),
    "the same length twice": sized(f"Content-Length: {len(BODY)}"),
    "an empty length": head("Content-Length:") + BODY,
    "an underscore in a length": head(f"Content-Length: 0_{len(BODY)}") + BODY,
    "a length in hex": head(f"Content-Length: 0x{len(BODY):x}") + BODY,
}


@pytest.mark.parametrize("request_bytes", GOOD.values(), ids=GOOD)
def test_what_can_be_read_in_one_way_only_is_served_and_what_is_behind_it_too(service: Running, request_bytes: bytes) -> None:
    with Client(service.port) as client:
        client.send(request_bytes + PING)
        first, second = client.answer(), client.answer()
    assert (first.status, second.status, second.body) == (200, 200, PONG)
    assert json.loads(first.body)["results"]["echoed"] == [[0, 7]]


@pytest.mark.parametrize("pieces", [1, 2], ids=["at once", "in two pieces"])
@pytest.mark.parametrize("request_bytes", BAD.values(), ids=BAD)
def test_what_can_be_read_in_two_ways_is_refused_and_nothing_behind_it_is_run(
    service: Running, request_bytes: bytes, pieces: int
) -> None:
    data, middle = request_bytes + PING, len(request_bytes) // 2
    with Client(service.port) as client:
        for piece in [data] if pieces == 1 else [data[:middle], data[middle:]]:
            client.send(piece)
        found = client.rest()
    assert [answer.status for answer in found] == [400], found
    assert found[0].headers["connection"] == "close"
    assert json.loads(found[0].body)["reason"]


def test_a_good_request_before_a_bad_one_gets_its_answer_first(service: Running) -> None:
    with Client(service.port) as client:
        client.send(echo_request(1, seconds=0.1) + BAD["length and chunks"] + PING)
        first, *others = client.rest()
    check_owner(first, 1)
    assert first.status == 200
    assert [answer.status for answer in others] == [400]
