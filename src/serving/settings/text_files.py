"""The bounded reading of a text file that a person writes by hand.

Knows files. Does not know their meaning.
"""

import os
import stat
from pathlib import Path

FILE_TYPES = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class UnreadableError(Exception):
    """The file cannot be read as text. The message continues a sentence that begins with the file's name."""


def text_of(path: Path, most: int) -> str:
    """Return the text of a UTF-8 file, without its byte order mark. most: the largest size, KiB.

    Raises UnreadableError where the file is missing, too large, not UTF-8 text, or not a regular file. A named pipe or a
    device is refused at once: reading it might never end.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            file_type = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
            if file_type != stat.S_IFREG:
                raise UnreadableError(f"is {FILE_TYPES.get(file_type, 'no file')}, and only a regular file is read")
            content = file.read(most * 1024 + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from None
    if len(content) > most * 1024:
        raise UnreadableError(f"has more than {most} KiB, and no more are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
