"""Takes the platform's release that a branch stands on: releases.py COMMIT URL. releases.py TAG prints a line of the list.

Runs in a checkout of the platform's default branch, whose conf/RELEASES decides. A branch is data here: it stands on the
release whose platform files have the same hash. That release's commit is checked out, which URL must have under its tag. In all
other cases the default branch stays, and ci/same-platform compares the branch with it. So no fault lets a branch pass. A stop
or a rollback compares nothing, and then runs the default branch's code. Standard library only.
"""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from ci.same_platform import PLATFORM, UNCOMPARED, Entry, entries, git, is_services, owners_in

RELEASES = "conf/RELEASES"
REGIONS = "conf/regions.yaml"
LINE = re.compile(r"(v\d+(?:\.\d+)*) ([0-9a-f]{40}) ([0-9a-f]{64})(?: (\d{4}-\d\d-\d\d) (\S.*))?")


class ReleaseError(Exception):
    """A release cannot be taken. The text says why."""


class Release(NamedTuple):
    """A line of the list. files: the hash of its platform files. refused: the first day on which it is refused, and why."""

    tag: str
    commit: str
    files: str
    refused: date | None = None
    why: str = ""


def read(text: str) -> list[Release]:
    """Return the releases of a list. Raises ReleaseError, which names the line."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line and not line.startswith("#"):
            try:
                found.append(_release(line))
            except ValueError:
                wanted = (
                    "a line is TAG COMMIT HASH, such as v0.3 with 40 and 64 hexadecimal digits, and may go on: YYYY-MM-DD WHY"
                )
                raise ReleaseError(f"{RELEASES}:{number}: {line!r} is not a release; {wanted}") from None
    return found


def _release(line: str) -> Release:
    match = LINE.fullmatch(line)
    if not match:
        raise ValueError(line)
    tag, commit, files, day, why = match.groups()
    return Release(tag, commit, files, date.fromisoformat(day) if day else None, why or "")


def platform_hash(files: Mapping[str, Entry], known: Mapping[str, str]) -> str:
    """Return the hash of the platform files among a commit's files. known: the owners by that commit's own conf/PATHS.

    conf/PATHS is in the hash. So commits of one hash have one list of owners, whatever a branch wrote into its own.
    """
    counted = (path for path in files if path == "conf/PATHS" or not (path in UNCOMPARED or is_services(path, known)))
    rows = (f"{files[path].mode} {files[path].name} {path}\0" for path in sorted(counted))
    return hashlib.sha256(os.fsencode("".join(rows))).hexdigest()


def hash_of(files: Mapping[str, Entry]) -> str:
    return platform_hash(files, owners_in(files))


def standing(files: str, listed: Sequence[Release], today: date, url: str) -> tuple[Release | None, str]:
    """Return the supported release with this hash, or None, and what the job's log says of it. url: the platform's."""
    found = [i for i, release in enumerate(listed) if release.files == files]
    if not found:
        return None, ""
    stands = listed[found[-1]]
    newest = next((release for release in reversed(listed[found[-1] :]) if release.refused is None), None)
    words = f"this branch stands on the platform's release {stands.tag}"
    brings = f"monopod update --to {newest.tag}" if newest else f"git pull --no-rebase {re.sub('//[^/@]*@', '//', url)} HEAD"
    if stands.refused and stands.refused <= today:
        return None, f"{words}, which is refused since {stands.refused}: {stands.why}; the cure: {brings}"
    if stands.refused:
        return stands, f"warning: {words}, which is refused from {stands.refused} on: {stands.why}; the cure: {brings}"
    return stands, words if newest == stands else f"{words}; a newer one is {newest.tag if newest else 'HEAD'}: {brings}"


def fetch(release: Release, url: str) -> None:
    """Bring a release's commit here. Raises ReleaseError where its tag is missing, or names another commit or other files."""
    command = ["git", "-C", str(PLATFORM), "fetch", "--quiet", "--no-tags", "--depth", "1", url, f"refs/tags/{release.tag}"]
    if subprocess.run(command, check=False).returncode:
        words = f"{RELEASES} lists {release.tag}, which cannot be fetched from PLATFORM_URL, as git says above"
        raise ReleaseError(f"{words}: push that tag")
    found = git("rev-parse", "FETCH_HEAD^{commit}").decode().strip()
    if found != release.commit:
        words = f"the tag {release.tag} of PLATFORM_URL is {found}, and {RELEASES} lists {release.commit}"
        raise ReleaseError(f"{words}: put the tag back, and protect it")
    if hash_of(entries(found)) != release.files:
        raise ReleaseError(
            f"{RELEASES} lists a wrong hash of {release.tag}: write the line again by ci/releases.py {release.tag}"
        )


def take(commit: str, url: str, today: date) -> list[str]:
    """Check out the release that a commit stands on, where it is supported. Return lines for the log. Raises ReleaseError."""
    head = git("rev-parse", "HEAD").decode().strip()
    own, platforms = entries(commit), entries(head)
    said = []
    if own.get(REGIONS) != platforms.get(REGIONS):
        said.append(f"{REGIONS} of this branch differs from the platform's, which this job uses")
    if (files := hash_of(own)) == hash_of(platforms):
        return said
    release, words = standing(files, read((PLATFORM / RELEASES).read_text(encoding="utf-8")), today, url)
    if release:
        fetch(release, url)
        git("checkout", "--quiet", release.commit)
        git("checkout", "--quiet", head, "--", *UNCOMPARED)
    return [*said, words] if words else said


def main(commit: str, url: str = "") -> int:
    """Print the line of a tag, or take the release of a commit and print what the log says of it."""
    if not url:
        found = git("rev-parse", f"{commit}^{{commit}}").decode().strip()
        print(commit, found, hash_of(entries(found)))
        return 0
    try:
        for line in take(commit, url, datetime.now(UTC).date()):
            print(line)
    except ReleaseError as error:
        print(error, file=sys.stderr)  # the default branch stays, so ci/same-platform refuses a deploy
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
