"""A regular file within the bound gives its text; every other file gives a sentence at once."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.settings import UnreadableError, text_of


def refused(path: Path) -> str:
    with pytest.raises(UnreadableError) as caught:
        text_of(path, 1)
    return str(caught.value)


def test_a_file_gives_its_text_without_the_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf" + "ä = 1\r\n".encode())
    assert text_of(tmp_path / "file", 1) == "ä = 1\r\n"


def test_a_link_to_a_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert text_of(tmp_path / "link", 1) == "x"


def test_a_file_may_have_as_much_as_its_bound_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x" * 1024)
    assert len(text_of(path, 1)) == 1024
    path.write_text("x" * 1025)
    assert "more than 1 KiB" in refused(path)
    os.truncate(path, 2**40)
    assert "more than 1 KiB" in refused(path)


def named_pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (named_pipe, "is a named pipe, and only a regular file is read"),
        (endless, "is a device, and only a regular file is read"),
        (listening, "cannot be read (No such device or address)"),
        (Path.mkdir, "cannot be read (Is a directory)"),
        (lambda path: path.symlink_to(path), "cannot be read (Too many levels of symbolic links)"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not UTF-8 text"),
        (lambda path: None, "cannot be read (No such file or directory)"),
    ],
)
def test_what_is_no_file_of_text_is_told_at_once(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    make(tmp_path / "x")
    assert refused(tmp_path / "x") == told
