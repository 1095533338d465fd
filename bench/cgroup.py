"""A memory limit for a process, as Kubernetes sets one: a control group of its own."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.served import BenchError

GONE_SECONDS = 10.0  # the longest time in which the kernel removes an ended process from its group
CURE = "run it as root or, where systemd is, as `systemd-run --user --scope --property=Delegate=yes make soak`"


@dataclass(frozen=True)
class Kind:
    """The file names of one version of control groups."""

    limit: str
    swap_limit: str
    kills: str


V1 = Kind("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control")
V2 = Kind("memory.max", "memory.swap.max", "memory.events")


@dataclass(frozen=True)
class Group:
    """One group. command: put it before a command, whose process then starts inside."""

    folder: Path
    kind: Kind

    @property
    def command(self) -> list[str]:
        return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.folder / "cgroup.procs")]

    def resident(self) -> float:
        """Return the MB (10^6 bytes) that all processes inside hold in memory, shared libraries included."""
        total = 0.0
        for pid in (self.folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # the process has ended meanwhile
                total += process.resident(int(pid))
        return total

    def kills(self) -> int:
        """Return how many processes were killed since the group was over its limit."""
        lines = (self.folder / self.kind.kills).read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("oom_kill ")))


@contextlib.contextmanager
def group(name: str, limit: int) -> Iterator[Group]:
    """Make a group for the length of a block. limit: bytes that it may hold. Its processes must end within the block.

    Raises BenchError where none can be made.
    """
    made = _make(name, limit, Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text())
    try:
        yield made
    finally:
        end = time.monotonic() + GONE_SECONDS
        while made.folder.is_dir():
            try:
                made.folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise BenchError(f"{made.folder} still holds processes: end them, and remove it with rmdir") from None
                time.sleep(0.05)


def places(mounts: str, own: str) -> list[tuple[Path, Kind]]:
    """Return the places where a group could be made, the best first. mounts, own: /proc/self/mounts and /proc/self/cgroup.

    A place is below the group of this process or, if that is not visible, as in some containers, below the highest group.
    """
    found = []
    mine = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in own.splitlines())}
    for mount, kind, options in ((line.split()[1], *line.split()[2:4]) for line in mounts.splitlines()):
        if kind == "cgroup" and "memory" in options.split(","):
            path = next((path for controllers, path in mine.items() if "memory" in controllers.split(",")), "")
            found += [(Path(mount) / path, V1), (Path(mount), V1)]
        if kind == "cgroup2":
            found += [(Path(mount) / mine.get("", ""), V2), (Path(mount), V2)]
    return found


def _make(name: str, limit: int, mounts: str, own: str) -> Group:
    why = "no memory controller is mounted"
    for parent, kind in places(mounts, own):
        made = Group(parent / f"{name}-{os.getpid()}", kind)
        try:
            if kind is V2:
                _hand_down(parent)
            made.folder.mkdir()
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
            continue
        try:
            (made.folder / kind.limit).write_text(str(limit))
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
            made.folder.rmdir()
            continue
        with contextlib.suppress(OSError):  # a machine without swap has no such file
            (made.folder / kind.swap_limit).write_text(str(limit) if kind is V1 else "0")
        return made
    raise BenchError(f"no control group with a memory limit can be made ({why}); {CURE}")


def _hand_down(parent: Path) -> None:
    """Enable the memory controller for the groups below a group of version 2. Raises OSError where that is not allowed."""
    control = parent / "cgroup.subtree_control"
    if "memory" not in control.read_text().split():
        control.write_text("+memory")
