"""A service that keeps memory of each request, and whose process may end for its memory within seconds of its start."""

from serving.api import Request, Service
from serving.web import recycle

KEPT = 256 * 1024  # bytes of each request

recycle.LOOK_SECONDS, recycle.OVER_SECONDS, recycle.MIN_AGE = 0.2, 1.0, 2.0


class Leaking(Service):
    def setup(self) -> None:
        self.kept: list[bytes] = []

    def handle(self, request: Request) -> int:
        self.kept.append(b"\x01" * KEPT)
        return len(self.kept)
