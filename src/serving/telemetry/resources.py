"""The used memory of the card, and the bytes of the process's files in its temporary folder. Only this module imports pynvml.

The card is the first that the process sees, which is the one that its sessions use. Other pods may share it.

A large body waits in a file without a name, which no listing of a folder shows. Such files are found by the open descriptors.

Concurrency: the thread of the metrics page alone calls this module.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

MAX_FILES = 5000  # that are looked at, some 10 ms of work; what more there is does not count
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own blocks are


class Card(NamedTuple):
    """A card. uuid: the same in every pod. used: bytes of its memory."""

    uuid: str
    used: int


def card() -> Card | None:
    """Return the card as it is now, None where the driver or its package cannot be had."""
    driver, handle = _card()
    if driver is None:
        return None
    try:
        return Card(str(driver.nvmlDeviceGetUUID(handle)), int(driver.nvmlDeviceGetMemoryInfo(handle).used))
    except driver.NVMLError:
        return None


@cache
def _card() -> tuple[Any, Any]:
    """Return the driver's module and its handle of the card, or two None. It is asked once: a driver does not come later."""
    try:
        import pynvml
    except ImportError:
        return None, None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return None, None


def bytes_on_disk(folder: str) -> int:
    """Return the bytes that files take on the disk: the user's own in a folder and below, and open ones without a name."""
    try:
        device = os.stat(folder).st_dev
    except OSError:
        return 0
    named, user = islice(_named(folder, device), MAX_FILES), os.getuid()
    return BLOCK_BYTES * (sum(found.st_blocks for found in named if found.st_uid == user) + sum(_unnamed(device)))


def _named(folder: str, device: int) -> Iterator[os.stat_result]:
    """Yield the state of each file. Links are not followed, and no other file system is entered."""
    folders = [folder]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):  # it may go meanwhile
                    found = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False) and found.st_dev == device:
                        folders.append(entry.path)
                    yield found


def _unnamed(device: int) -> Iterator[int]:
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:  # elsewhere than on Linux
        return
    for number in numbers:
        with suppress(OSError):
            found = os.fstat(int(number))
            if found.st_dev == device and not found.st_nlink and stat.S_ISREG(found.st_mode):
                yield found.st_blocks
