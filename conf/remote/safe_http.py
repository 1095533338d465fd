"""The one HTTP client of conf: a request whose answer is bounded, and that sends a password to no other host.

A name server that does not answer, and an answer that comes byte by byte, outlast any timeout of a socket. `in_time` abandons
them.
"""

import contextlib
import http.client
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeVar

from conf.remote.parallel import TooSlow, ask_all

READ_TIMEOUT = 8.0  # seconds without a byte
MAX_ERROR_BYTES = 10_000  # of an error's answer
T = TypeVar("T")
LOOPBACK = re.compile(r"(localhost|127(\.[0-9]{1,3}){3})(:[0-9]+)?")


class NoAnswer(Exception):
    """No usable answer came.

    words: what was seen. cure: what to do. reason: the error of the system or of HTTP, None for others.
    """

    def __init__(self, words: str, cure: str, reason: object = None):
        super().__init__(f"{words}; {cure}")
        self.words, self.cure, self.reason = words, cure, reason


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
            "the server refers to an invalid address", "run it again in a moment; if it stays so, ask who runs it"
        ) from None
    if parts.netloc and (parts.scheme == "https" or (parts.scheme == "http" and speaks_http(parts.netloc, plain))):
        return
    raise NoAnswer(
        f"the server refers to {origin(url)[:200]!r}, which is not HTTPS",
        f"if {parts.netloc or 'it'} is meant to speak HTTP, name it in http_registries of regions.yaml",
    )


def origin(url: str) -> str:
    """Return the part of an address that may be printed: its scheme, host and port."""
    parts = urllib.parse.urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def get(url: str, headers: Mapping[str, str], authorization: str, plain: Collection[str], most: int) -> Answer:
    """Send a GET request, and return the answer, as `ask` does.

    authorization: the header's value, "" for none. It goes only to the scheme, host and port of `url`.
    """
    request = urllib.request.Request(url, headers={**headers, "User-Agent": "monopod"})
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    return ask(request, plain, most)


def ask(
    request: urllib.request.Request, plain: Collection[str], most: int, *, seconds: float = 0.0, redirects: bool = True
) -> Answer:
    """Send a request, and return its answer of any status. Raises NoAnswer where none comes, or one of more than `most` bytes.

    plain: the hosts that are asked over plain HTTP. seconds: without a byte, 0 for READ_TIMEOUT. redirects: whether they are
    followed.
    """
    local = [urllib.request.ProxyHandler({})] if speaks_http(urllib.parse.urlsplit(request.full_url).netloc, ()) else []
    opener = urllib.request.build_opener(_Redirects(plain) if redirects else _NoRedirects(), *local)
    try:
        return _answer(opener, request, most, seconds or READ_TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        words = f"{origin(request.full_url)} does not answer: {reason or type(reason).__name__}"
        raise NoAnswer(words, _cure(reason), reason) from error


def _answer(opener: urllib.request.OpenerDirector, request: urllib.request.Request, most: int, seconds: float) -> Answer:
    try:
        with opener.open(request, timeout=seconds) as answer:
            body = answer.read(most + 1)
            if len(body) > most:
                raise NoAnswer(
                    f"{origin(request.full_url)} sends more than {most} bytes", "is it the server that it should be?"
                )
            return Answer(answer.url, answer.status, answer.headers, body)
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):  # after too many redirects it is closed already
            return Answer(error.geturl(), error.code, error.headers, b"" if error.closed else error.read(MAX_ERROR_BYTES))


def in_time(question: Callable[[], T], seconds: float, what: str) -> T:
    """Return the result of a question. Raises NoAnswer after `seconds`, and what the question raises. what: the server."""
    answers = ask_all({what: question}, seconds)
    error = answers.failed.get(what)
    if isinstance(error, TooSlow):
        raise NoAnswer(f"{what} has not answered in {seconds:g} s", "is the network up? run it again in a moment")
    if error:
        raise error
    return answers.found[what]


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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, whose answer looks like a delivery."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
