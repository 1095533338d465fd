"""Merges and checks the model files of a service for its image.

Runs in a build stage, which holds this file, serving/settings/model_files.py and no other module of the project.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from serving.settings.model_files import Checksum, is_checksum_list, pointed_size, read_checksums, sha256_of

PART = re.compile(r"(?P<whole>.+)-[a-z]{2,}")
CHUNK = 2**20


def prepare(folder: Path, made: bool) -> list[str]:
    """Merge the parts of a model folder and check its files. Return every mistake, a sentence each.

    made: whether folder/Makefile has run. Before that, files that Git ignores are removed, since an image is built of what is
    committed. With a Makefile, checksums may also name its intermediate files. Once there is nothing more to make, only the
    files that a pod needs are kept.
    """
    makes = (folder / "Makefile").is_file()
    if makes and not made:
        _forget_made(folder)
    if mistakes := [*_pointers(folder), *_without_sum(folder)]:
        return mistakes
    merged = {whole: _merge(whole, parts) for whole, parts in _parts(folder).items()}
    mistakes = [words for listed in read_checksums(folder) if (words := _broken(folder, listed, merged, makes))]
    if not mistakes and (made or not makes):
        _tidy(folder)
    return mistakes


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _forget_made(folder: Path) -> None:
    """Remove the files that folder/.gitignore names. Only plain patterns and exceptions are understood."""
    file = folder / ".gitignore"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    kept = {folder / "Makefile", file, *_matches(folder, [line[1:] for line in patterns if line.startswith("!")])}
    for path in sorted(_matches(folder, [line for line in patterns if not line.startswith("!")]) - kept):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _matches(folder: Path, patterns: list[str]) -> set[Path]:
    return {path for pattern in patterns for path in folder.glob(pattern.strip("/"))}


def _pointers(folder: Path) -> Iterator[str]:
    for path in _files(folder):
        if pointed_size(path) is not None:
            yield (
                f"{_name(folder, path)} is a Git LFS pointer, not the file: run `git lfs pull` before the build;"
                " in CI set GIT_LFS_SKIP_SMUDGE=0"
            )


def _parts(folder: Path) -> dict[Path, list[Path]]:
    """Return the parts of each split file, in order. Names that end like a part's count only if there is a first part."""
    found: dict[Path, list[Path]] = {}
    for path in _files(folder):
        match = PART.fullmatch(path.name)
        if match and path.with_name(f"{match['whole']}-aa").is_file():
            found.setdefault(path.with_name(match["whole"]), []).append(path)
    return found


def _without_sum(folder: Path) -> Iterator[str]:
    summed = {listed.path for listed in read_checksums(folder)}
    for whole, parts in _parts(folder).items():
        if whole not in summed:
            name = _name(folder, whole)
            yield (
                f"{name} is split into {len(parts)} parts and has no checksum, so a lost part would not be found:"
                f" where the whole file is, run `sha256sum {name} > {name}.sha256`, and commit that file"
            )


def _merge(whole: Path, parts: list[Path]) -> list[str]:
    """Write a file from its parts and return their names. Each part is removed once copied, which saves disk space."""
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
            part.unlink()
    return [part.name for part in parts]


def _broken(folder: Path, listed: Checksum, merged: dict[Path, list[str]], makes: bool) -> str:
    """Return the mistake of a file that has a checksum, or ""."""
    name, listed_in = _name(folder, listed.path), _name(folder, listed.listed_in)
    if not listed.sha256:
        return f"{listed_in}: line {listed.line} is not a checksum; write it with `sha256sum {name} > {listed_in}`"
    if not listed.path.is_file():
        words = f"{name} is not there, but {listed_in} names it: add the file (or its parts), or take the line away"
        return "" if makes else words
    found = sha256_of(listed.path)
    if found == listed.sha256:
        return ""
    cure = "write the checksum anew if the file was meant to change"
    if listed.path in merged:
        parts = ", ".join(merged[listed.path])
        cure = f"it was merged from {parts}: one is missing or damaged, or the checksum is of an older file"
    return f"{name} has sha256 {found}, but {listed_in} says {listed.sha256}; {cure}"


def _tidy(folder: Path) -> None:
    """Remove the files that only the build needed."""
    for path in _files(folder):
        if path.name == "Makefile" or is_checksum_list(path) or path.name.startswith("."):
            path.unlink()


def _name(folder: Path, path: Path) -> str:
    return str(Path(folder.name) / path.relative_to(folder))


def main(folder: Path, made: bool) -> int:
    mistakes = prepare(folder, made) if folder.is_dir() else []
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[-1]), "--made" in sys.argv))
