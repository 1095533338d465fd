"""A screen that is drawn again in place, until a key ends it.

Knows the terminal's control sequences (ECMA-48, and xterm's second screen) and its keys. Does not know what is drawn.

Concurrency: each refresh works on a thread of its own, one at a time, so that a slow server delays no key. The thread is a
daemon: the end of the program does not wait for it. The drawing thread takes its result once it has ended.
"""

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")
OPEN, CLOSE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the second screen without a cursor, and back
HOME, REST_OF_LINE, REST = "\x1b[H", "\x1b[K", "\x1b[J"
KEY_SECONDS = 0.2  # between two looks at the keyboard, the terminal's size and the refresh


class _Refresh(Generic[T]):
    def __init__(self, ask: Callable[[], T]):
        self.results: list[T] = []
        self._error: Exception | None = None
        self._ask = ask
        self._thread = threading.Thread(target=self._work, name="refresh", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.results.append(self._ask())
        except Exception as error:  # raised again on the drawing thread
            self._error = error

    def is_over(self) -> bool:
        if self._thread.is_alive():
            return False
        if self._error:
            raise self._error
        return True


def is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colours() -> bool:
    """Return whether to colour. Source of NO_COLOR: https://no-color.org."""
    return is_terminal() and not os.environ.get("NO_COLOR")


def watch(ask: Callable[[], T], lines: Callable[[T | None, int], Sequence[str]], every: float) -> None:
    """Draw until q is pressed. Raises what `ask` raises, and KeyboardInterrupt.

    ask: gets what is drawn, on another thread.
    lines: makes the lines of a result, which is None before the first one, and of the terminal's width.
    every: the least seconds from one question to the next.
    """
    found: T | None = None
    refresh: _Refresh[T] | None = None
    due, drawn = 0.0, ""
    with _screen():
        while True:
            if refresh is None and time.monotonic() >= due:
                refresh, due = _Refresh(ask), time.monotonic() + every
            if refresh is not None and refresh.is_over():
                found, refresh = refresh.results[0], None
            size = os.get_terminal_size(sys.stdout.fileno())
            text = _frame(lines(found, size.columns), size.lines)
            if text != drawn:
                sys.stdout.write(text)
                sys.stdout.flush()
                drawn = text
            if _key(KEY_SECONDS) in ("q", "Q"):
                return


def _frame(lines: Sequence[str], height: int) -> str:
    shown = list(lines)
    if len(shown) > height:
        shown = [*shown[: height - 1], f"… and {len(shown) - height + 1} more lines: make the window higher, or use --once"]
    return HOME + f"{REST_OF_LINE}\n".join(shown) + REST_OF_LINE + REST


@contextmanager
def _screen() -> Iterator[None]:
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keys) if keys is not None else []
    sys.stdout.write(OPEN)
    try:
        if keys is not None:
            tty.setcbreak(keys)
        yield
    finally:
        sys.stdout.write(CLOSE)
        sys.stdout.flush()
        if keys is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)


def _key(seconds: float) -> str:
    """Return the key that is pressed within a time, "" for none."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return ""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else ""
