"""The requirements of a project's extras, one a line: what an image installs without installing the project.

Knows pyproject.toml. Does not know versions beyond those it names; requirements.lock adds the rest.
"""

import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path


def requirements(text: str, extras: Sequence[str]) -> list[str]:
    """Return the requirements of some extras of a pyproject.toml. Raises KeyError for an extra that it does not name."""
    known = tomllib.loads(text)["project"]["optional-dependencies"]
    return [line for extra in extras for line in known[extra]]


if __name__ == "__main__":
    print("\n".join(requirements(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:])))
