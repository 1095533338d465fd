"""A receiver of the bulk protocol of Elasticsearch and OpenSearch, over a socket, for what a node cannot be made to do.

It keeps the documents, and does not store, search or map them as a node does.

Concurrency. Each connection has a thread. Lists are touched under the lock, held for microseconds.
`stop` ends the listening thread; the others are daemons, and end with their connections.
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

Item = dict[str, Any]


class Document(NamedTuple):
    """A document as it was sent. kept_in: its index. name: its id."""

    kept_in: str
    name: str
    fields: Item


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    receiver: "BulkReceiver"

    def do_GET(self) -> None:
        self._answer({"version": {"number": "2.19.1", "distribution": "opensearch"}})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted, status = self.receiver.authorization, self.receiver.status_of(body)
        if wanted and self.headers["Authorization"] != wanted:
            self.receiver.refusals += 1
            self._send(401, "text/plain", b"Unauthorized")
        elif status > 200:
            self.receiver.refusals += 1
            self._answer({"error": {"type": "t", "reason": "r"}, "status": status})
        else:
            self._answer(self.receiver.taken(body))

    def _answer(self, value: Item) -> None:
        self._send(value.get("status", 200), "application/json", json.dumps(value).encode())

    def _send(self, status: int, form: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class BulkReceiver:
    """The server. It takes each document, but those whose message `statuses` names.

    certificate: a file of a key and a certificate, with which TLS alone is spoken. login: <user>:<password> that it asks for.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", certificate: str = "", login: str = ""):
        self.documents: list[Document] = []
        self.requests: list[int] = []  # for each bulk request that it read, how many documents it had
        self.statuses: dict[str, list[int]] = {}  # by the message of a document: the statuses of its next answers
        self.status_of: Callable[[bytes], int] = lambda body: 200  # of a whole request; over 200, nothing of it is taken
        self.refusals = 0  # whole requests; the shipper sends one at a time
        self.authorization = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"receiver": self}))
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake is made on the connection's own thread, by its first read.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
            self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may end the handshake
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def taken(self, body: bytes) -> Item:
        """Keep the documents of a request to /_bulk, and return the answer. Raises ValueError where it is no such request."""
        lines = body.decode().split("\n")
        pairs = [(json.loads(head), json.loads(fields)) for head, fields in zip(lines[::2], lines[1::2], strict=False) if head]
        with self._lock:
            self.requests.append(len(pairs))
            return self._answers(pairs)

    def _answers(self, pairs: list[tuple[Item, Item]]) -> Item:
        items = []
        for head, fields in pairs:
            assert list(head) == ["index"]
            assert set(head["index"]) == {"_index", "_id"}  # a type would be refused since Elasticsearch 8
            index, name = head["index"]["_index"], head["index"]["_id"]
            status = (self.statuses.get(fields.get("message", "")) or [201]).pop(0)
            if status < 300:
                self.documents.append(Document(index, name, fields))
            error = {"error": {"type": "t", "reason": "r"}} if status >= 300 else {"result": "created"}
            items.append({"index": {"_index": index, "_id": name, "status": status, **error}})
        return {"took": 1, "errors": any(item["index"]["status"] >= 300 for item in items), "items": items}

    def stored(self) -> list[Document]:
        """Return all documents, in the order in which they came."""
        with self._lock:
            return list(self.documents)

    def stop(self) -> None:
        """Close the port, so that a further connection is refused."""
        self._server.shutdown()
        self._server.server_close()
