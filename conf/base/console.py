"""How a command prints lines of progress, and the mistakes that keep it from beginning.

Knows how they look to a person and to a program. Does not know what they are about.
"""

import functools
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TextIO

MISTAKE, BAD_COMMAND_LINE, NO_IMAGE = 1, 2, 32  # exit statuses of a command that has not begun; docs/deploy.md lists them
Command = Callable[[Namespace], int]


class Mistakes(Exception):
    """A command cannot begin. mistakes: what is wrong, each in a sentence. status: the exit status."""

    def __init__(self, mistakes: Sequence[str], status: int = MISTAKE):
        super().__init__("; ".join(mistakes))
        self.mistakes, self.status = mistakes, status


def prints_mistakes(command: Command) -> Command:
    """Decorate a command: where it raises Mistakes, they are printed and their exit status is returned.

    They are JSON on stdout with --json, else lines on stderr.
    """

    @functools.wraps(command)
    def run(arguments: Namespace) -> int:
        try:
            return command(arguments)
        except Mistakes as error:
            if arguments.json:
                print(json.dumps({"mistakes": list(error.mistakes)}, indent=2))
            else:
                print("\n".join(error.mistakes), file=sys.stderr)
            return error.status

    return run


def print_line(words: str, out: TextIO) -> None:
    """Print at once. Where the reader has gone, discard this and all later output, so that the rollout goes on after `head`."""
    try:
        print(words, file=out, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


def printable(text: str) -> str:
    """Return a text on one line. A character that would move the cursor, or colour what follows, is escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
