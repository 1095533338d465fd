"""The contract of a peer: the data that bench/peers/<folder>/peer.py gives as `PEERS`, one entry for each way it is set up."""

import importlib
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from serving.models.tensors import Array

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Exchange:
    """One kind of request in the form that a peer takes.

    body makes the request's body, which is sent unchanged every time.
    read takes an answer's body and its headers, with names in lower case. It returns the values of the one row, of any shape.
    """

    path: str
    content_type: str
    body: Callable[[], bytes]
    read: Callable[[bytes, Mapping[str, str]], Array]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One server in one set-up.

    In each word of command, and in each value of environment, these names stand for what the harness chooses.
    {python}: the interpreter of the peer's environment. {bin}: the folder of its programs. {folder}: the peer's folder.
    {service}: "small" or "jpeg", which is to be served now. {model}: the service's ONNX file.
    {port}: the port that is measured. {second_port}, {third_port}: free ports for other uses.
    {scratch}: an empty folder, which is removed afterwards.
    The server finds some of them in the variables PEER_MODEL, PEER_SERVICE, PEER_PORT and PEER_SCRATCH too. PYTHONPATH leads
    to bench/peers/parts, whose module peer_parts decodes pictures and opens sessions for every peer alike.
    """

    name: str  # for PEERS= of make, of its result file, and for goals.py
    title: str  # on the page
    folder: str  # of bench/peers, with requirements.txt and the server's code
    package: str  # its line in requirements.txt gives the version that the page shows
    command: tuple[str, ...]  # starts the server in the foreground on 127.0.0.1
    exchanges: Mapping[str, Exchange]  # by the name of the work, see works.py; other work is not measured
    settings: str  # sentences: how the server is set up for two cores
    documentation: tuple[str, ...] = ()  # the pages that recommend these settings
    ready: str = ""  # a path that answers 200 once the server may be measured; "" tries the work itself
    lacks: str = ""  # sentences: why some work is not measured
    environment: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = ""  # of the environment, where it must be another one than this Python
    stop_signal: signal.Signals = signal.SIGTERM  # after it the server's first process ends within some seconds

    @property
    def requirements(self) -> Path:
        return HERE / self.folder / "requirements.txt"

    @property
    def version(self) -> str:
        """Return the version of the peer's package: pinned in requirements.txt, or of this project's own environment."""
        if not self.requirements.is_file():
            return metadata.version(self.package)
        return pinned(self.requirements.read_text(encoding="utf-8"), self.package)


def pinned(requirements: str, package: str) -> str:
    """Return the version that the text of a requirements.txt pins a package to, "" where it does not."""
    found = re.search(rf"^{re.escape(package)}(?:\[[^]]*\])?==(\S+)", requirements, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else ""


def found() -> list[Peer]:
    """Return all peers, in the order of their folders' names."""
    folders = sorted(path.parent.name for path in HERE.glob("*/peer.py"))
    return [peer for folder in folders for peer in importlib.import_module(f"bench.peers.{folder}.peer").PEERS]
