"""Which regions a rollback is about: those that serve what it leaves.

Knows histories, of several regions side by side. A pure module: asks no cluster.
"""

import dataclasses
from collections.abc import Iterable

from conf.base.image_names import short_digest
from conf.rollout.history import BEGUN, UNDONE, History, Release


def release_to_leave(found: Iterable[History]) -> Release | None:
    """Return the release that a rollback leaves: the one deployed last, in whichever region. None where there is none."""
    last = [release for each in found if (release := _deployed(each)) and release.version]
    return max(last, key=lambda each: each.at) if last else None


def reason_to_skip(found: History, leaving: Release | None, to: str) -> str:
    """Return why a region is not rolled back, "" where it is. to: the version to return to, "" for the one before.

    Releases are the same where their versions and their images' digests are. Where a release was broken off, nobody knows what
    serves: that is always mended.
    """
    last, good = found.last, found.good
    if last is None or good is None or last.state == BEGUN:
        return ""
    if to:
        return _serves_already(found, good, to) if good.is_version(to) else ""
    left = leaving.content if leaving else None
    if last.state == UNDONE and not last.origin and last.content == left:
        return f"{last.beside(good)} was undone there by itself, and {good.beside(last)} serves; --to names an older version"
    if good.content == left:
        return ""
    name = leaving.beside(good) if leaving else ""
    return f"{good.beside(leaving)} serves there, and this leaves {name}; --to names a version"


def _serves_already(found: History, good: Release, to: str) -> str:
    """Return in words that `to` serves, and how to name another image of that tag, where the history keeps one."""
    another = next((each for each in found.kept if to == each.version and each.beside(good) != each.version), None)
    if another is None:
        return f"{to} serves there already"
    return f"{good.beside(another)} serves there already; --to {short_digest(another.digest)} names another image of {to}"


def rollback_note(found: History, older: Release) -> str:
    """Return what a rollback to an older release does, in words. Where nothing else tells the two apart, their times do."""
    left = found.last if found.last and found.last.state == BEGUN else found.good
    if left is None or not left.version:
        return f"rolled back to {older.version}"
    before, after = left.beside(older), older.beside(left)
    return f"rolled back from {before} to {after}" if before != after else f"rolled back to {after} of {older.at}"


def returnable_versions(found: History) -> list[str]:
    """Return the versions that a rollback can name, the newest first. One of several contents has its digests beside it."""
    kept = found.kept
    named = ({each.beside(other) for other in kept} - {each.version} or {each.version} for each in kept)
    return list(dict.fromkeys(name for names in named for name in names))


def no_release_message(found: History, to: str) -> str:
    """Return what a rollback finds instead of a release to return to. to: the version that a person named, or ""."""
    if not to:
        return "no earlier good release to return to"
    there = returnable_versions(found)
    return (
        f"no good release of version {to} to return to; there {'are' if len(there) > 1 else 'is'} {', '.join(there) or 'none'}"
    )


def _deployed(found: History) -> Release | None:
    """Return the release that was deployed last, if only to be undone. A rollback counts as the release it returned to."""
    last = found.last
    if last is not None and last.state == UNDONE and last.origin:
        last = found.good  # which an undone rollback did not leave
    if last is None or not last.origin:
        return last
    forgotten = dataclasses.replace(last, at="")
    return next((each for each in found.releases if each.number == last.origin), forgotten)
