"""The bare loop: what Python does on these cores with uvloop, httptools and this project's codec, and no platform around them.

A connection is a plain protocol. The small net's rows that came in one turn of the loop are one batch, which the loop itself
runs. A picture is decoded and run on a pool of one thread a core, and its answer goes back by call_soon_threadsafe.
There are no limits, deadlines, metrics or logs, and only the codec checks a request. With PEER_CODEC=pinned, rows are those of
pinned.py, an earlier codec beside this script.
"""

import asyncio
import importlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import httptools
import peer_parts
import uvloop

from serving.base import json_codec
from serving.inputs import v2_open_inference
from serving.inputs.tensor_codec import LENGTH_HEADER
from serving.inputs.v2_open_inference import InferRequest
from serving.models.engine import Engine, Hardware
from serving.models.tensors import ModelSpec, join_rows, split_rows

JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
BINARY = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n%s: %%d\r\nContent-Length: %%d\r\n\r\n"
BINARY %= LENGTH_HEADER.encode()
LENGTH_NAME = LENGTH_HEADER.lower().encode()


class Tensors:
    """The small net: calls wait in a list until the loop's turn ends, and run as one batch."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: Path):
        self._loop = loop
        self._engine = Engine(model, Hardware(threads=1))
        self._spec = ModelSpec("small", self._engine.inputs, self._engine.outputs, True)
        self._waiting: list[tuple[asyncio.Transport, InferRequest, int]] = []

    def take(self, connection: "Connection", body: bytes) -> None:
        request = v2_open_inference.decode(body, connection.header_length, self._spec, None)
        if not self._waiting:
            self._loop.call_soon(self._run)
        self._waiting.append((connection.transport, request, self._spec.rows(request.inputs)))

    def _run(self) -> None:
        calls, self._waiting = self._waiting, []
        outputs = self._engine.run(join_rows([request.inputs for _, request, _ in calls]))
        for (transport, request, _), part in zip(calls, split_rows(outputs, [count for *_, count in calls]), strict=True):
            body, head_length = v2_open_inference.encode(request, self._spec, "1", part)
            head = JSON % len(body) if head_length is None else BINARY % (head_length, len(body))
            transport.write(head + body)


class Pictures:
    """The jpeg net: one thread a core decodes a picture and runs the net on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, model: Path):
        self._loop = loop
        self._session = peer_parts.session(str(model))
        self._threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def take(self, connection: "Connection", body: bytes) -> None:
        self._threads.submit(self._work, connection.transport, body)

    def _work(self, transport: asyncio.Transport, picture: bytes) -> None:
        outputs = peer_parts.run(self._session, peer_parts.pixels(picture))
        body = json_codec.dumps({"outputs": outputs})
        self._loop.call_soon_threadsafe(transport.write, JSON % len(body) + body)


class Connection(asyncio.Protocol):
    """One connection. httptools calls the methods named on_."""

    transport: asyncio.Transport

    def __init__(self, service: Tensors | Pictures):
        self._service = service
        self._parser = httptools.HttpRequestParser(self)
        self.header_length: str | None = None
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.header_length, self._parts = None, []

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == LENGTH_NAME:
            self.header_length = value.decode()

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._parser.get_method() == b"GET":  # whether the server is ready
            self.transport.write(JSON % 0)
        else:
            self._service.take(self, b"".join(self._parts))


def _kind() -> Any:
    if os.environ["PEER_SERVICE"] != "small":
        return Pictures
    return importlib.import_module("pinned").Rows if os.environ.get("PEER_CODEC") == "pinned" else Tensors


async def serve() -> None:
    loop = asyncio.get_running_loop()
    service = _kind()(loop, Path(os.environ["PEER_MODEL"]))
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", int(os.environ["PEER_PORT"]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
