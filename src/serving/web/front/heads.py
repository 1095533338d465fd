"""The head of one request: from its bytes to the values that the front decides by.

Each head has a parser of its own, which sees nothing but that head. A parser of httptools cannot pause, and is unusable after
an error.

llhttp lets through what a server should not, and this module refuses that. Examples are other versions and protocols, several
spaces in the request line, invalid targets, a missing or doubled Host, and codings other than `chunked`. Every check
takes time in proportion to the head.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from serving.base.errors import BadInput, HeadTooLarge
from serving.inputs.tensor_codec import show

MAX_HEAD_BYTES = 64 * 2**10
MAX_FIELDS = 128  # gateways and meshes add about 20
MAX_PATH_BYTES = 4 * 2**10  # as sent; escapes in it are read one by one
MAX_CONNECTION_BYTES = 256  # of the field Connection, whose options are read one by one
MAX_EMPTY_LINES = 8  # before a request line
MAX_LENGTH_DIGITS = 18  # of Content-Length; Python refuses to convert 5,000 digits
MAX_KNOWN, MAX_KNOWN_LENGTH = 256, 512  # request lines and hosts that are remembered, and the longest of them in bytes
VERSIONS = {b"HTTP/1.1\r\n": "1.1", b"HTTP/1.0\r\n": "1.0"}  # with the end of the request line
SINGLE = frozenset({b"host", b"content-length", b"transfer-encoding"})  # fields that may not be repeated
HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*+|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5}+)?")
_known_host = lru_cache(MAX_KNOWN)(HOST.fullmatch)
NO_CALLBACKS = object()  # httptools judges a head; to be told of each field would take it three times as long


@dataclass(slots=True)
class Head:
    """The values of a request's head.

    method: as sent, "POST".
    path, query: of the target as sent, percent-encoded. The path is "*" for `OPTIONS *`. The query is "" where there is none.
    version: "1.1" or "1.0".
    headers: names in lower case, values without white space around them. A repeated field is joined by ", ", a cookie by "; ".
    length: bytes of the body by Content-Length, 0 where there is none.
    chunked: the body comes in chunks.
    keep_alive: the client wants the connection to serve on.
    expects: the client waits for 100 Continue before it sends the body.
    """

    method: str
    path: str
    query: str
    version: str
    headers: dict[bytes, bytes]
    length: int
    chunked: bool
    keep_alive: bool
    expects: bool


def empty_lines(buffer: bytearray, dropped: int = 0) -> int:
    """Return how many bytes of empty lines stand before a request line (RFC 9112, 2.2): the caller drops them.

    dropped: bytes that were dropped before the same request already. Raises BadInput for over MAX_EMPTY_LINES of them.
    """
    at = 0
    while buffer.startswith(b"\r\n", at):
        at += 2
        if dropped + at > 2 * MAX_EMPTY_LINES:
            raise BadInput(f"over {MAX_EMPTY_LINES} empty lines stand before the request line; send none")
    return at


def end_of_head(buffer: bytearray, searched: int) -> int:
    """Return the position after a blank line, or -1 where none has come yet.

    searched: bytes of the buffer that an earlier call has seen. A line that a bare line feed ends counts as well:
    the head is whole then, and `parse` refuses it, while the client would wait for nothing otherwise.
    """
    begin = max(searched - 2, 0)
    end = buffer.find(b"\n\r\n", begin)
    if end >= 0:
        return end + 3
    end = buffer.find(b"\n\n", begin)
    return end + 2 if end >= 0 else -1


def parse(head: bytes) -> Head:
    """Return what a head says, which ends with its blank line. Raises HeadTooLarge (431), and BadInput (400) for all else."""
    _check_size(head)
    line = head[: head.find(b"\n") + 1]
    method, version, host, path, query = (_known_line if len(line) <= MAX_KNOWN_LENGTH else _request_line)(line)
    _judge(head)
    headers = _fields(head)
    _check_host(headers.get(b"host"), version)
    if host:  # RFC 9112, 3.2.2: the target's own host goes before the field
        headers[b"host"] = host
    length, chunked = _body(headers, version)
    keep_alive = _keep_alive(headers.get(b"connection"), version)
    expects = b"expect" in headers and version == "1.1" and (chunked or length > 0)
    expects = expects and headers[b"expect"].lower() == b"100-continue"
    return Head(method, path, query, version, headers, length, chunked, keep_alive, expects)


def _check_size(head: bytes) -> None:
    if len(head) > MAX_HEAD_BYTES:
        raise HeadTooLarge(f"the head has {len(head)} bytes, at most {MAX_HEAD_BYTES} are taken; send fewer or shorter fields")
    count = head.count(b"\n") - 2  # without the request line and the blank line
    if count > MAX_FIELDS:
        raise HeadTooLarge(f"the head has {count} fields, at most {MAX_FIELDS} are taken; send fewer")


def _request_line(line: bytes) -> tuple[str, str, bytes, str, str]:
    """Return the method, the version, and the target's host, path and query. httptools checks the first two words.

    A line feed ends a request of HTTP/0.9 for llhttp, which takes the rest of such a line for a field.
    """
    words = line.split(b" ", 3)
    version = VERSIONS.get(words[-1])
    if version is None or len(words) != 3 or words[0][:1] in b"\r":
        shown = show(line[:100].partition(b"\r\n")[0].decode("latin-1"))
        reason = (
            f"its request line is {shown}; it must be a method, a target and HTTP/1.1 or HTTP/1.0, with one space between them"
        )
        raise BadInput(_malformed(line, reason))
    method = words[0].decode("latin-1")
    return method, version, *_target(method, words[1].decode("latin-1"))


_known_line = lru_cache(MAX_KNOWN)(_request_line)  # most requests of a service have one of a few lines


def _judge(head: bytes) -> None:
    """Raise BadInput for a head that llhttp does not take."""
    if head.find(b"\r\n\r\n") != len(head) - 4:
        raise BadInput(_malformed(head, "no blank line ends it"))
    try:
        HttpRequestParser(NO_CALLBACKS).feed_data(head)
    except HttpParserUpgrade:  # h2c, which Java's clients offer, or CONNECT: both are served as HTTP/1.1
        pass
    except HttpParserError as error:
        raise BadInput(_malformed(head, str(error))) from None


def _fields(head: bytes) -> dict[bytes, bytes]:
    """Return the fields of a head that was judged: each is a line with a name, a colon and a value."""
    lines = head.split(b"\r\n")[1:-2]
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip(b" \t")
    return headers if len(headers) == len(lines) else _joined(lines)


def _joined(lines: list[bytes]) -> dict[bytes, bytes]:
    """Return fields, the repeated ones joined. Raises BadInput for one that may not be repeated."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if name in headers:
            value = headers[name] + (b"; " if name == b"cookie" else b", ") + value
            if name in SINGLE:
                raise BadInput(f"the field {name.decode()} is repeated; send it once")
        headers[name] = value
    return headers


def _malformed(head: bytes, reason: str) -> str:
    """Return a sentence on what is wrong with a head. reason: llhttp's words, said where there are no clearer ones."""
    lines = head.count(b"\r\n")
    if not lines == head.count(b"\n") == head.count(b"\r"):
        reason = "it has a bare line feed or carriage return; each line must end with CR LF"
    elif b"\r\n " in head or b"\r\n\t" in head:
        reason = "a line of it begins with white space; folded lines are not taken (RFC 9112, 5.2)"
    return f"the head of the request is malformed: {reason}"


def _target(method: str, target: str) -> tuple[bytes, str, str]:
    """Return the target's host, b"" where it has none, its path and its query."""
    host, rest = "", target
    if target[:8].lower().startswith(("http://", "https://")):
        rest = target[target.index("//") + 2 :]
        host = rest.partition("/")[0].partition("?")[0]
        rest = rest[len(host) :]
        rest = rest if rest.startswith("/") else "/" + rest
        if not host or not HOST.fullmatch(host.encode("latin-1")):
            raise BadInput(f"the target {show(target)} has no valid host and port")
    elif not target.startswith("/") and (method, target) != ("OPTIONS", "*"):
        raise BadInput(f"the target {show(target)} must be a path that begins with /, or an http or https URL")
    if "#" in rest:
        raise BadInput(f"the target {show(target)} has a fragment, which begins with #; a client keeps that to itself")
    path, _, query = rest.partition("?")
    if len(path) > MAX_PATH_BYTES:
        raise HeadTooLarge(f"the path has {len(path)} bytes, at most {MAX_PATH_BYTES} are taken; send parameters or a body")
    return host.encode("latin-1"), path, query


def _check_host(host: bytes | None, version: str) -> None:
    if host is None:
        if version == "1.1":
            raise BadInput("the field Host is missing; a request in HTTP/1.1 must have it")
    elif not (_known_host if len(host) <= MAX_KNOWN_LENGTH else HOST.fullmatch)(host):
        raise BadInput(f"the field Host is {show(host.decode('latin-1'))}; it must be a name or address, and perhaps a port")


def _body(headers: dict[bytes, bytes], version: str) -> tuple[int, bool]:
    """Return the body's length, and whether it comes in chunks."""
    length, coding = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadInput("the request has both Content-Length and Transfer-Encoding; send one of them")
        if version != "1.1":
            raise BadInput(f"the request has Transfer-Encoding in HTTP/{version}; only HTTP/1.1 has it: send Content-Length")
        if coding.lower() != b"chunked":
            raise BadInput(f"the Transfer-Encoding is {show(coding.decode('latin-1'))}; only chunked is taken")
        return 0, True
    if length is None:
        return 0, False
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        shown = show(length.decode("latin-1"))
        raise BadInput(f"the Content-Length is {shown}; it must be a number of bytes, of at most {MAX_LENGTH_DIGITS} digits")
    return int(length), False


def _keep_alive(connection: bytes | None, version: str) -> bool:
    if connection is None:
        return version == "1.1"
    if len(connection) > MAX_CONNECTION_BYTES:
        raise HeadTooLarge(f"the field Connection is over {MAX_CONNECTION_BYTES} bytes; send close or keep-alive alone")
    options = {option.strip(b" \t") for option in connection.lower().split(b",")}
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)
