import fcntl
import os
import pty
import struct
import sys
import termios
import time

import pytest

from serving.tools.terminal import progress


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
