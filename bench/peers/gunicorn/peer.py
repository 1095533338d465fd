"""gunicorn and Flask: two worker processes of one thread, and of several threads."""

from dataclasses import replace

from bench.peers.forms import jpeg_bytes, json_rows
from bench.peers.peer import Peer

SYNC = Peer(
    name="gunicorn",
    title="gunicorn and Flask, two workers",
    folder="gunicorn",
    package="gunicorn",
    command=(
        *("{python}", "-m", "gunicorn", "serve:app", "--chdir", "{folder}", "--bind", "127.0.0.1:{port}"),
        *("--workers", "2", "--worker-tmp-dir", "/dev/shm"),
    ),
    exchanges={"small-json": json_rows("/predict"), "jpeg": jpeg_bytes("/jpeg")},
    settings=(
        "Two sync workers, one a core, each with one thread and a session of its own. A sync worker closes each connection "
        "after its answer. The workers' heartbeat files are in memory; there is no access log."
    ),
    documentation=("https://docs.gunicorn.org/en/stable/design.html", "https://gunicorn.org/faq"),
    ready="/ready",
    lacks="Flask has no binary tensors of its own.",
)
THREADS = replace(
    SYNC,
    name="gunicorn-threads",
    title="gunicorn and Flask, two workers of four threads",
    command=(*SYNC.command, "--worker-class", "gthread", "--threads", "4"),
    settings=(
        "Two gthread workers, one a core, each with four threads and one session. They keep connections open. The workers' "
        "heartbeat files are in memory; there is no access log."
    ),
)
PEERS = (SYNC, THREADS)
