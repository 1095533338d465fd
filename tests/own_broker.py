"""A Kafka broker that one test owns, so that it may be killed, frozen and started again with its data."""

import contextlib
import os
import random
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.prerequisites import kafka_programs, program

LISTENERS = 4  # ports in a row: plain, of pods, secure, and of the broker itself
USER, PASSWORD = "test", "test-secret"


# Rights are looked at. Clients of the plain listener, which have no name, may do everything, and USER nothing at first.
WITH_RIGHTS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}


class OwnBroker:
    """A broker on a port. address: its plain listener's. folder: for a program. settings: of server.properties."""

    def __init__(self, port: int, folder: Path, settings: dict[str, str]):
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._folder = folder
        self._write_java(settings)
        self.start()

    def start(self) -> None:
        """Start it, with the data that it had, and wait until it answers."""
        self._program("up", str(self.port))
        self._process = next(
            psutil.Process(item.pid)
            for item in psutil.net_connections("tcp")
            if item.pid and item.status == psutil.CONN_LISTEN and item.laddr[1:] == (self.port,)
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def freeze(self) -> None:
        """Stop its process. Connections stay open, and nothing is answered."""
        self._process.suspend()

    def thaw(self) -> None:
        self._process.resume()

    def secure(self, **more: str) -> dict[str, str]:
        """Return an environment that connects to its listener with SASL and TLS. more: variables that replace others."""
        address = self._program("up", "--secure", str(self.port))
        authority = Path.home() / ".cache/monopod-kafka" / str(self.port) / "ca.pem"
        found = {"KAFKA_BROKERS": address, "KAFKA_SECURITY": "sasl_ssl", "KAFKA_CA": str(authority)}
        return {**found, "KAFKA_USERNAME": USER, "KAFKA_PASSWORD": PASSWORD, **more}

    def end(self) -> None:
        """End it, and delete its data."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.thaw()
        self._program("down", str(self.port))

    def _write_java(self, settings: dict[str, str]) -> None:
        """Write a program `java` that adds settings to the command of a broker, since `up` takes none."""
        java, more = program("java", "openjdk-17-jre-headless"), [f"{name}={value}" for name, value in settings.items()]
        overrides = shlex.join(word for setting in more for word in ("--override", setting))
        lines = "#!/bin/sh", f'case "$*" in *" kafka.Kafka "*) set -- "$@" {overrides} ;; esac', f'exec {java} "$@"'
        path = self._folder / "java"
        path.write_text("\n".join(lines) + "\n")
        shutil.copymode(java, path)

    def _program(self, name: str, *arguments: str) -> str:
        """Run a program, and return what it prints."""
        command: list[str | Path] = [kafka_programs() / name, *arguments]
        environment = {**os.environ, "PATH": f"{self._folder}:{os.environ['PATH']}"}
        for is_last in (False, False, True):  # a broker that is still starting when `up` gives up is found by the next one
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=200, check=is_last, text=True, env=environment)
            if done.returncode == 0:
                break
        return done.stdout.strip()


@contextlib.contextmanager
def own_broker(settings: dict[str, str] | None = None) -> Iterator[OwnBroker]:
    """Run a broker for the length of a block, and delete its data after it. settings: as of OwnBroker."""
    with tempfile.TemporaryDirectory() as folder:
        broker = OwnBroker(_free_ports(), Path(folder), settings or {})
        try:
            yield broker
        finally:
            broker.end()


def _free_ports() -> int:
    """Return the first of some free ports in a row.

    Each worker of pytest-xdist has a thousand of its own: `up` would give two that choose the same port the same broker.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw9").removeprefix("gw")) % 10
    while True:
        first = 20_000 + worker * 1000 + random.randrange(0, 1000, 10)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(first, first + LISTENERS):
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
