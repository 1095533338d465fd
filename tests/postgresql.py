"""Starts Debian's PostgreSQL in a folder of its own, and stops, freezes, kills and restarts it.

The server never runs as root.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg

from tests.prerequisites import missing
from tests.running import free_port
from tests.waiting import until

PASSWORD = "test-secret"
SETTINGS = {"fsync": "off", "max_connections": "20", "listen_addresses": "127.0.0.1", "lc_messages": "C"}


class Server:
    """A server with one superuser, `owner`, and one database, `test`."""

    def __init__(self, folder: Path, settings: dict[str, str], largest_file: int):
        self.folder = folder
        self._bound = ["prlimit", f"--fsize={largest_file}"] if largest_file else []
        self.port = free_port()
        self._settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(folder), **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "test", user: str = "owner", password: str = PASSWORD) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def create(self) -> None:
        """Make the folder's data, start the server, and create the database."""
        words = self.folder / "password"
        words.write_text(PASSWORD)
        self._give(self.folder, words)
        how = ["--auth=scram-sha-256", f"--pwfile={words}", "--username=owner", "--encoding=UTF8", "--locale=C.UTF-8"]
        how += ["--wal-segsize=1"]  # MiB: a small server, and a bound of files may be low
        made = self._program("initdb", "--no-sync", *how, f"--pgdata={self.folder / 'data'}")
        assert made.wait(60) == 0, (self.folder / "log").read_text()
        self.start()
        self.execute('CREATE DATABASE "test"', "postgres")

    def start(self) -> None:
        """Start the server, and wait until it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        self._process = self._program("postgres", f"-D{self.folder / 'data'}", *options)
        until(self._answers, 60)

    def stop(self) -> None:
        """End the server as an administrator does: connections are ended with SQLSTATE 57P01."""
        assert self._process
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)

    def kill(self) -> None:
        """End every process of the server at once, as a machine that dies does."""
        self._each(psutil.Process.kill)
        assert self._process
        self._process.wait(60)

    def freeze(self) -> None:
        """Stop every process of the server. Its connections stay open, and nothing is answered."""
        self._each(psutil.Process.suspend)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._each(psutil.Process.resume)

    def execute(self, statement: str, database: str = "test") -> list[tuple[object, ...]]:
        """Run a statement as the superuser, and return its rows."""
        with psycopg.connect(self.url(database), autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers(self) -> bool:
        assert self.is_running(), (self.folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError):
            self.execute("SELECT 1", "postgres")
            return True
        return False

    def _each(self, act: Callable[[psutil.Process], None]) -> None:
        """Act on each process of the server: first on the one that starts the others, so that it starts no more."""
        assert self._process
        first = psutil.Process(self._process.pid)
        others = first.children(recursive=True)
        act(first)
        for process in {*others, *(first.children(recursive=True) if first.is_running() else [])}:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself
                act(process)

    def _program(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL as a user that is not root, which it refuses."""
        with (self.folder / "log").open("ab") as log:
            command = [*self._bound, str(_programs() / name), *arguments]
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **user)  # type: ignore[call-overload, no-any-return]

    def _give(self, *paths: Path) -> None:
        for path in paths if os.getuid() == 0 else ():
            shutil.chown(path, "nobody", "nogroup")


@contextlib.contextmanager
def server(largest_file: int = 0, **settings: str) -> Iterator[Server]:
    """Run a server for the length of a block. settings: of postgresql.conf.

    largest_file: bytes; where it is no multiple of a block, the server takes a file that reaches it for a full disk.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    made = Server(folder, settings, largest_file)
    try:
        made.create()
        yield made
    finally:
        if made.is_running():
            made.thaw()
            made.kill()
        shutil.rmtree(folder)


def _programs() -> Path:
    """Return the folder of the newest PostgreSQL's programs. Where there is none, the test ends and names the package."""
    found = shutil.which("postgres")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not found and not versions:
        missing("postgres is missing: install the Debian package postgresql")
    return (Path(found) if found else versions[-1]).parent
