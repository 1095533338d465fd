"""The contract of a peer: the data that bench/peers/<folder>/peer.py gives as `PEERS`, one entry for each way it is set up.

Knows the fields and where peers are found. Does not know how a server is run, measured or reported.
"""

import importlib
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Literal

from serving.models.tensors import Array

HERE = Path(__file__).resolve().parent
Group = Literal["python", "bare", "triton", "before"]  # the page's goals name these groups


@dataclass(frozen=True)
class Exchange:
    """One kind of request in the form that a peer takes.

    body: makes the request's body, which is sent unchanged every time.
    read: an answer's body and its headers, with names in lower case, to the values of the one row, of any shape.
    """

    path: str
    content_type: str
    body: Callable[[], bytes]
    read: Callable[[bytes, Mapping[str, str]], Array]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One server in one set-up.

    name: for PEERS= of make, and of its result file. folder: of bench/peers with requirements.txt and the server's code.
    package: its line in requirements.txt gives the version that the page shows.
    command: the words that start the server in the foreground on 127.0.0.1. In each word these stand for:
      {python} the interpreter of the peer's environment     {bin} the folder of its programs
      {folder} the peer's folder                             {service} "small" or "jpeg": what is to be served now
      {model} the ONNX file of the service                   {port} the port that is measured
      {second_port} {third_port} free ports for other uses   {scratch} an empty folder, removed afterwards
    The same values come as the environment variables PEER_MODEL, PEER_SERVICE, PEER_PORT and PEER_SCRATCH. PYTHONPATH leads
    to bench/peers/parts, whose module peer_parts decodes pictures and opens sessions for every peer alike.
    exchanges: by the name of the work (see works.py). Work that is not there is not measured; `lacks` says why.
    ready: a path that answers 200 once the server may be measured. "" means that a request of the work itself is tried.
    settings: in sentences, how the server is set up for two cores. documentation: the pages that recommend it.
    interpreter: of the environment, where it must be another one than this Python.
    stop_signal: after it the server's first process ends within some seconds.
    """

    name: str
    title: str
    folder: str
    package: str
    command: tuple[str, ...]
    exchanges: Mapping[str, Exchange]
    settings: str
    documentation: tuple[str, ...] = ()
    ready: str = ""
    lacks: str = ""
    group: Group = "python"
    environment: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = ""
    stop_signal: signal.Signals = signal.SIGTERM

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
