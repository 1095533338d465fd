"""mosec: workers in processes of their own, to which its controller in Rust hands batches.

A request holds one row or one picture. JSON is read and written by msgspec, which mosec itself uses for typed requests.
"""

import os

import msgspec
import numpy as np
import peer_parts
from mosec import Runtime, Server, Worker

BATCHES = {"max_batch_size": 32, "max_wait_time": 1}  # rows, milliseconds


class Json(Worker):
    def __init__(self):
        self.session = peer_parts.session()

    def deserialize(self, data):
        return msgspec.json.decode(data)

    def serialize(self, data):
        return msgspec.json.encode(data)

    def forward(self, data):
        rows = np.array([request["inputs"][0] for request in data], np.float32)
        return [{"outputs": [row]} for row in peer_parts.run(self.session, rows).tolist()]


class Binary(Json):
    """Raw float32 in and out."""

    resp_mime_type = "application/octet-stream"

    def deserialize(self, data):
        return data

    def serialize(self, data):
        return data

    def forward(self, data):
        rows = np.frombuffer(b"".join(data), np.float32).reshape(len(data), -1)
        return [row.tobytes() for row in peer_parts.run(self.session, rows)]


class Jpeg(Json):
    """A picture's bytes in; mosec hands them over one by one where batches have one row."""

    def deserialize(self, data):
        return data

    def forward(self, data):
        return {"outputs": peer_parts.run(self.session, peer_parts.pixels(data)).tolist()}


if __name__ == "__main__":
    server = Server()
    if os.environ["PEER_SERVICE"] == "small":
        server.register_runtime({"/json": [Runtime(Json, **BATCHES)], "/binary": [Runtime(Binary, **BATCHES)]})
    else:
        server.append_worker(Jpeg, num=2, route="/jpeg")
    server.run()
