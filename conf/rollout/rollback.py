"""The choice of a rollback: the regions that serve the release to leave, and the release to return to, in words.

Knows the histories of several regions side by side. A pure module: asks no cluster.
"""

import dataclasses
from collections.abc import Iterable

from conf.base.image_names import short_digest
from conf.rollout.history import BEGUN, UNDONE, History, Release


def release_to_leave(found: Iterable[History]) -> Release | None:
    """Return the release that a rollback leaves: the last one that was deployed in any region. None where there is none."""
    last = [release for each in found if (release := _last_deployed(each)) and release.version]
    return max(last, key=lambda each: each.at) if last else None


def reason_to_skip(found: History, leaving: Release | None, to: str) -> str:
    """Return why a region is not rolled back; "" where it is. to: the version to return to, "" for the one before.

    Releases are the same where their versions and their images' digests are. A region whose last release was broken off is
    always rolled back, because nobody knows what serves there.
    """
    last, good = found.last, found.good
    if last is None or good is None or last.state == BEGUN:
        return ""
    if to:
        return _serves_already(found, good, to) if good.is_version(to) else ""
    left = leaving.content if leaving else None
    if last.state == UNDONE and not last.origin and last.content == left:
        undone, serves = last.version_beside(good), good.version_beside(last)
        return f"{undone} was undone there by itself, and {serves} serves; --to names an older version"
    if good.content == left:
        return ""
    name = leaving.version_beside(good) if leaving else ""
    return f"{good.version_beside(leaving)} serves there, and this leaves {name}; --to names a version"


def _serves_already(found: History, good: Release, to: str) -> str:
    """Return in words that `to` serves, and how to name another image of that tag, where the history keeps one."""
    another = next(
        (each for each in found.returnable if to == each.version and each.version_beside(good) != each.version), None
    )
    if another is None:
        return f"{to} serves there already"
    return (
        f"{good.version_beside(another)} serves there already; --to {short_digest(another.digest)} names another image of {to}"
    )


def rollback_note(found: History, older: Release) -> str:
    """Return what a rollback to an older release does, in words. Releases that look the same are told apart by their times."""
    left = found.last if found.last and found.last.state == BEGUN else found.good
    if left is None or not left.version:
        return f"rolled back to {older.version}"
    before, after = left.version_beside(older), older.version_beside(left)
    return f"rolled back from {before} to {after}" if before != after else f"rolled back to {after} of {older.at}"


def returnable_versions(found: History) -> list[str]:
    """Return the versions that a rollback can name, the newest first. A version of several contents stands with each digest."""
    kept = found.returnable
    named = ({each.version_beside(other) for other in kept} - {each.version} or {each.version} for each in kept)
    return list(dict.fromkeys(name for names in named for name in names))


def no_release_message(found: History, to: str) -> str:
    """Return that there is no release to return to, and which there are. to: the version that a person named, or ""."""
    if not to:
        return "no earlier good release to return to"
    versions = returnable_versions(found)
    verb, names = "are" if len(versions) > 1 else "is", ", ".join(versions) or "none"
    return f"no good release of version {to} to return to; there {verb} {names}"


def _last_deployed(found: History) -> Release | None:
    """Return the release that was deployed last, even if it was undone. A rollback counts as the release it returned to."""
    last = found.last
    if last is not None and last.state == UNDONE and last.origin:
        last = found.good  # which the undone rollback did not leave
    if last is None or not last.origin:
        return last
    forgotten = dataclasses.replace(last, at="")
    return next((each for each in found.releases if each.number == last.origin), forgotten)
