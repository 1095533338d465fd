"""MLServer: the net in the server's own process for rows, in two processes for pictures."""

import base64
import json

from bench.peers import works
from bench.peers.forms import open_inference
from bench.peers.peer import Exchange, Peer

SMALL = open_inference("/v2/models/small/infer")


def _jpeg() -> bytes:
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [1, 1], "parameters": {"content_type": "base64"}}
    return json.dumps({"inputs": [{**tensor, "data": [base64.b64encode(works.jpeg()).decode()]}]}).encode()


PEERS = (
    Peer(
        name="mlserver",
        title="MLServer",
        folder="mlserver",
        package="mlserver",
        command=("{bin}/mlserver", "start", "{folder}/{service}"),
        exchanges={
            "small-json": SMALL,
            "jpeg": Exchange("/v2/models/jpeg/infer", "application/json", _jpeg, SMALL.read),
        },
        settings=(
            "Rows: parallel_workers 0, without adaptive batching, which was slower (max_batch_size 32, max_batch_time 1 ms). "
            "Pictures: parallel_workers 2, one a core; a picture is base64 in JSON. No debug (so no access log), no metrics, "
            "no gzip. uvloop is 0.21, because workers do not start with 0.23."
        ),
        documentation=(
            "https://docs.seldon.ai/mlserver/user-guide/parallel-inference",
            "https://docs.seldon.ai/mlserver/user-guide/adaptive-batching",
        ),
        ready="/v2/health/ready",
        lacks="MLServer's REST has no binary tensors.",
        environment={
            "PYTHONPATH": "{folder}:{folder}/../parts",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{second_port}",
            "MLSERVER_METRICS_DIR": "{scratch}",
            "MLSERVER_ENVIRONMENTS_DIR": "{scratch}",
        },
    ),
)
