"""The HTTP client of `monopod bench`, and the bodies that it sends, made of files, JSON texts and forms.

Only this module imports aiohttp. It knows why no answer came.
"""

import asyncio
import contextlib
import io
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp

from serving.inputs.files import content_type
from serving.tools.bench.load_generator import Answer, Send

PICTURE = "image/"
BOUNDARY = "monopod-bench-the-next-part-follows"
REACH_SECONDS = 5.0
OWN_ROUTE = "answer"  # the operationId of a service's own route in /openapi.json
CURE = "add --file FILE, --data '{...}' or --form NAME=@FILE; GET needs a --url of a route"
MAX_TEXT = 300  # characters of a server's words
MAX_KEPT = 2**16  # bytes of an answer
LARGE = 2**20  # bytes; aiohttp warns of larger bodies that are not files
REASONS: list[tuple[type[BaseException], str]] = [
    (TimeoutError, "timeout"),
    (aiohttp.ClientConnectorCertificateError, "certificate not trusted"),
    (aiohttp.ClientSSLError, "no TLS there"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (BrokenPipeError, "connection reset"),
    (aiohttp.ServerDisconnectedError, "closed without an answer"),
    (aiohttp.ClientPayloadError, "answer cut off"),
    (aiohttp.ClientResponseError, "malformed answer"),
]


class BenchError(Exception):
    """The command cannot be carried out. The text says why, and names the cure."""


@dataclass(frozen=True)
class Body:
    """The body of one request, whole in memory, so that sending it reads no disk.

    pieces: its bytes, cut after the end of each picture.
    """

    pieces: tuple[bytes, ...]
    content_type: str

    @cached_property
    def content(self) -> bytes:
        return b"".join(self.pieces)

    def varied(self, mark: bytes) -> bytes:
        """Return the content with a mark behind each picture. Decoders skip it, and to a cache each mark is a new file."""
        return mark.join(self.pieces)


def bodies(files: Sequence[Path], texts: Sequence[str], fields: Sequence[str]) -> list[Body]:
    """Return a body for each file, then for each text, then one for all of a form's fields.

    texts: JSON, or @FILE that holds JSON. fields: NAME=TEXT or NAME=@FILE. Raises BenchError and OSError.
    """
    found = []
    for path in files:
        kind = content_type(path)
        end = (b"",) if kind.startswith(PICTURE) else ()
        found.append(Body((_content(path), *end), kind))
    found += [Body((_json(text),), "application/json") for text in texts]
    return found + ([form(fields)] if fields else [])


def form(fields: Sequence[str]) -> Body:
    """Return a multipart body (RFC 7578). fields: NAME=TEXT or NAME=@FILE, a part each. Raises BenchError, OSError."""
    parts = [_part(field) for field in fields]
    boundary = BOUNDARY
    while any(boundary.encode() in content for _, _, content in parts):
        boundary += "-"
    pieces, line = [b""], b"--" + boundary.encode()
    for head, kind, content in parts:
        pieces[-1] += line + b"\r\n" + head.encode() + b"\r\n\r\n" + content
        if kind.startswith(PICTURE):
            pieces.append(b"")
        pieces[-1] += b"\r\n"
    pieces[-1] += line + b"--\r\n"
    return Body(tuple(pieces), f"multipart/form-data; boundary={boundary}")


def _part(field: str) -> tuple[str, str, bytes]:
    """Return a part's headers, its content type ("" for text), and its content."""
    name, equals, value = field.partition("=")
    if not name or not equals or '"' in name:
        raise BenchError(f"--form {field!r}: write NAME=TEXT or NAME=@FILE, such as image=@picture.jpg")
    head = f'Content-Disposition: form-data; name="{name}"'
    if not value.startswith("@"):
        return head, "", value.encode()
    path = Path(value[1:])
    kind, file = content_type(path), path.name.replace('"', "%22")
    return f'{head}; filename="{file}"\r\nContent-Type: {kind}', kind, _content(path)


def _json(text: str) -> bytes:
    content = _content(Path(text[1:])) if text.startswith("@") else text.encode()
    try:
        json.loads(content)
    except ValueError as error:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise BenchError(f'--data {shown!r} is not JSON: {error}; write it as \'{{"question": "..."}}\' or @FILE') from None
    return content


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    if not content:
        raise BenchError(f"{path}: is empty; name a file that holds something")
    return content


def reach(url: str) -> None:
    """Open one connection to a URL's host, and close it. Raises BenchError where that is not possible."""
    host, port = _host_and_port(url)
    try:
        socket.create_connection((host, port), REACH_SECONDS).close()
    except OSError as error:
        words = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
        cure = "start the service with `make serve`, or name where it runs with --url"
        shown = f"[{host}]" if ":" in host else host
        raise BenchError(f"{urlsplit(url).scheme}://{shown}:{port} cannot be reached ({words}); {cure}") from None


def own_route(url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return the URL of the service's own route, and the bodies that it takes, as /openapi.json tells them.

    An application's bodies are not known, and the result has none then.
    url: of that route, or of a folder above it, such as http://localhost:8080. Raises BenchError where none is told.
    """
    parts = urlsplit(url)
    page = parts._replace(path=f"{parts.path.rstrip('/')}/openapi.json", query="", fragment="").geturl()
    try:
        told = asyncio.run(_told(without_password(page), headers))
        posts = {path: item["post"] for path, item in told["paths"].items() if "post" in item}
        mounted: dict[str, dict[str, Any]] = {told["x-application"]: {}} if "x-application" in told else {}
        ((path, content),) = mounted.items() or [
            (path, post["requestBody"]["content"]) for path, post in posts.items() if post.get("operationId") == OWN_ROUTE
        ]
        server = told["servers"][0]["url"]
        base = urljoin(page, "." if server == "/" else server)
        return urlsplit(urljoin(base, path[1:]))._replace(query=parts.query).geturl(), content
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BenchError(f"nothing to send, and {without_password(page)} tells no example ({error}); {CURE}") from None


async def _told(page: str, headers: Mapping[str, str]) -> Any:
    timeout = aiohttp.ClientTimeout(total=REACH_SECONDS)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout, raise_for_status=True) as session,
        session.get(page) as answer,
    ):
        return await answer.json(content_type=None)


def example(content: Mapping[str, Any]) -> Body:
    """Return the JSON body that a service gives as its example. content: as `own_route` tells it. Raises BenchError."""
    if "example" not in content["application/json"]:
        raise BenchError(f"nothing to send: the service gives no example of JSON; {CURE}")
    return Body((json.dumps(content["application/json"]["example"]).encode(),), "application/json")


def without_password(url: str) -> str:
    """Return a URL without the username and password that it may hold."""
    return re.sub(r"^(\w+://)[^/?#]*@", r"\1", url)


def _host_and_port(url: str) -> tuple[str, int]:
    """Return a URL's host and port. Raises BenchError."""
    with contextlib.suppress(ValueError):  # a port that is not a number, half an IPv6 address
        parts = urlsplit(url)
        port = {"http": 80, "https": 443}.get(parts.scheme, 0) if parts.port is None else parts.port
        if parts.scheme in ("http", "https") and parts.hostname and port:
            return parts.hostname, port
    raise BenchError(
        f"--url {without_password(url)!r} is not the URL of a service; write it as http://localhost:8080/api/like/demo"
    )


@contextlib.asynccontextmanager
async def client(
    url: str, bodies: Sequence[Body], headers: Mapping[str, str], timeout: float, vary: bool = False
) -> AsyncIterator[Send]:
    """Yield a function that sends one request: POST of the bodies in turn, or GET where there is none.

    timeout: seconds for one answer. vary: send each picture as a file that no cache knows. Connections are kept, and opened as
    needed: the load generator decides how many there are.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "monopod-bench", "Accept-Encoding": "identity", **headers},
        timeout=aiohttp.ClientTimeout(total=timeout),
    )
    session._retry_connection = False  # else a GET that failed is sent again, and the failure is not seen
    async with session:
        yield _Sender(session, url, bodies, os.urandom(8).hex() if vary else "").send


@dataclass(frozen=True)
class _Sender:
    """Sends requests in a session. mark: of this run, put behind each picture with the request's number; "" for none."""

    session: aiohttp.ClientSession
    url: str
    bodies: Sequence[Body]
    mark: str

    async def send(self, number: int) -> Answer:
        try:
            async with self._request(number) as response:
                content = await _beginning(response)
                good = 200 <= response.status < 300
                return Answer(str(response.status), "" if good else text_of(content))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(_reason(error))

    def _request(self, number: int) -> Any:
        if not self.bodies:
            return self.session.get(self.url, allow_redirects=False)
        body = self.bodies[number % len(self.bodies)]
        content = body.varied(f"{self.mark}{number:08x}".encode()) if self.mark else body.content
        data = content if len(content) < LARGE else io.BytesIO(content)
        headers = {} if "content-type" in self.session.headers else {"Content-Type": body.content_type}
        return self.session.post(self.url, data=data, headers=headers, allow_redirects=False)


def text_of(content: bytes) -> str:
    """Return the words of an answer: the `error` of our JSON, or else the body as text."""
    text = content.decode(errors="replace")
    with contextlib.suppress(ValueError):
        told = json.loads(text)
        if isinstance(told, dict):
            text = str(told.get("error") or told.get("msg") or text)
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 3] + "..."


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer to its end, and return its first MAX_KEPT bytes: an answer may be large."""
    kept = b""
    async for piece in response.content.iter_any():
        kept += piece[: MAX_KEPT - len(kept)]
    return kept


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno:
        cause = OSError(cause.errno, cause.strerror)  # aiohttp's own classes hide which error it is
    for kind, words in REASONS:
        if isinstance(cause, kind) or isinstance(error, kind):
            return words
    return str(getattr(cause, "strerror", "") or type(error).__name__).lower()
