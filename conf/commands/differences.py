"""The changes that applying an object would make, as lines for a person. Labels are apart: a new version changes those of all.

Knows objects as JSON. A pure module: asks no cluster.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conf.base.references import Item
from conf.rollout import preflight

PLACES = (("metadata",), ("spec", "template", "metadata"))  # where labels stand that a release sets


@dataclass(frozen=True)
class Difference:
    """lines: a unified diff of the JSON, without labels. labels: what each that changes was and becomes, "" for none."""

    lines: tuple[str, ...]
    labels: Mapping[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.lines or self.labels)


def difference(live: Item | None, then: Item | None) -> Difference:
    """Return what becomes of an object. live, then: as the API server has it and would have it, None where it has not."""
    if live is None or then is None:
        return Difference(tuple(_diff(live, then)), {})
    labels, other = dict[str, tuple[str, str]](), then
    for place in PLACES:
        old, new = _labels(live, place), _labels(then, place)
        labels |= {key: (old.get(key, ""), new.get(key, "")) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
        if new:
            other = _with_labels(other, place, old)
    return Difference(tuple(_diff(live, other)), labels)


def folded(found: Iterable[Mapping[str, tuple[str, str]]]) -> Iterator[str]:
    """Yield a line for each set of changes of labels, with the number of objects that have it."""
    counts: dict[str, int] = {}
    for labels in found:
        words = ", ".join(f"{key} {old or 'none'} -> {new or 'none'}" for key, (old, new) in labels.items())
        counts[words] = counts.get(words, 0) + 1
    for words, count in counts.items():
        if words:
            yield f"labels of {count} {'object' if count == 1 else 'objects'}: {words}"


def _labels(item: Item, place: tuple[str, ...]) -> dict[str, str]:
    found: Any = item
    for name in place:
        found = found.get(name) or {}
    return dict(found.get("labels") or {})


def _with_labels(item: Item, place: tuple[str, ...], labels: dict[str, str]) -> Item:
    if not place:
        return {**item, "labels": labels}
    return {**item, place[0]: _with_labels(item[place[0]], place[1:], labels)}


def _diff(live: Item | None, then: Item | None) -> Iterator[str]:
    return difflib.unified_diff(_lines(live), _lines(then), "now", "then", lineterm="", n=2)


def _lines(item: Item | None) -> list[str]:
    if item is None:
        return []
    return json.dumps(preflight.content(item), indent=1, sort_keys=True).splitlines()
