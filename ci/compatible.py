"""Checks what the releases in conf/RELEASES may expect: a regions.yaml that each can read, and no silent change of objects.

In: conf/regions.yaml, conf/RENDERED, and the golden files of the last release and of this checkout. Out: a line for each fault.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from ci.releases import Release, read

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = "tests/golden"
LOAD = """
import sys
from pathlib import Path
from conf.clusters.regions import load
from serving.settings.reader import ConfigError
try:
    load(Path(sys.argv[1]))
except ConfigError as error:
    print(*error.mistakes, sep="\\n")
    sys.exit(1)
"""
LINE = re.compile(r"(v[\d.]+) (\w+) (\S+) (\S.*)")


class Announced(NamedTuple):
    """A line of conf/RENDERED. path: of the field, with dots and [], or a path above it."""

    release: str
    kind: str
    path: str
    why: str

    def covers(self, kind: str, path: str) -> bool:
        return kind == self.kind and re.match(rf"{re.escape(self.path)}(?![\w-])", path) is not None


def announced(text: str) -> list[Announced]:
    """Return the lines of conf/RENDERED. Raises ValueError, which names the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line and not line.startswith("#"):
            match = LINE.fullmatch(line)
            if not match:
                wanted = "RELEASE KIND PATH WHY, such as: v0.4 Service spec.ports[] the port of the metrics has a name"
                raise ValueError(f"conf/RENDERED:{number}: {line!r} is not {wanted}")
            found.append(Announced(*match.groups()))
    return found


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> set[tuple[str, str]]:
    """Return the kind and the path of each field that differs between golden files of the same name."""
    found = set()
    for name in before.keys() & after.keys():
        old, new = _fields(before[name]), _fields(after[name])
        found |= {(key[0], key[2]) for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return found


def _fields(text: str) -> dict[tuple[str, str, str], list[str]]:
    """Return the values of each field by its object's kind and name, and its path."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for item in yaml.load_all(text, yaml.CSafeLoader):
        for path, value in _leaves(item, "") if item and "kind" in item else ():
            found.setdefault((item["kind"], item["metadata"]["name"], path), []).append(value)
    return found


def _leaves(value: object, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict() if value:
            for key, each in value.items():
                yield from _leaves(each, f"{path}.{key}" if path else str(key))
        case list() if value:
            for each in value:
                yield from _leaves(each, f"{path}[]")
        case _:
            yield path, repr(value)


def _golden(commit: str) -> dict[str, str]:
    """Return the golden files of a commit by their names. Raises CalledProcessError where the clone lacks it."""
    names = _git("ls-tree", "-r", "--name-only", commit, f"{GOLDEN}/").splitlines()
    return {name: _git("show", f"{commit}:{name}") for name in names if name.endswith(".yaml")}


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def unannounced(found: Iterable[tuple[str, str]], lines: Iterable[Announced], released: Iterable[str]) -> list[tuple[str, str]]:
    """Return the changes that no line of a release which is not yet there covers."""
    later = [line for line in lines if line.release not in {*released}]
    return sorted((kind, path) for kind, path in found if not any(line.covers(kind, path) for line in later))


def refusals(release: Release, regions: Path) -> list[str]:
    """Return why a release refuses a file of regions. Raises CalledProcessError where the clone lacks the release."""
    command = ["git", "-C", str(ROOT), "archive", release.commit, "src", "conf"]
    packed = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-x", "-C", folder], input=packed, check=True)
        env = {**os.environ, "PYTHONPATH": f"{folder}/src:{folder}", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-P", "-c", LOAD, str(regions)], env=env, capture_output=True, text=True, check=False
        )
    return [] if not done.returncode else done.stdout.splitlines() or [done.stderr.strip().splitlines()[-1]]


def faults(releases: Sequence[Release], lines: Sequence[Announced], regions: Path) -> Iterator[str]:
    """Yield each fault. Raises CalledProcessError where the clone lacks a release."""
    for release in releases:
        for words in refusals(release, regions):
            yield f"{release.tag} refuses {words}; list a new field under `optional` in it, and older releases pass it over"
    for last in releases[-1:]:
        now = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in (ROOT / GOLDEN).rglob("*.yaml")}
        for kind, path in unannounced(changes(_golden(last.commit), now), lines, [release.tag for release in releases]):
            yield f"{kind} {path} changed since {last.tag}: announce it in conf/RENDERED, or undo it"


def main() -> int:
    releases = [each for each in read((ROOT / "conf/RELEASES").read_text(encoding="utf-8")) if not each.refused]
    lines = announced((ROOT / "conf/RENDERED").read_text(encoding="utf-8"))
    try:
        found = list(faults(releases, lines, ROOT / "conf/regions.yaml"))
    except subprocess.CalledProcessError:
        found = ["this clone lacks a release of conf/RELEASES: git fetch --unshallow"]
    print("".join(f"{line}\n" for line in found), end="", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
