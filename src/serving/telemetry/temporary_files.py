"""The bytes of the process's files in its temporary folder.

Knows folders and descriptors. Does not know whose files they are beyond the user that they belong to.

A large body waits in a file without a name, which no listing of a folder shows. Such files are found by the open descriptors.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

MAX_FILES = 5000  # that are looked at, some 10 ms of work; what more there is does not count
BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own blocks are


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
    """Yield the blocks of each open file of a device that has no name."""
    try:
        numbers = os.listdir("/proc/self/fd")
    except OSError:  # elsewhere than on Linux
        return
    for number in numbers:
        with suppress(OSError):
            found = os.fstat(int(number))
            if found.st_dev == device and not found.st_nlink and stat.S_ISREG(found.st_mode):
                yield found.st_blocks
