"""Which regions a rollback is about: those that serve what it leaves.

Knows histories, of several regions side by side. A pure module: asks no cluster.
"""

import dataclasses
from collections.abc import Iterable

from conf.rollout.history import BEGUN, UNDONE, History, Release


def left_behind(found: Iterable[History]) -> str:
    """Return the version that a rollback leaves: the one deployed last, in whichever region. "" where there is none."""
    last = [release for each in found if (release := _deployed(each)) and release.version]
    return max(last, key=lambda each: each.at).version if last else ""


def passed_over(found: History, leaving: str, to: str) -> str:
    """Return why a region is not rolled back, "" where it is. to: the version to return to, "" for the one before.

    Where a release was broken off, nobody knows what serves: that is always mended.
    """
    last, good = found.last, found.good
    if last is None or good is None or last.state == BEGUN:
        return ""
    if to:
        return f"{to} serves there already" if good.version == to else ""
    if last.state == UNDONE and not last.origin and last.version == leaving:
        return f"{last.version} was undone there by itself, and {good.version} serves; --to names an older version"
    return "" if good.version == leaving else f"{good.version} serves there, and this leaves {leaving}; --to names a version"


def _deployed(found: History) -> Release | None:
    """Return the release that was deployed last, if only to be undone. A rollback counts as the release it returned to."""
    last = found.last
    if last is not None and last.state == UNDONE and last.origin:
        last = found.good  # which an undone rollback did not leave
    if last is None or not last.origin:
        return last
    forgotten = dataclasses.replace(last, at="")
    return next((each for each in found.releases if each.number == last.origin), forgotten)
