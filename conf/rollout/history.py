"""The history of a service's track in one namespace, as a ConfigMap keeps it: the holder of the name, and the last releases.

It also tells which release a rollback returns to. Asks no cluster.

    data.holder     {"project": ..., "branch": ..., "since": ...}
    data.releases   [{"number": ..., "state": ..., "inventory": [[kind, namespace, name, uid], ...], ...}, ...], oldest first
    binaryData.N    the objects of release N, as JSON, compressed
"""

import base64
import dataclasses
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from conf.base.image_names import SHORT_DIGEST, digest_of, short_digest
from conf.base.object_references import APPLIED, MANAGER, Item, Ref, dropped, ref
from conf.plan.plan import offline_name
from conf.render.arms import arm_names

KEPT = 10  # releases that are kept, and as many good ones
REGIONS = "MONOPOD_REGIONS"  # the environment variable that tells pods which regions value.py may name
MAX_BYTES = 900_000  # bytes of all objects that are kept. A ConfigMap takes 1 MiB.
# The state of a release. It is begun, and then good or undone. A release of a killed job stays begun until the next run.
BEGUN, GOOD, UNDONE = "begun", "good", "undone"


class UnreadableHistory(Exception):
    """The ConfigMap of a history cannot be read as one. The text says what to do."""


@dataclass(frozen=True)
class Holder:
    """The project and branch to which the name of a service belongs. since: UTC, ISO 8601."""

    project: str
    branch: str
    since: str

    def is_same(self, other: "Holder") -> bool:
        return (self.project, self.branch) == (other.project, other.branch)

    def __str__(self) -> str:
        return f"branch {self.branch} of {self.project}"


@dataclass(frozen=True)
class Release:
    """One release of a service's track.

    at: UTC, ISO 8601. by: who deployed it. note: "", or a remark such as `rolled back from 3 to 2`.
    origin: the number of the release that a rollback returned to, 0 for a deploy.
    override: the reason for a release outside the region's release windows, "" inside them.
    inventory: the objects that may be in the cluster. A good release has its own objects. A release that is begun also has the
    objects that it found, so that the inventory of the last release is complete.
    canary: the state of its canary, as conf.rollout.canary.state writes it; None for a release without steps.
    """

    number: int
    version: str
    image: str
    at: str
    by: str
    state: str = BEGUN
    note: str = ""
    origin: int = 0
    inventory: tuple[Ref, ...] = ()
    override: str = ""
    canary: dict[str, Any] | None = field(default=None, hash=False)

    @property
    def digest(self) -> str:
        """The digest of its image; "" where the image was deployed by its tag."""
        return digest_of(self.image)

    @property
    def content(self) -> tuple[str, str]:
        """Its version and its image's digest. Two releases of one version may differ, since a tag may be pushed again."""
        return self.version, self.digest

    def is_version(self, named: str) -> bool:
        """Return whether a person names this release: by its version, by its image's digest, or by the digest's beginning."""
        return named == self.version or (len(named) >= SHORT_DIGEST and self.digest.startswith(named))

    def version_beside(self, other: "Release | None") -> str:
        """Return its version for a text that names another release too: with the digest where both have the same version."""
        same = other is not None and other.version == self.version and other.digest != self.digest
        return f"{self.version} ({short_digest(self.digest)})" if same and self.digest else self.version

    @property
    def position(self) -> int:
        """Its position in the order of deploys. A rollback has the position of the release that it returned to."""
        return self.origin or self.number


@dataclass(frozen=True)
class History:
    """The history of a track. objects: by the release's number, for good releases and one that is begun."""

    holder: Holder | None = None
    releases: tuple[Release, ...] = ()
    objects: dict[int, list[Item]] = field(default_factory=dict)
    resource_version: str = ""

    @property
    def last(self) -> Release | None:
        return self.releases[-1] if self.releases else None

    @property
    def good(self) -> Release | None:
        return next((each for each in reversed(self.releases) if each.state == GOOD), None)

    @property
    def inventory(self) -> tuple[Ref, ...]:
        return self.last.inventory if self.last else ()

    @property
    def returnable(self) -> list[Release]:
        """The releases that a rollback can return to by their version, the newest first."""
        return [each for each in reversed(self.releases) if each.state == GOOD and each.number in self.objects]

    def rollback_release(self, to: str = "") -> Release | None:
        """Return the release to which a rollback returns: the last one of a version, or the good one before the one
        that serves. None where there is none.

        A release that was broken off may be there in part, so the rollback returns to the last good release. A rollback that
        was broken off goes on. Each rollback goes further back, because it has the position of the release it returned to.
        Releases of the same objects are skipped, also where they differ in the list of regions alone.
        """
        good, last, kept = self.good, self.last, self.returnable
        if to:
            return next((each for each in kept if each.is_version(to)), None)
        if good is None or last is None:
            return good
        if last.state == BEGUN:
            return next((each for each in kept if each.number == last.origin), good)
        before = [each for each in self.releases if each.state == GOOD and each.number < good.position]
        return next((each for each in reversed(before) if self._can_return(each, good)), None)

    def begin(self, release: Release, objects: list[Item]) -> "History":
        """Return the history with one more release, which is begun. Its inventory also has the objects that are there."""
        theirs = tuple(dataclasses.replace(each, uid="") for each in release.inventory)
        begun = dataclasses.replace(release, state=BEGUN, inventory=(*theirs, *dropped(self.inventory, theirs)))
        return dataclasses.replace(
            self, releases=(*self.releases, begun), objects={**self.objects, release.number: objects}
        )._tidy()

    def end(self, state: str, inventory: Sequence[Ref]) -> "History":
        """Return the history with its last release ended. state: GOOD or UNDONE. inventory: the objects in the cluster by then.

        Where no object is left, and no release was good, the name is free again.
        """
        assert self.last is not None
        ended = dataclasses.replace(self.last, state=state, inventory=tuple(inventory))
        holder = self.holder if inventory or self.good or state == GOOD else None
        return dataclasses.replace(self, holder=holder, releases=(*self.releases[:-1], ended))._tidy()

    def _can_return(self, each: Release, good: Release) -> bool:
        if each.number not in self.objects:
            return False
        return [*map(_without_region_names, self.objects[each.number])] != [
            *map(_without_region_names, self.objects.get(good.number, []))
        ]

    def _tidy(self) -> "History":
        """Forget the oldest releases, and objects that no rollback needs. The last good release is always kept."""
        goods = [each.number for each in self.releases if each.state == GOOD]
        kept = {each.number for each in self.releases[-KEPT:]} | set(goods[-KEPT:])
        begun = self.last.number if self.last and self.last.state == BEGUN else 0
        needed = {begun, max(goods, default=0)}
        objects, room = {}, MAX_BYTES
        for number in sorted({*goods, begun} & kept & set(self.objects), reverse=True):
            room -= len(_packed(self.objects[number]))
            if room >= 0 or number in needed:
                objects[number] = self.objects[number]
        return dataclasses.replace(self, releases=tuple(each for each in self.releases if each.number in kept), objects=objects)


def utc_now() -> str:
    """Return the time as a release keeps it: UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def object_name(service: str) -> str:
    """Return the name of a service's history and of its lease."""
    return f"monopod-{service}"


def write(history: History, service: str, namespace: str) -> Item:
    metadata: dict[str, Any] = {
        "name": object_name(service),
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": MANAGER, "monopod/history": service},
    }
    if history.resource_version:
        metadata["resourceVersion"] = history.resource_version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {
            "holder": json.dumps(dataclasses.asdict(history.holder)) if history.holder else "null",
            "releases": json.dumps([_plain(each) for each in history.releases]),
        },
        "binaryData": {str(number): base64.b64encode(_packed(items)).decode() for number, items in history.objects.items()},
    }


def read(item: Item | None) -> History:
    """Return the history that a ConfigMap keeps, an empty one for None. Raises UnreadableHistory where it cannot be read."""
    if item is None:
        return History()
    metadata = item["metadata"]
    try:
        holder = json.loads(item["data"]["holder"])
        releases = tuple(_release(each) for each in json.loads(item["data"]["releases"]))
        packed = {int(number): base64.b64decode(text) for number, text in (item.get("binaryData") or {}).items()}
        objects = {number: json.loads(gzip.decompress(content)) for number, content in packed.items()}
        found = History(Holder(**holder) if holder else None, releases, objects, metadata.get("resourceVersion", ""))
        _check_objects(found, metadata["namespace"], metadata["name"])
        return found
    except (KeyError, TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise UnreadableHistory(
            f"ConfigMap {metadata['namespace']}/{metadata['name']} holds no history that can be read ({error!r}); repair it, "
            "or delete it: the next deploy then begins a new history with the objects that it finds"
        ) from error


def _check_objects(found: History, namespace: str, own: str) -> None:
    """Raise ValueError where a history has objects of another service, or has lost those of its last good release."""
    refs = [each for release in found.releases for each in release.inventory]
    refs += [ref(item) for items in found.objects.values() for item in items]
    names = (own, offline_name(own), *arm_names(own))
    strange = [
        str(each)
        for each in refs
        if each.kind not in APPLIED or each.namespace != namespace or object_name(each.name) not in names
    ]
    if strange:
        raise ValueError(f"{strange[0]} is not one of its objects")
    if found.good and found.good.number not in found.objects:
        raise ValueError(f"the objects of release {found.good.number} are missing")


def _without_region_names(item: Item) -> Item:
    """Return an object without the list of all regions that its containers get. The list may change without the region."""
    pod = item.get("spec", {}).get("template", {}).get("spec", {}) if item["kind"] == "Deployment" else {}
    if "containers" not in pod:
        return item
    containers = [{**each, "env": [one for one in each.get("env", []) if one["name"] != REGIONS]} for each in pod["containers"]]
    template = {**item["spec"]["template"], "spec": {**pod, "containers": containers}}
    return {**item, "spec": {**item["spec"], "template": template}}


def _plain(release: Release) -> dict[str, Any]:
    inventory: Sequence[Any] = [[ref.kind, ref.namespace, ref.name, ref.uid] for ref in release.inventory]
    return {**dataclasses.asdict(release), "inventory": inventory}


def _release(plain: dict[str, Any]) -> Release:
    """Read a release. Fields that a newer platform added are ignored."""
    inventory = tuple(Ref(*each) for each in plain["inventory"])
    known = {each.name for each in dataclasses.fields(Release)}
    return Release(**{**{key: value for key, value in plain.items() if key in known}, "inventory": inventory})


def _packed(items: list[Item]) -> bytes:
    return gzip.compress(json.dumps(items, separators=(",", ":")).encode(), mtime=0)


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
    """Return that the release to return to is missing, and which ones are there. to: the version that a person named, or ""."""
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
