"""The bytes of an answer: its status line, its headers, its body.

Knows HTTP/1.1's form (RFC 9112). Does not know sockets or requests.
"""

import time
from email.utils import formatdate
from http import HTTPStatus

from serving.core.messages import Reply

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


def _now() -> str:
    global _date
    second = int(time.time())
    if second != _date[0]:
        _date = (second, formatdate(second, usegmt=True))
    return _date[1]
