"""Another state of this project, a folder or a commit, whose server is measured beside this checkout's."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.served import BenchError, Tree
from bench.work import ROOT


@contextlib.contextmanager
def older(given: str) -> Iterator[Tree]:
    """Keep another state at hand for the length of a block. given: its folder, or a commit of this repository.

    A folder with an environment .venv uses that. Every other state uses this environment's packages, with its own modules.
    Raises BenchError for what is neither.
    """
    folder = Path(given).resolve()
    if folder.is_dir():
        python = folder / ".venv" / "bin" / "python"
        yield Tree(folder, about("HEAD", folder), str(python)) if python.is_file() else _unpacked(folder, about("HEAD", folder))
        return
    told = subprocess.run(["git", "archive", given], cwd=ROOT, capture_output=True)
    if told.returncode:
        raise BenchError(f"{given} is neither a folder nor a commit of this repository: {told.stderr.decode().strip()}")
    with tempfile.TemporaryDirectory(prefix="older-") as scratch:
        with tarfile.open(fileobj=io.BytesIO(told.stdout)) as archive:
            archive.extractall(scratch, filter="data")
        yield _unpacked(Path(scratch), about(given, ROOT))


def _unpacked(folder: Path, about: str) -> Tree:
    if not (folder / "src" / "monopod.py").is_file():
        raise BenchError(f"{folder} has no src/monopod.py, so it is no checkout of this project")
    return Tree(folder, about, environment={"PYTHONPATH": str(folder / "src")})  # it comes before an installed monopod


def about(commit: str, folder: Path) -> str:
    """Return a commit, in short, and its date. folder: of its checkout."""
    told = subprocess.run(
        ["git", "show", "--no-patch", "--format=%h of %cs", commit], cwd=folder, capture_output=True, text=True
    )
    return told.stdout.strip() or "of no known commit"
