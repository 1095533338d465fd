"""The output that commands share: lines of progress, tables, and the mistakes that keep a command from beginning."""

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


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Return rows under a head, each column as wide as its longest cell. right: heads of the columns to align at the right."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    pad = [str.rjust if name in right else str.ljust for name in head]
    return "\n".join("  ".join(pad[i](line[i], widths[i]) for i in range(len(head))).rstrip() for line in lines) + "\n"


def shortened(text: str) -> str:
    """Return a text of others on one line, and its first 300 characters at most."""
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."
