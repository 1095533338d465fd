"""The bare loop: what Python can do on these cores without a platform."""

from dataclasses import replace

from bench.peers.forms import jpeg_bytes, open_inference, open_inference_binary
from bench.peers.peer import Peer

BARE = Peer(
    name="bare",
    title="bare uvloop loop",
    folder="bare",
    package="uvloop",
    command=("{python}", "{folder}/loop.py"),
    exchanges={
        "small-json": open_inference("/infer"),
        "small-binary": open_inference_binary("/infer"),
        "jpeg": jpeg_bytes("/jpeg"),
    },
    settings=(
        "uvloop, httptools, and this project's own codec and engine. The rows of one turn of the loop are one batch, "
        "which the loop runs itself. Two threads decode pictures and run the net on them. "
        "It has no limits, deadlines, metrics or logs."
    ),
    documentation=("https://uvloop.readthedocs.io/",),
    ready="/",
)
PINNED = replace(
    BARE,
    name="bare-pinned",
    title="bare uvloop loop, pinned codec",
    exchanges={"small-json": open_inference("/infer")},
    settings=(
        "The bare uvloop loop with the codec that this project had at commit 3272f28, which bench/peers/bare/pinned.py keeps. "
        "It is a limit that does not move with the project."
    ),
    environment={"PEER_CODEC": "pinned"},
)
PEERS = (BARE, PINNED)
