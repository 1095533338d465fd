"""The history of a service's track in one namespace, as a ConfigMap keeps it: who holds the name, and the last releases.

Knows how it is written and read. Does not know how a release is applied, and asks no cluster.

    data.holder     {"project": ..., "branch": ..., "since": ...}
    data.releases   [{"number": ..., "state": ..., "inventory": [[kind, namespace, name, uid], ...], ...}, ...], oldest first
    binaryData.N    the objects of release N, as JSON, compressed
"""

import base64
import dataclasses
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from conf.base.image_names import SHORT_DIGEST, digest_of, short_digest
from conf.base.object_references import APPLIED, MANAGER, Item, Ref, dropped, ref

KEPT = 10  # releases, and as many good ones
REGIONS = "MONOPOD_REGIONS"  # a variable of the pods: the regions that value.py may name
LARGEST = 900_000  # bytes of all objects that are kept: a ConfigMap takes 1 MiB
# A release is begun, then good, or undone by itself; one that a killed job left stays begun until the next run finds it.
BEGUN, GOOD, UNDONE = "begun", "good", "undone"


class UnreadableHistory(Exception):
    """The ConfigMap holds something else. The text says what to do."""


@dataclass(frozen=True)
class Holder:
    """Whose the name is: a project and its branch."""

    project: str
    branch: str
    since: str

    def same(self, other: "Holder") -> bool:
        return (self.project, self.branch) == (other.project, other.branch)

    def __str__(self) -> str:
        return f"branch {self.branch} of {self.project}"


@dataclass(frozen=True)
class Release:
    """One release.

    at: UTC, ISO 8601. by: who deployed it. note: what it was besides. origin: the release that a rollback returned to, or 0.
    override: why it was let through outside the region's release windows, "" where it was not.
    inventory: what may be in the cluster of this service. Of a good release its own objects; while it is begun, those that it
    found as well, so that the last release alone says what there is to take away.
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

    @property
    def digest(self) -> str:
        """Of its image; "" where that was deployed by its tag."""
        return digest_of(self.image)

    @property
    def content(self) -> tuple[str, str]:
        """What tells it from other releases: its version, and its image's digest, since a tag may be pushed again."""
        return self.version, self.digest

    def is_version(self, named: str) -> bool:
        """Whether a person may call it that: by its version, or by the digest of its image or the beginning of it."""
        return named == self.version or (len(named) >= SHORT_DIGEST and self.digest.startswith(named))

    def beside(self, other: "Release | None") -> str:
        """Return its version as people tell it from another's: with the digest where both have the same version."""
        same = other is not None and other.version == self.version and other.digest != self.digest
        return f"{self.version} ({short_digest(self.digest)})" if same and self.digest else self.version

    @property
    def line(self) -> int:
        """Its target in the order of what was deployed: a rollback's is that of the release it returned to."""
        return self.origin or self.number


@dataclass(frozen=True)
class History:
    """What is kept. objects: those of good releases and of one that is begun, by its number."""

    holder: Holder | None = None
    releases: tuple[Release, ...] = ()
    objects: dict[int, list[Item]] = field(default_factory=dict)
    resource_version: str = ""

    @property
    def last(self) -> Release | None:
        return self.releases[-1] if self.releases else None

    @property
    def good(self) -> Release | None:
        """The last good release."""
        return next((each for each in reversed(self.releases) if each.state == GOOD), None)

    @property
    def inventory(self) -> tuple[Ref, ...]:
        """Every object that may be in the cluster."""
        return self.last.inventory if self.last else ()

    @property
    def kept(self) -> list[Release]:
        """The releases that a rollback can return to by their version, the newest first."""
        return [each for each in reversed(self.releases) if each.state == GOOD and each.number in self.objects]

    def earlier(self, to: str = "") -> Release | None:
        """Return the release to which a rollback goes: the good one before what serves, or the last one of a version.

        A release that was broken off may be there in part: before it is the last good one; a rollback that was broken off goes
        on. A rollback's own target is that of the release it returned to, so that each goes further back; releases of the very
        same objects are passed over, and those that differ in the list of regions alone.
        """
        good, last, kept = self.good, self.last, self.kept
        if to:
            return next((each for each in kept if each.is_version(to)), None)
        if good is None or last is None:
            return good
        if last.state == BEGUN:
            return next((each for each in kept if each.number == last.origin), good)
        before = [each for each in self.releases if each.state == GOOD and each.number < good.line]
        return next((each for each in reversed(before) if self._can_return(each, good)), None)

    def begin(self, release: Release, objects: list[Item]) -> "History":
        """Return the history with one more release that is begun. Its inventory becomes what it brings and what is there."""
        theirs = tuple(dataclasses.replace(each, uid="") for each in release.inventory)
        begun = dataclasses.replace(release, state=BEGUN, inventory=(*theirs, *dropped(self.inventory, theirs)))
        return dataclasses.replace(
            self, releases=(*self.releases, begun), objects={**self.objects, release.number: objects}
        )._tidy()

    def ended(self, state: str, inventory: Sequence[Ref]) -> "History":
        """Return the history with its last release ended: good or undone, and what is in the cluster by then.

        Where nothing is there any more, and nothing was good, nobody has the name.
        """
        assert self.last is not None
        ended = dataclasses.replace(self.last, state=state, inventory=tuple(inventory))
        holder = self.holder if inventory or self.good or state == GOOD else None
        return dataclasses.replace(self, holder=holder, releases=(*self.releases[:-1], ended))._tidy()

    def _can_return(self, each: Release, good: Release) -> bool:
        if each.number not in self.objects:
            return False
        return [*map(_for_itself, self.objects[each.number])] != [*map(_for_itself, self.objects.get(good.number, []))]

    def _tidy(self) -> "History":
        """Forget the oldest releases, but never the last good one, and the objects of those that nobody returns to."""
        goods = [each.number for each in self.releases if each.state == GOOD]
        kept = {each.number for each in self.releases[-KEPT:]} | set(goods[-KEPT:])
        begun = self.last.number if self.last and self.last.state == BEGUN else 0
        needed = {begun, max(goods, default=0)}
        objects, room = {}, LARGEST
        for number in sorted({*goods, begun} & kept & set(self.objects), reverse=True):
            room -= len(_packed(self.objects[number]))
            if room >= 0 or number in needed:
                objects[number] = self.objects[number]
        return dataclasses.replace(self, releases=tuple(each for each in self.releases if each.number in kept), objects=objects)


def utc_now() -> str:
    """Return the time as a release keeps it: UTC, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def name(service: str) -> str:
    return f"monopod-{service}"


def write(history: History, service: str, namespace: str) -> Item:
    """Return the ConfigMap of a history."""
    metadata: dict[str, Any] = {
        "name": name(service),
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
    """Return the history of a ConfigMap; an empty one where there is none. Raises UnreadableHistory."""
    if item is None:
        return History()
    metadata = item["metadata"]
    try:
        holder = json.loads(item["data"]["holder"])
        releases = tuple(_release(each) for each in json.loads(item["data"]["releases"]))
        objects = {int(number): _unpacked(text) for number, text in (item.get("binaryData") or {}).items()}
        found = History(Holder(**holder) if holder else None, releases, objects, metadata.get("resourceVersion", ""))
        _belongs(found, metadata["namespace"], metadata["name"])
        return found
    except (KeyError, TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise UnreadableHistory(
            f"ConfigMap {metadata['namespace']}/{metadata['name']} holds no history that can be read ({error!r}); mend it, or "
            "delete it: the next deploy then begins a new one with what it finds"
        ) from error


def _belongs(found: History, namespace: str, own: str) -> None:
    """Raise ValueError where a history names what is not of its service: somebody else wrote it, or lost a part."""
    refs = [each for release in found.releases for each in release.inventory]
    refs += [ref(item) for items in found.objects.values() for item in items]
    strange = [str(each) for each in refs if each.kind not in APPLIED or (each.namespace, name(each.name)) != (namespace, own)]
    if strange:
        raise ValueError(f"{strange[0]} is none of its objects")
    if found.good and found.good.number not in found.objects:
        raise ValueError(f"the objects of release {found.good.number} are missing")


def _for_itself(item: Item) -> Item:
    """Return an object as far as its own region is concerned: without the names of all regions that its containers are told."""
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
    """Read a release, whatever a newer platform wrote besides."""
    inventory = tuple(Ref(*each) for each in plain["inventory"])
    known = {each.name for each in dataclasses.fields(Release)}
    return Release(**{**{key: value for key, value in plain.items() if key in known}, "inventory": inventory})


def _packed(items: list[Item]) -> bytes:
    return gzip.compress(json.dumps(items, separators=(",", ":")).encode(), mtime=0)


def _unpacked(text: str) -> list[Item]:
    items: list[Item] = json.loads(gzip.decompress(base64.b64decode(text)))
    return items
