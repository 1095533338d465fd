"""Mistakes that end a command before it has done anything.

Knows how they look to a person and to a program. Does not know what they are about.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence


def mistaken(arguments: Namespace, mistakes: Sequence[str]) -> int:
    """Tell mistakes, and return the exit status."""
    if arguments.json:
        print(json.dumps({"mistakes": list(mistakes)}, indent=2))
    else:
        print("\n".join(mistakes), file=sys.stderr)
    return 1
