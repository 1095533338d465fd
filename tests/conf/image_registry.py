"""A registry of images on a real socket of this machine, which holds manifests alone.

Sources: the OCI distribution specification, and Docker's specification of registry tokens.
"""

import base64
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.conf.local_servers import LocalServer, QuietHandler, running_server

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def manifest(content: str, kind: str = DOCKER) -> bytes:
    """Return a manifest that differs from the manifest of any other content."""
    return json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {"digest": digest(content.encode())}}).encode()


def own_address() -> str:
    """Return an address of this machine that is not its loopback: clients speak HTTPS to it unless regions.yaml names it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))  # nothing is sent
        return str(asked.getsockname()[0])


class Registry(LocalServer):
    """A registry. received: path and Authorization of each request, in order.

    With user it wants a password, and asks for it as `by` says: Basic or Bearer. With status it answers every request so.
    With cut it resets each connection after the head of an answer.
    """

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(Handler, address)
        self.host = f"{address}:{self.server_port}"
        self.held: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.received: list[tuple[str, str]] = []
        self.user, self.password, self.by = "", "", "Bearer"
        self.realm = f"http://{self.host}/token"
        self.status, self.redirect, self.headers = 0, "", dict[str, str]()
        self.cut = False

    def push(self, repository: str, tag: str, content: str, kind: str = DOCKER) -> str:
        """Hold an image under a tag, and return its digest."""
        body = manifest(content, kind)
        self.held[repository, tag] = self.held[repository, digest(body)] = (kind, body)
        return digest(body)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that speaks TLS to it, or that has closed its connection."""


class Handler(QuietHandler):
    server: Registry

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        who = self.headers.get("Authorization", "")
        self.server.received.append((self.path, who))
        _, _, rest = asked.path.partition("/v2/")
        repository, _, reference = rest.partition("/manifests/")
        if self.server.status:
            return self._answer(self.server.status, b'{"errors": [{"code": "SORRY", "message": "not today"}]}')
        if self.server.redirect:
            return self._answer(307, b"", Location=self.server.redirect)
        if asked.path == "/token":
            return self._token(who, parse_qs(asked.query))
        if self.server.user and who != self._wanted(f"repository:{repository}:pull"):
            realm = f'{self.server.by} realm="{self.server.realm}",service="the registry"'
            return self._answer(401, b"{}", **{"WWW-Authenticate": realm})
        if (repository, reference) not in self.server.held:
            return self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
        kind, body = self.server.held[repository, reference]
        return self._answer(200, body, **{"Content-Type": kind, "Docker-Content-Digest": digest(body), **self.server.headers})

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.server.user}:{self.server.password}".encode()).decode()

    def _wanted(self, scope: str) -> str:
        return self._basic() if self.server.by == "Basic" else f"Bearer token-{digest(scope.encode())}"

    def _token(self, who: str, query: dict[str, list[str]]) -> None:
        if who != self._basic() or query.get("service") != ["the registry"]:
            return self._answer(401, b"{}")
        return self._answer(200, json.dumps({"token": f"token-{digest(query['scope'][0].encode())}"}).encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        while self.server.slow and not self.server.over.wait(0.2):
            self.wfile.write(body[:1])
        if self.server.cut:
            self.server.over.wait(0.1)  # until the head is read: a reset takes back what is not
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.wfile.write(body)


@contextmanager
def running_registry(address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Registry]:
    """Run a registry for the length of a block. tls: where it is given, the registry speaks TLS alone."""
    server = Registry(address)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    with running_server(server):
        yield server
