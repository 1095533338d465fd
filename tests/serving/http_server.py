"""An HTTP server of a few lines, for tests of clients."""

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[[bytes, str], tuple[int, bytes]]


@contextlib.contextmanager
def http_server(reply: Reply, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Yield the URL of a server that answers each request by a function, on a thread for each connection.

    reply: body and content type -> status and body. tls: the server speaks HTTPS with this context.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content = reply(body, self.headers.get("Content-Type", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads, request_queue_size, block_on_close = True, 256, False

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that Ctrl-C ended

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
