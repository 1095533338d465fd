"""BentoML, two workers: adaptive batching for rows, none for pictures."""

from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Peer

PEERS = (
    Peer(
        name="bentoml",
        title="BentoML",
        folder="bentoml",
        package="bentoml",
        command=("{bin}/bentoml", "serve", "serve:Net", "--host", "127.0.0.1", "--port", "{port}"),
        exchanges={"small-json": json_rows("/json", answer=""), "jpeg": jpeg_bytes("/jpeg", answer="")},
        settings=(
            "Two workers, one a core. Rows: adaptive batching, max_batch_size 32, max_latency_ms 60000. "
            "Pictures: the body is the file, without batching. No access log, no metrics, no tracking."
        ),
        documentation=(
            "https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html",
            "https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html",
        ),
        ready="/readyz",
        lacks="BentoML's binary form of tensors is a pickle for its own client.",
        environment={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{scratch}"},
    ),
)
