"""Checks that a branch has the platform's files unchanged, and lays its service out: same_platform.py COMMIT [FOLDER].

Knows the checkout of the platform in which it lies, whose repository must hold that commit too. conf/PATHS there is the list of
the paths that a service may have. FOLDER is made anew: the platform's files with the commit's files at those paths alone. Files
are written from git's objects, so no attribute, filter or hook of the branch has a say. At the paths in UNCOMPARED a branch may
have anything, since the platform's is laid out. Standard library only.
"""

import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from serving.settings.model_files import MAX_POINTER, POINTER, sha256_of

PLATFORM = Path(__file__).resolve().parent.parent
PATHS = PLATFORM / "conf" / "PATHS"
UNCOMPARED = ("ci/regions.yml", "conf/RELEASES", "conf/regions.yaml")  # jobs read them of the platform's default branch alone
SHOWN = 20
PLAIN = ("100644", "100755")  # git's modes of files; any other is a link, a submodule or a mistake


class Entry(NamedTuple):
    """A file, link or submodule of a commit, as git tells it. mode: six octal digits. name: the object's, in hex."""

    mode: str
    name: str


def owners(text: str) -> dict[str, str]:
    """Return the owner of each path or folder of conf/PATHS: U for the service, P for the platform."""
    lines = (line.partition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {path: owner for owner, _, path in lines}


def line_of(path: str, known: Mapping[str, str]) -> str:
    """Return the longest line of `known` that a path begins with, or ""."""
    return max((line for line in known if path == line or (line.endswith("/") and path.startswith(line))), key=len, default="")


def is_services(path: str, known: Mapping[str, str]) -> bool:
    """Return whether a path is the service's. Without a line of `known` it is not."""
    return known.get(line_of(path, known)) == "U"


def faults(
    branch: Mapping[str, Entry], platform: Mapping[str, Entry], known: Mapping[str, str], before: Mapping[str, str]
) -> dict[str, str]:
    """Return each path for which a branch is refused, with the cure of that path, or "" where all of them have one cure.

    branch, platform: the entries of each commit, by path. known, before: the owners, by the platform's and the branch's PATHS.
    """
    spelled: dict[str, str] = {}
    for path in (*known, *platform.keys() & branch.keys(), *branch):
        for name in _with_folders(path.rstrip("/")):
            spelled.setdefault(_folded(name), name)
    found = {}
    for path in sorted(path for path in branch.keys() | platform.keys() if branch.get(path) != platform.get(path)):
        twin = next((first for name in _with_folders(path) if (first := spelled.get(_folded(name), name)) != name), "")
        if not is_services(path, known):
            found[path] = _elsewhere(path, known) if path not in platform or is_services(path, before) else ""
        elif path in branch and branch[path].mode not in PLAIN:
            found[path] = "a link or a submodule; a service has plain files alone, so put the file itself there"
        elif _is_unsafe(path):
            found[path] = "a name that a checkout could take for something else; rename it"
        elif path in branch and twin:
            found[path] = f"differs from {twin} in upper and lower case alone; rename it"
    return found


def _with_folders(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def _folded(path: str) -> str:
    return unicodedata.normalize("NFKC", path).casefold()


def _is_unsafe(path: str) -> bool:
    parts = {_folded(part) for part in path.split("/")}
    return not path.isprintable() or "\\" in path or not parts.isdisjoint({"", ".", "..", ".git"})


def _elsewhere(path: str, known: Mapping[str, str]) -> str:
    """Return the cure for a service's file where the platform has a line of its own inside a service's folder, or ""."""
    line = line_of(path, known)
    if not is_services(path, {each: owner for each, owner in known.items() if each != line}):
        return ""
    folder, _, name = line.rstrip("/").rpartition("/")
    moved = f"{folder}/own_{name}{path.removeprefix(line.rstrip('/'))}"
    return f"{line} is the platform's; move it, for instance to {moved}, and change what names it"


def refusal(found: Mapping[str, str], known: Mapping[str, str], platform: str, default: str) -> str:
    """Return why a branch with these faults is refused, or "". default: the name of the project's default branch."""
    if not found:
        return ""
    told = [
        f"    {path if path.isprintable() else ascii(path)}{note and ': '}{note}\n"
        for path, note in sorted(found.items(), key=lambda fault: not fault[1])
    ]
    return (
        f"this branch differs from the platform ({platform}) in {len(found)} of the files, where a service may not:\n"
        + "".join(told[:SHOWN])
        + (f"    and {len(told) - SHOWN} more\n" if len(told) > SHOWN else "")
        + f"a service's are {', '.join(path for path, owner in known.items() if owner == 'U')} (conf/PATHS)\n"
        f"nothing was built or deployed; bring {default} of the project to the platform's version, "
        f"merge {default} into this branch and push it;\n"
        "a change that you made to the platform goes into the platform's own project first"
    )


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(PLATFORM), *words], check=True, stdout=subprocess.PIPE).stdout


def entries(commit: str) -> dict[str, Entry]:
    """Return what a commit has, by path."""
    rows = (row.partition("\t") for row in os.fsdecode(git("ls-tree", "-r", "-z", "--full-tree", commit)).split("\0")[:-1])
    return {path: Entry(words.split()[0], words.split()[2]) for words, _, path in rows}


def owners_in(files: Mapping[str, Entry]) -> dict[str, str]:
    """Return the owners by the conf/PATHS of a commit, or none where that is no plain file. files: what the commit has."""
    listed = files.get("conf/PATHS", Entry("", ""))
    return owners(git("cat-file", "blob", listed.name).decode(errors="replace") if listed.mode in PLAIN else "")


def lay_out(files: Mapping[str, Entry], folder: Path, checkout: Path) -> None:
    """Write files into a new folder. checkout: where the runner has put what Git LFS keeps, which its checksum must confirm."""
    folder.mkdir()
    command = ["git", "-C", str(PLATFORM), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as git:
        assert git.stdin is not None
        assert git.stdout is not None
        for path, entry in files.items():
            git.stdin.write(f"{entry.name}\n".encode())
            git.stdin.flush()
            left = int(git.stdout.readline().split()[2])
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with (folder / path).open("xb") as out:
                while left and (chunk := git.stdout.read(min(left, 2**20))):
                    left -= out.write(chunk)
            if git.stdout.read(1) != b"\n":
                raise EOFError(f"git ended within {path}")
            (folder / path).chmod(0o755 if entry.mode == "100755" else 0o644)
            _resolve_pointer(folder / path, checkout / path)


def _resolve_pointer(file: Path, kept: Path) -> None:
    """Put the content in place of a Git LFS pointer. It stays where the checkout lacks that content; a build then names it."""
    text = file.read_bytes() if file.stat().st_size <= MAX_POINTER else b""
    if text.startswith(POINTER) and kept.is_file():
        shutil.copyfile(kept, file)
        if f"sha256:{sha256_of(file)}".encode() not in text.split():
            file.write_bytes(text)


def main(commit: str, folder: str = "") -> int:
    """Print why the commit is refused and return 1, or lay it out, in a folder that is not there yet, and return 0."""
    platform, known = git("rev-parse", "HEAD").decode().strip(), owners(PATHS.read_text(encoding="utf-8"))
    own, platforms = entries(commit), entries(platform)
    mine, compared = ({path: files[path] for path in files.keys() - UNCOMPARED} for files in (own, platforms))
    found = faults(mine, compared, known, owners_in(own))
    words = refusal(found, known, platform[:8], os.environ.get("CI_DEFAULT_BRANCH") or "the default branch")
    print(words or f"the platform's files are those of {platform[:8]}", file=sys.stderr if words else sys.stdout)
    if not words and folder:
        theirs = {path: entry for path, entry in platforms.items() if not is_services(path, known)}
        lay_out(theirs | {path: entry for path, entry in own.items() if is_services(path, known)}, Path(folder), Path())
    return 1 if words else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
