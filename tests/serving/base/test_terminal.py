"""Progress bars are drawn on a terminal alone."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from serving.base.terminal import progress, timed_progress


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Make stderr a terminal. Yield what reads it until some words are shown."""
    screen, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))

    def read_until(words: str) -> str:
        shown = ""
        while words not in shown:  # the kernel hands over what was written when it comes to it
            shown += os.read(screen, 4096).decode()
        return shown

    with os.fdopen(other_end, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        yield read_until
    os.close(screen)


def test_a_terminal_shows_how_far_the_work_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as read_until:
        with progress(20, "work", " s") as tell:
            time.sleep(0.15)  # a bar is not drawn more than ten times a second
            tell(5)
        assert "work:  25%" in read_until("5/20 s")


def test_a_bar_with_words_tells_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch) as read_until:
        with timed_progress(20, 4) as tell:
            time.sleep(0.15)
            tell(5, "1 record, 6.7/s")
        assert re.search(r" 25%\|.*\| 1 record, 6\.7/s, 00:0\d left", read_until("1 record"))


def test_a_file_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(20, "work", " s") as tell:
        tell(5)
        tell(25)
    with timed_progress(20) as tell_with_words:
        tell_with_words(5, "words")
    assert capsys.readouterr() == ("", "")
