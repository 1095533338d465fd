"""Files that are read again when they change, so that an index or a corpus is exchanged under load.

Knows when a file is another one. Does not know what it holds.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from serving.base.errors import ServingError, StartError
from serving.telemetry.metrics import Metrics

log = logging.getLogger("monopod.watch")

PERIOD = 1.0  # seconds between two looks

Mark = tuple[int, int, int] | None


def watch(path: Path, load: Callable[[], None], metrics: Metrics, period: float = PERIOD) -> None:
    """Call load now, and again whenever the file at path changes: its time, its size, or which file it is.

    What the first call raises is raised here. What a later one raises is logged and counted: what was loaded before stays, and
    load is called again at the next change; at the next look where the service was only too busy (a ServingError). A file is
    best replaced as a whole (os.replace), or half of it may be read.

    Concurrency: one thread a file calls load, as long as the process lives; load exchanges what requests see in one assignment.
    """
    seen = _mark(path)  # before the load, so that a change while it reads is seen afterwards
    load()
    threading.Thread(target=_follow, args=(path, load, metrics, period, seen), name=f"watch {path.name}", daemon=True).start()


def _follow(path: Path, load: Callable[[], None], metrics: Metrics, period: float, seen: Mark) -> None:
    failed = metrics.reload_failed.labels(path.name)
    while True:
        time.sleep(period)
        now = _mark(path)
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
            words = "%s changed and cannot be loaded, what was loaded before stays: %s"
            log.error(words, path, error, exc_info=not isinstance(error, StartError))  # which says all there is to say
        else:
            seen = now
            metrics.reloads.inc()
            failed.set(0)
            log.info("%s changed and was loaded again", path)


def _mark(path: Path) -> Mark:
    """Return what tells one state of a file from another; None while there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
