"""Compares a peer's answer in value with onnxruntime's own."""

import numpy as np

from bench.peers import works
from bench.peers.peer import Exchange
from bench.peers.running import Running
from bench.peers.works import PeerWork
from bench.served import BenchError
from serving.models.tensors import Array

TOLERANCE = 1e-4  # absolute; the values are around 1
SHOWN = 300  # characters of an answer


def check(running: Running, work: PeerWork) -> None:
    """Ask a server once. Raises BenchError where the answer is no 200, cannot be read, or has other values."""
    exchange = running.peer.exchanges[work.name]
    status, headers, body = running.ask(exchange)
    about = f"{running.peer.title}, {work.name}"
    if status != 200:
        raise BenchError(f"{about}: the answer is {status}: {body[:SHOWN]!r}")
    if wrong := difference(_read(exchange, headers, body, about), works.expected(work.service)):
        raise BenchError(f"{about}: {wrong}")


def difference(found: Array, wanted: Array) -> str:
    """Return in words how an answer differs from the wanted values, "" where it does not. Shapes need not be equal."""
    if found.size != wanted.size:
        return f"the answer has {found.size} values, not {wanted.size}"
    apart = np.abs(found.ravel().astype(np.float64) - wanted.ravel())
    if not np.all(apart <= TOLERANCE):  # NaN is not within it
        return f"the answer {found.ravel().tolist()} is not {wanted.ravel().tolist()}, to {TOLERANCE:g}"
    return ""


def _read(exchange: Exchange, headers: dict[str, str], body: bytes, about: str) -> Array:
    try:
        return exchange.read(body, headers)
    except (ValueError, LookupError, TypeError) as error:
        raise BenchError(f"{about}: the answer {body[:SHOWN]!r} cannot be read: {error}") from error
