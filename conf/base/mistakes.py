"""Mistakes that end a command before it has changed anything, printed for a person or for a program."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence


def mistaken(arguments: Namespace, mistakes: Sequence[str]) -> int:
    """Print mistakes, as JSON on stdout with --json and else as lines on stderr. Return the exit status, 1."""
    if arguments.json:
        print(json.dumps({"mistakes": list(mistakes)}, indent=2))
    else:
        print("\n".join(mistakes), file=sys.stderr)
    return 1
