"""mosec, with dynamic batching."""

import numpy as np

from bench.peers import works
from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Exchange, Peer

PEERS = (
    Peer(
        name="mosec",
        title="mosec",
        folder="mosec",
        package="mosec",
        command=(
            *("{python}", "serve.py", "--address", "127.0.0.1", "--port", "{port}"),
            *("--path", "{scratch}/mosec", "--log-level", "error"),
        ),
        exchanges={
            "small-json": json_rows("/json"),
            "small-binary": Exchange(
                path="/binary",
                content_type="application/octet-stream",
                body=lambda: works.row().tobytes(),
                read=lambda body, headers: np.frombuffer(body, np.float32),
            ),
            "jpeg": jpeg_bytes("/jpeg"),
        },
        settings=(
            "Rows: one worker process, max_batch_size 32, max_wait_time 1 ms; JSON by msgspec, binary as raw float32. "
            "Pictures: two worker processes, one a core, without batches, which were no faster."
        ),
        documentation=(
            "https://mosecorg.github.io/mosec/reference/interface.html",
            "https://mosecorg.github.io/mosec/",
        ),
    ),
)
