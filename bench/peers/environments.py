"""The environments of the peers: one for each folder, made with venv and pip from its requirements.txt."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.peer import HERE, Peer
from bench.served import BenchError

FOLDER = HERE / ".environments"
INSTALL_SECONDS = 1200
LAST_LINES = 12  # of what pip says


def install(peer: Peer) -> Path:
    """Return the folder of programs of a peer's environment, made where it is missing or requirements.txt has changed.

    A peer without a requirements.txt gets this project's own environment.
    Raises BenchError, with pip's last lines, where it cannot be made.
    """
    if not peer.requirements.is_file():
        return Path(sys.executable).parent
    place, stamp = FOLDER / peer.folder, FOLDER / f"{peer.folder}.installed"
    wanted = hashlib.sha256(peer.requirements.read_bytes() + _interpreter(peer).encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted and (place / "bin" / "python").exists():
        return place / "bin"
    shutil.rmtree(place, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    _run([_interpreter(peer), "-m", "venv", str(place)])
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--requirement", str(peer.requirements)])
    stamp.write_text(wanted)
    return place / "bin"


def _interpreter(peer: Peer) -> str:
    return peer.interpreter or sys.executable


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LAST_LINES:])
        raise BenchError(f"{' '.join(command)} exits with {done.returncode}:\n{last}")
