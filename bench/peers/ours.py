"""This server as a peer, of this checkout or of another one, serving bench/peers/services.

Knows the command that serves a folder. Does not know what is measured.
"""

import signal
import subprocess
import sys
from pathlib import Path

from bench.peers import forms
from bench.peers.peer import HERE, Exchange, Peer
from bench.served import BenchError
from bench.work import ROOT

INFER = "/v2/models/small/infer"
EXCHANGES: dict[str, Exchange] = {
    "small-json": forms.open_inference(INFER),
    "small-binary": forms.open_inference_binary(INFER),
    "jpeg": forms.jpeg_bytes("/api/bench/jpeg", "results"),
}


def ours() -> Peer:
    """Return this checkout's server."""
    return _server(ROOT, Path(sys.executable).parent, "ours", "Monopod")


def before(tree: Path) -> Peer:
    """Return the server of another checkout, which has an environment .venv of its own. Raises BenchError."""
    programs = tree / ".venv" / "bin"
    if not (programs / "python").is_file():
        raise BenchError(f"{tree}: has no .venv/bin/python; run `make serve` there once")
    return _server(tree, programs, "before", f"Monopod before, {state(tree)}")


def _server(tree: Path, programs: Path, name: str, title: str) -> Peer:
    service = str(HERE / "services" / "{service}")
    return Peer(
        name=name,
        title=title,
        folder=str(tree),  # an absolute path, so that the server runs in its own checkout
        package="monopod",
        command=(
            *(str(programs / "python"), "-m", "monopod", "serve", "--service", service, "--host", "127.0.0.1"),
            *("--port", "{port}", "--admin-port", "{second_port}"),
        ),
        exchanges=EXCHANGES,
        settings="bench/peers/services as they are.",
        ready="/api/ping",
        group="before",
        stop_signal=signal.SIGINT,  # without the drain delay
    )


def state(tree: Path) -> str:
    """Return the last commit of a checkout, in short, and its date."""
    told = subprocess.run(["git", "show", "--no-patch", "--format=%h of %cs"], cwd=tree, capture_output=True, text=True)
    return told.stdout.strip() or "of no known commit"
