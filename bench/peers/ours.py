"""This server as a peer, of this checkout or of another state, serving bench/peers/services."""

import shutil
import signal
from pathlib import Path

from bench.peers import forms, made
from bench.peers.peer import Exchange, Peer
from bench.served import HERE, Tree

SERVICES = made.HERE / "services"
INFER = "/v2/models/small/infer"
EXCHANGES: dict[str, Exchange] = {
    "small-json": forms.open_inference(INFER),
    "small-binary": forms.open_inference_binary(INFER),
    "jpeg": forms.jpeg_bytes("/api/bench/jpeg", "results"),
}


def ours() -> Peer:
    """Return this checkout's server."""
    return _server(HERE, "ours", "Monopod")


def before(tree: Tree) -> Peer:
    """Return the server of another state, with its own services, since those of now may use what it does not have."""
    services = tree.folder / "bench" / "peers" / "services"
    for name in made.MAKERS if services.is_dir() else ():
        model = services / name / "model" / f"{name}.onnx"
        model.parent.mkdir(exist_ok=True)
        shutil.copy(made.model(name), model)
    return _server(tree, "before", f"Monopod before, {tree.about}", services if services.is_dir() else SERVICES)


def _server(tree: Tree, name: str, title: str, services: Path = SERVICES) -> Peer:
    service = str(services / "{service}")
    return Peer(
        name=name,
        title=title,
        folder=str(tree.folder),  # an absolute path, so that the server runs in its own checkout
        package="monopod",
        command=(
            *(tree.python, "-m", "monopod", "serve", "--service", service, "--host", "127.0.0.1"),
            *("--port", "{port}", "--admin-port", "{second_port}"),
        ),
        exchanges=EXCHANGES,
        settings="bench/peers/services as they are.",
        ready="/api/ping",
        environment=tree.environment,
        stop_signal=signal.SIGINT,  # without the drain delay
    )
