"""A real redis-server for tests, which can be killed and started again on one port."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

PASSWORD = "hunter2"
SECONDS = 2  # that a service waits for it


@dataclass
class RedisServer:
    """A redis-server that keeps nothing on disk."""

    program: str
    port: int
    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Return its address, with time-outs that are long enough for a busy machine."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0?socket_connect_timeout={SECONDS}&socket_timeout={SECONDS}"

    def start(self) -> None:
        if self.process is None:
            command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
            command += ["--save", "", "--appendonly", "no", "--requirepass", PASSWORD]
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None
