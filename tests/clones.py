"""Clones of the platform's own files, in which a test makes a service of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.running import ROOT

GIT = {f"GIT_{who}_{what}": "t@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
OWN = (
    *("value.py", "alerts.yaml", "model", "src", "conf", "templates", "tests/running.py", "examples/images"),
    *("pyproject.toml", "requirements.lock", "Makefile"),
)


def clone(folder: Path, *more: str) -> Path:
    """Return the folder, with a repository that has the platform's files, and an environment of all packages.

    more: paths beside those that a service needs to be tested.
    """
    for name in (*OWN, *more):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    (folder / ".gitignore").write_text("/.venv\n__pycache__/\n*.egg-info/\n")
    (folder / ".venv").symlink_to(sys.prefix)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "the platform")):
        subprocess.run(["git", *words], cwd=folder, env=os.environ | GIT, check=True)
    return folder
