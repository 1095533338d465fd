"""An HTTP request that ends in time, reads a bounded answer, and sends a password to no other host.

Knows HTTP, and the words for its failures and for TLS'. Does not know what is asked for.

Concurrency: `in_time` works on a thread of its own, which is abandoned when its time is over. A name server that does not
answer, and an answer that comes byte by byte, would outlast any timeout of a socket. The thread shares only its result lists.
"""

import contextlib
import http.client
import re
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

READ_TIMEOUT = 8.0  # seconds without a byte
MAX_ERROR_BYTES = 10_000  # of an error's answer
LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3})(:[0-9]+)?")


class NoAnswer(Exception):
    """No usable answer came.

    words: what was seen. cure: what to do.
    """

    def __init__(self, words: str, cure: str):
        super().__init__(f"{words}; {cure}")
        self.words, self.cure = words, cure


@dataclass(frozen=True)
class Answer:
    """An answer of any status. url: its address after the last redirect."""

    url: str
    status: int
    headers: Message
    body: bytes


def speaks_http(host: str, plain: Collection[str]) -> bool:
    """Return whether a host is asked over plain HTTP: this machine, and those of `plain`. host: with its port."""
    return host in plain or LOOPBACK.fullmatch(host) is not None


def must_be_safe(url: str, plain: Collection[str]) -> None:
    """Raise NoAnswer where an address is neither HTTPS nor of a host that is asked over plain HTTP."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise NoAnswer(
            "we are sent to an address that is none", "run it again in a moment; if it stays so, ask who runs it"
        ) from None
    if parts.netloc and (parts.scheme == "https" or (parts.scheme == "http" and speaks_http(parts.netloc, plain))):
        return
    raise NoAnswer(
        f"we are sent to {origin(url)[:200]!r}, which is not HTTPS",
        f"if {parts.netloc or 'it'} is meant to speak HTTP, name it in http_registries of regions.yaml",
    )


def origin(url: str) -> str:
    """Return the part of an address that may be printed: its scheme, host and port."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def get(url: str, headers: Mapping[str, str], authorization: str, plain: Collection[str], most: int) -> Answer:
    """Send a GET request, and return the answer. Raises NoAnswer where none comes, or one of more than `most` bytes.

    authorization: the header's value, "" for none. It goes only to the scheme, host and port of `url`.
    plain: the hosts that are asked over plain HTTP.
    """
    local = [urllib.request.ProxyHandler({})] if speaks_http(urllib.parse.urlsplit(url).netloc, ()) else []
    opener = urllib.request.build_opener(_Redirects(plain), *local)
    try:
        request = urllib.request.Request(url, headers={**headers, "User-Agent": "monopod"})
        if authorization:
            request.add_unredirected_header("Authorization", authorization)
        return _answer(opener, request, most)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NoAnswer(f"{origin(url)} does not answer: {reason or type(reason).__name__}", _cure(reason)) from error


def _answer(opener: urllib.request.OpenerDirector, request: urllib.request.Request, most: int) -> Answer:
    try:
        with opener.open(request, timeout=READ_TIMEOUT) as answer:
            body = answer.read(most + 1)
            if len(body) > most:
                raise NoAnswer(
                    f"{origin(request.full_url)} sends more than {most} bytes", "is it the server that it should be?"
                )
            return Answer(answer.url, answer.status, answer.headers, body)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):  # after too many redirects it is closed already
            return Answer(error.geturl(), error.code, error.headers, b"" if error.closed else error.read(MAX_ERROR_BYTES))


def in_time(ask: Callable[[], str], seconds: float, what: str) -> str:
    """Return the result of `ask`. Raises NoAnswer after `seconds`, and what `ask` raises. what: the server, in words."""
    found: list[str] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            found.append(ask())
        except Exception as error:  # raised again on the caller's thread
            errors.append(error)

    thread = threading.Thread(target=work, name=what, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not found:
        raise NoAnswer(f"{what} has not answered in {seconds:g} s", "is the network up? run it again in a moment")
    return found[0]


def _cure(reason: object) -> str:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "SSL_CERT_FILE names a file with the certificates of your own authority"
    if isinstance(reason, ssl.SSLError):
        return "if it speaks HTTP alone, name it in http_registries of regions.yaml"
    return "is its name right, and the network up? One that speaks HTTP must stand in http_registries of regions.yaml"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects to safe addresses. A password is sent on only to the same scheme, host and port."""

    max_redirections = 3

    def __init__(self, plain: Collection[str]):
        self._plain = plain

    def redirect_request(self, req: urllib.request.Request, *rest: Any) -> urllib.request.Request | None:
        answer, where = rest[0], str(rest[-1])
        answer.close()  # its body may have no end, and urllib would read it
        must_be_safe(where, self._plain)
        found = super().redirect_request(req, *rest)
        if found is not None and origin(where) == origin(req.full_url) and req.has_header("Authorization"):
            found.add_unredirected_header("Authorization", str(req.get_header("Authorization")))
        return found
