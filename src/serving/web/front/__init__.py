"""HTTP on waitress: the I/O thread that admits, refuses and drains. The only package that imports waitress.

Knows sockets, headers and bytes. Does not know routes beyond "does it work or not", nor models.

Concurrency. One I/O thread owns every socket, parser and timer here. Worker threads run one request each and never wait for a
free one: the gate lets in no more requests than there are threads. A channel's `requests_lock` (waitress') guards its list of
whole requests, which both kinds of thread change. The I/O thread writes refusals. One exception is a request that was
sent behind another one on the same connection: the worker that finished the first refuses it.

Refusing. A refused request gets no 100 Continue, no buffer and no thread: the answer is written, and what still comes of the
body is thrown away. Where its end is known and near, the connection then serves on; else it is closed for writing, and read
for LINGER_SECONDS and LINGER_BYTES at most. Closing with unread bytes would reset it, and the answer could be lost with that.
"""

from serving.web.front.parser import Rules
from serving.web.front.server import SPARE_CONNECTIONS, Server, turn

__all__ = ["SPARE_CONNECTIONS", "Rules", "Server", "turn"]
