"""The bytes of an answer: its status line, its headers, its body (RFC 9112), and the JSON of an error."""

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from serving.base import json_codec
from serving.base.errors import ERROR_CLASSES, BadInput, ServiceFailed, ServingError
from serving.base.request_ids import new_request_id
from serving.core.messages import JSON, Reply

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
PHRASES = {status.value: status.phrase for status in HTTPStatus} | {413: "Content Too Large", 422: "Unprocessable Content"}
CLOSE, RETRY, KEEP_ALIVE = "Connection: close\r\n", "Retry-After: 1\r\n", "Connection: keep-alive\r\n"
WITHOUT_BODY = (204, 304)
CHUNKED, LAST_CHUNK = "Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"
AS_IT_COMES = "X-Accel-Buffering: no\r\n"  # tells Kong and nginx not to collect the parts
OVERLOADED = (429, 503)  # the client is told when to come again
_date = (0, "")  # the second, and its name in headers; only the loop's thread writes


def answer(reply: Reply, request_id: str, more: str = "", with_body: bool = True) -> bytes:
    """Return an answer. more: whole header lines, each ended by CR LF. with_body: False for the answer to HEAD.

    A reply to HEAD that has no body already has the length of the body which GET would have, or none.
    """
    lines = more
    if reply.headers:
        lines += "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    if reply.content_type:
        lines += f"Content-Type: {reply.content_type}\r\n"
    if reply.status not in WITHOUT_BODY and (with_body or reply.body):
        lines += f"Content-Length: {len(reply.body)}\r\n"
    head = (
        f"HTTP/1.1 {reply.status} {PHRASES.get(reply.status, 'Status')}\r\nDate: {_now()}\r\n"
        f"X-Request-Id: {request_id}\r\n{lines}\r\n"
    ).encode("latin-1", "replace")
    return head + reply.body if with_body and reply.status not in WITHOUT_BODY else head


def json_answers(bodies: Sequence[bytes], names: Sequence[str], more: str = "") -> list[bytes]:
    """Return what `answer` gives for each of some replies of JSON and status 200, in less time. names: the requests' ids."""
    begin = f"HTTP/1.1 200 OK\r\nDate: {_now()}\r\nX-Request-Id: ".encode()
    end = f"\r\n{more}Content-Type: {JSON}\r\nContent-Length: ".encode()
    return [
        b"%b%b%b%d\r\n\r\n%b" % (begin, name.encode(), end, len(body), body) for body, name in zip(bodies, names, strict=True)
    ]


def _now() -> str:
    global _date
    second = int(time.time())
    if second != _date[0]:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]


REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
DIRECT = [each for each in ERROR_CLASSES if each.__base__ in (ServingError, Exception)]  # no class under another one
BY_STATUS = {each.status: each for each in DIRECT}


def request_id(given: str) -> str:
    """Return the client's own id of a request, or a new one where it has none that is well-formed."""
    return given if given and REQUEST_ID.fullmatch(given) else new_request_id()


def error_body(error: ServingError, name: str, more: Mapping[str, Any] = MappingProxyType({})) -> bytes:
    """Return an error's JSON. The text stands under "error", as the protocols' clients read it, and under "msg".

    name: the request's id. more: further fields.
    """
    return json_codec.dumps({"error": str(error), "msg": str(error), "reason": error.reason, "request_id": name, **more})


def error_reply(error: ServingError, name: str) -> Reply:
    return Reply(error_body(error, name), status=error.status)


def kind_of(status: int) -> type[ServingError]:
    """Return the class of error that has an HTTP status, or else BadInput below 500 and ServiceFailed from 500 on."""
    return BY_STATUS.get(status, BadInput if status < 500 else ServiceFailed)
