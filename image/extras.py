"""Prints the requirements of a project's extras, one a line, so that an image can install them without the project.

Knows pyproject.toml. Does not know exact versions, which requirements.lock holds.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(text: str, extras: Sequence[str]) -> list[str]:
    """Return the requirements of some extras. text: of a pyproject.toml. Raises KeyError for an extra that it does not name."""
    known = tomllib.loads(text)["project"]["optional-dependencies"]
    return [line for extra in extras for line in known[extra]]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:])))
