"""The kinds of work that are measured on every peer, their payloads, and the values that a right answer has."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from bench.peers import made
from bench.peers.parts import peer_parts
from serving.models.tensors import Array

MANY = 32  # connections: every work is measured with as many


@dataclass(frozen=True)
class PeerWork:
    """One kind of work. service: of bench/peers/services, or demo. connections: with each of these counts it is measured."""

    name: str
    about: str
    service: str
    connections: tuple[int, ...]


WORKS = (
    PeerWork("small-json", "a three-layer net on 32 floats, as JSON", "small", (1, 8, MANY, 128)),
    PeerWork("small-binary", "the same net and row, as binary tensors", "small", (1, 8, MANY, 128)),
    PeerWork("jpeg", "a JPEG of 17 KB to a seven-layer convolution net at 112 x 112 pixels", "jpeg", (MANY,)),
    PeerWork("demo-jpeg", "the picture of examples/images/coffee.jpg to the demo at the root", "demo", (1, MANY)),
)


def row() -> Array:
    """Return the small net's one row, float32 of shape [1, 32], each value short in decimals."""
    return np.array([[round((i * 7 % 17) / 16 - 0.5, 4) for i in range(32)]], np.float32)


def jpeg() -> bytes:
    """Return the picture, a JPEG of about 17 KB."""
    return made.picture().read_bytes()


@cache
def expected(service: str) -> Array:
    """Return onnxruntime's own answer for a service's one row, float32 of shape [1, 8]."""
    rows = row() if service == "small" else peer_parts.pixels(jpeg())
    answer: Array = peer_parts.run(peer_parts.session(str(made.model(service))), rows)
    return answer
