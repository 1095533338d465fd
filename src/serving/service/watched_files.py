"""Files that are loaded again when they change, so that an index or a corpus is replaced under load.

Knows when a file has changed. Does not know what it holds.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from serving.base.errors import ServingError, StartError
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.watch")

PERIOD = 1.0  # seconds between two checks

FileState = tuple[int, int, int] | None


def watch(path: Path, load: Callable[[], None], metrics: Metrics, period: float = PERIOD) -> None:
    """Call load now, and again whenever the file at path changes its modification time, its size or its inode.

    period: seconds between two checks. Raises the exceptions of the first call. An exception of a later call is logged and
    counted. The service then keeps what it has, and load is called again at the next change. After a ServingError, by which
    the service was too busy, load is called again at the next check. Replace the file as a whole (os.replace), or half of a
    file may be read.

    Concurrency: each file has one thread, which calls load as long as the process lives. load must exchange what requests see
    in one assignment.
    """
    seen = file_state(path)  # before the load, so that a change during it is seen afterwards
    load()
    threading.Thread(target=_follow, args=(path, load, metrics, period, seen), name=f"watch {path.name}", daemon=True).start()


def _follow(path: Path, load: Callable[[], None], metrics: Metrics, period: float, seen: FileState) -> None:
    failed = metrics.reload_failed.labels(path.name)
    while True:
        time.sleep(period)
        now = file_state(path)
        if now == seen:
            continue
        try:
            load()
        except ServingError as error:  # a full queue, a deadline: the file may be good, so it is tried again
            log.warning("%s changed and could not be loaded yet: %s", path, error)
            continue
        except (Exception, SystemExit) as error:
            seen = now
            metrics.reload_failures.inc()
            failed.set(1)
            message = "%s changed and cannot be loaded, what was loaded before stays: %s"
            log.error(message, path, error, exc_info=not isinstance(error, StartError))  # a StartError needs no traceback
        else:
            seen = now
            metrics.reloads.inc()
            failed.set(0)
            log.info("%s changed and was loaded again", path)


def file_state(path: Path) -> FileState:
    """Return a file's modification time in nanoseconds, its size in bytes and its inode, None while there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
