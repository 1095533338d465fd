"""Checks that a branch has the platform's files unchanged: same_platform.py COMMIT, of the branch.

Knows the checkout of the platform in which it lies, whose repository must hold that commit too. conf/PATHS there names the
owner of each path, and git the differences. Standard library only. Reads no file of the branch.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PLATFORM = Path(__file__).resolve().parent.parent
PATHS = PLATFORM / "conf" / "PATHS"
SHOWN = 20


def owners(text: str) -> dict[str, str]:
    """Return the owner of each path or folder of conf/PATHS: U for the service, P for the platform."""
    lines = (line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {path: owner for owner, path in lines}


def is_services(path: str, known: dict[str, str]) -> bool:
    """Return whether a path is the service's, by the longest line of `known` that it begins with. Without a line it is not."""
    fitting = [line for line in known if path == line or (line.endswith("/") and path.startswith(line))]
    return bool(fitting) and known[max(fitting, key=len)] == "U"


def refusal(changed: Sequence[str], known: dict[str, str], platform: str, default: str) -> str:
    """Return why a branch with these changes is refused, or "". default: the name of the project's default branch."""
    foreign = [path for path in changed if not is_services(path, known)]
    if foreign:
        return (
            f"this branch differs from the platform ({platform}) in {len(foreign)} of the files that are not a service's:\n"
            + "".join(f"    {path}\n" for path in foreign[:SHOWN])
            + (f"    and {len(foreign) - SHOWN} more\n" if len(foreign) > SHOWN else "")
            + f"a service's are {', '.join(path for path, owner in known.items() if owner == 'U')} (conf/PATHS)\n"
            f"nothing was built or deployed; bring {default} of the project to the platform's version, "
            f"merge {default} into this branch and push it;\n"
            "a change that you made to the platform goes into the platform's own project first"
        )
    return ""


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(PLATFORM), *words], check=True, capture_output=True, text=True).stdout


def main(commit: str) -> int:
    platform = _git("rev-parse", "HEAD").strip()
    changed = _git("diff-tree", "-r", "-z", "--no-renames", "--name-only", platform, commit).split("\0")[:-1]
    default = os.environ.get("CI_DEFAULT_BRANCH") or "the default branch"
    words = refusal(changed, owners(PATHS.read_text(encoding="utf-8")), platform[:8], default)
    print(words or f"the platform's files are those of {platform[:8]}", file=sys.stderr if words else sys.stdout)
    return 1 if words else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
