"""LitServe: two API servers take requests and hand them to worker processes by ZeroMQ.

A request holds one row, or is a picture's bytes.
"""

import os
from typing import Annotated

import litserve
import numpy as np
import peer_parts
from fastapi import Body


class Net(litserve.LitAPI):
    def setup(self, device):
        self.session = peer_parts.session()

    def predict(self, rows):
        return peer_parts.run(self.session, rows)

    def encode_response(self, output):
        return {"outputs": output.tolist()}


class Small(Net):
    def decode_request(self, request):
        return np.array(request["inputs"], np.float32)


class Jpeg(Net):
    def decode_request(self, request: Annotated[bytes, Body()]):
        return peer_parts.pixels(request)


if __name__ == "__main__":
    api, workers = (Small, 1) if os.environ["PEER_SERVICE"] == "small" else (Jpeg, 2)
    server = litserve.LitServer(api(api_path="/predict"), accelerator="cpu", workers_per_device=workers, fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PEER_PORT"]),
        num_api_servers=2,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )
