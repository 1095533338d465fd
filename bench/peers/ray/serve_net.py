"""Ray Serve: two replicas that collect batches of rows on their loops.

A request holds one row, or is a picture's bytes.
"""

import os

import numpy as np
import peer_parts
from ray import serve
from ray.serve._private import replica
from starlette.requests import Request
from starlette.responses import JSONResponse

SMALL = os.environ["PEER_SERVICE"] == "small"
ROWS = 16  # half of 32 connections for each replica
WAIT = 0.001  # seconds


def listen_on_loopback_alone():
    """Ray Serve has no setting for the address of a replica's gRPC server, which would take calls from other machines."""
    add = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add(server, address.replace("[::]", "127.0.0.1"))


@serve.deployment(num_replicas=2, max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.5})
class Net:
    def __init__(self):
        listen_on_loopback_alone()
        self.session = peer_parts.session()

    async def __call__(self, request: Request):
        if SMALL:
            return JSONResponse({"outputs": [await self.small((await request.json())["inputs"][0])]})
        return JSONResponse({"outputs": peer_parts.run(self.session, peer_parts.pixels(await request.body())).tolist()})

    @serve.batch(max_batch_size=ROWS, batch_wait_timeout_s=WAIT)
    async def small(self, rows):
        return peer_parts.run(self.session, np.array(rows, np.float32)).tolist()


app = Net.bind()
