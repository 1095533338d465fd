"""LitServe, with two API servers."""

from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Peer

PEERS = (
    Peer(
        name="litserve",
        title="LitServe",
        folder="litserve",
        package="litserve",
        command=("{python}", "serve.py"),
        exchanges={"small-json": json_rows("/predict"), "jpeg": jpeg_bytes("/predict")},
        settings=(
            "accelerator cpu, fast_queue (ZeroMQ), two API servers; for rows one worker process, for pictures two. Without "
            "batching: rows in batches of up to 32 within 1 ms, and pictures in batches of 8, were no faster. No access log."
        ),
        documentation=(
            "https://lightning.ai/docs/litserve/api-reference/litserver",
            "https://lightning.ai/docs/litserve/features/batching",
        ),
        ready="/health",
        lacks="LitServe has no binary tensors of its own.",
    ),
)
