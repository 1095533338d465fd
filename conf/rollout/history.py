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
from typing import Any

from conf.refs import Item, Ref

KEPT = 10  # releases
# A release is begun, then good, or undone by itself; one that a killed job left stays begun until the next run finds it.
BEGUN, GOOD, UNDONE = "begun", "good", "undone"


class Unreadable(Exception):
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
    """One release. at: UTC, ISO 8601. by: who deployed it. note: what it was besides, such as a rollback to another."""

    number: int
    version: str
    image: str
    at: str
    by: str
    state: str = BEGUN
    note: str = ""
    inventory: tuple[Ref, ...] = ()


@dataclass(frozen=True)
class History:
    """What is kept. objects: those of each release that may be returned to, by its number."""

    holder: Holder | None = None
    releases: tuple[Release, ...] = ()
    objects: dict[int, list[Item]] = field(default_factory=dict)
    resource_version: str = ""

    @property
    def last(self) -> Release | None:
        return self.releases[-1] if self.releases else None

    def good(self, before: int | None = None) -> Release | None:
        """Return the last good release, of those before a number."""
        found = [each for each in self.releases if each.state == GOOD and (before is None or each.number < before)]
        return found[-1] if found else None

    def inventory(self) -> tuple[Ref, ...]:
        """Return every object that a release since the last good one may have left in the cluster."""
        good = self.good()
        since = [each for each in self.releases if good is None or each.number >= good.number]
        return tuple(dict.fromkeys(ref for each in since for ref in each.inventory))

    def begin(self, release: Release, objects: list[Item]) -> "History":
        """Return the history with one more release; the oldest are forgotten, but never the last good one."""
        releases = (*self.releases, release)
        good = self.good()
        kept = {each.number for each in releases[-KEPT:]} | ({good.number} if good else set())
        return dataclasses.replace(
            self,
            releases=tuple(each for each in releases if each.number in kept),
            objects={number: items for number, items in {**self.objects, release.number: objects}.items() if number in kept},
        )

    def changed(self, number: int, **values: Any) -> "History":
        """Return the history with one release's state, note or inventory replaced."""
        found = (dataclasses.replace(each, **values) if each.number == number else each for each in self.releases)
        return dataclasses.replace(self, releases=tuple(found))


def name(service: str) -> str:
    return f"monopod-{service}"


def write(history: History, service: str, namespace: str) -> Item:
    """Return the ConfigMap of a history."""
    metadata: dict[str, Any] = {
        "name": name(service),
        "namespace": namespace,
        "labels": {"app.kubernetes.io/managed-by": "monopod", "monopod/history": service},
    }
    if history.resource_version:
        metadata["resourceVersion"] = history.resource_version
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {
            "holder": json.dumps(dataclasses.asdict(history.holder)) if history.holder else "null",
            "releases": json.dumps([_plain(each) for each in history.releases], indent=1),
        },
        "binaryData": {str(number): _packed(items) for number, items in history.objects.items()},
    }


def read(item: Item | None) -> History:
    """Return the history of a ConfigMap; an empty one where there is none. Raises Unreadable."""
    if item is None:
        return History()
    metadata = item["metadata"]
    try:
        holder = json.loads(item["data"]["holder"])
        releases = tuple(_release(each) for each in json.loads(item["data"]["releases"]))
        objects = {int(number): _unpacked(text) for number, text in (item.get("binaryData") or {}).items()}
        return History(Holder(**holder) if holder else None, releases, objects, metadata.get("resourceVersion", ""))
    except (KeyError, TypeError, ValueError, OSError, EOFError) as error:
        raise Unreadable(
            f"ConfigMap {metadata['namespace']}/{metadata['name']} holds no history that can be read ({error!r}); mend it, or "
            "delete it: the next deploy then begins a new one, and removes nothing that an older release left"
        ) from error


def _plain(release: Release) -> dict[str, Any]:
    inventory: Sequence[Any] = [[ref.kind, ref.namespace, ref.name, ref.uid] for ref in release.inventory]
    return {**dataclasses.asdict(release), "inventory": inventory}


def _release(plain: dict[str, Any]) -> Release:
    return Release(**{**plain, "inventory": tuple(Ref(*each) for each in plain["inventory"])})


def _packed(items: list[Item]) -> str:
    return base64.b64encode(gzip.compress(json.dumps(items, separators=(",", ":")).encode(), mtime=0)).decode()


def _unpacked(text: str) -> list[Item]:
    items: list[Item] = json.loads(gzip.decompress(base64.b64decode(text)))
    return items
