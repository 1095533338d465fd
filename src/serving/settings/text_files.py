"""A file that a person writes by hand, read as text within bounds.

Knows files. Does not know what stands in them.
"""

import os
import stat
from pathlib import Path

FORMS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class UnreadableError(Exception):
    """A file that gives no text. The message continues a sentence that begins with the file's name."""


def text_of(path: Path, most: int) -> str:
    """Return the text of a file of UTF-8, without its byte order mark. most: KiB that it may have.

    Raises UnreadableError for what is missing, too large, no text, or no regular file: nothing waits for a named pipe's
    writer, and a device without an end is not read.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            form = stat.S_IFMT(os.fstat(file.fileno()).st_mode)
            if form != stat.S_IFREG:
                raise UnreadableError(f"is {FORMS.get(form, 'no file')}, and only a regular file is read")
            content = file.read(most * 1024 + 1)
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from None
    if len(content) > most * 1024:
        raise UnreadableError(f"has more than {most} KiB, and no more are read")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("is not UTF-8 text") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
