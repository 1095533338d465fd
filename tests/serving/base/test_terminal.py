import fcntl
import os
import pty
import re
import struct
import sys
import termios
import time

import pytest

from serving.base.terminal import progress, timed_progress


def test_a_terminal_shows_how_far_the_work_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress(20, "work", " s") as tell:
            time.sleep(0.15)  # a bar is not drawn more than ten times a second
            tell(5)
        shown = ""
        while "5/20 s" not in shown:  # the kernel hands over what was written when it comes to it
            shown += os.read(screen, 4096).decode()
    os.close(screen)
    assert "work:  25%" in shown


def test_what_is_no_terminal_is_spared(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(20, "work", " s") as tell:
        tell(5)
        tell(25)
    assert capsys.readouterr() == ("", "")


def test_a_bar_with_words_tells_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with timed_progress(20, 4) as tell:
            time.sleep(0.15)
            tell(5, "1 record, 6.7/s")
        shown = ""
        while "1 record" not in shown:
            shown += os.read(screen, 4096).decode()
    os.close(screen)
    assert re.search(r" 25%\|.*\| 1 record, 6\.7/s, 00:0\d left", shown)


def test_a_bar_with_words_spares_what_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with timed_progress(20) as tell:
        tell(5, "words")
    assert capsys.readouterr() == ("", "")
