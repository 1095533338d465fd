"""Ray Serve with its settings for throughput: HAProxy in front of two replicas."""

from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Peer

PEERS = (
    Peer(
        name="ray",
        title="Ray Serve",
        folder="ray",
        package="ray",
        command=("{python}", "serve_start.py"),
        exchanges={"small-json": json_rows("/"), "jpeg": jpeg_bytes("/")},
        settings=(
            "RAY_SERVE_THROUGHPUT_OPTIMIZED=1 and RAY_SERVE_ENABLE_HA_PROXY=1, so HAProxy is in front; two replicas, "
            "max_ongoing_requests 256. Rows: serve.batch, max_batch_size 16, batch_wait_timeout_s 0.001. "
            "Pictures: one by one. No access log, no dashboard, no usage statistics."
        ),
        documentation=(
            "https://docs.ray.io/en/latest/serve/advanced-guides/performance.html",
            "https://docs.ray.io/en/master/kuberay/user-guides/serve-high-throughput.html",
            "https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html",
        ),
        lacks="Ray Serve has no binary tensors of its own.",
        environment={
            "HOME": "{scratch}",  # Ray writes a token there
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the node's address is then that of loopback, on Linux too
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
        },
    ),
)
