"""What `monopod diff` prints: the changes that a deploy would make, as lines for a person or a program.

Labels are apart: a new version changes those of all objects. Changes nothing.
"""

import difflib
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.base.object_references import Item, Ref, dropped, ref
from conf.base.yamls import documents
from conf.commands.choices import load_regions, plans
from conf.commands.rollout_choices import by_digest, judged
from conf.remote.cluster import Cluster
from conf.render.templates import render
from conf.rollout import preflight
from conf.rollout.report import EXPECTED_ERRORS, error_status
from conf.rollout.targets import RegionTrack, Target, no_target, region_tracks

PLACES = (("metadata",), ("spec", "template", "metadata"))  # where labels stand that a release sets
Row = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """lines: a unified diff of the JSON, without labels. labels: what each that changes was and becomes, "" for none."""

    lines: tuple[str, ...]
    labels: Mapping[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.lines or self.labels)


def diff_command(arguments: Namespace) -> int:
    """Print what a deploy would change; exit status 3 where it would change something."""
    regions = load_regions(arguments)
    if regions is None:
        return 1
    found = judged(arguments, regions)
    if isinstance(found, int):
        return found
    chosen = [each for each in region_tracks(found, regions, arguments.track, arguments.region) if each.planned]
    if not chosen:
        return no_target(arguments, regions)
    found = by_digest(arguments, found, regions)
    if isinstance(found, int):
        return found
    rendered = {each.region: documents(render(each)) for each in plans(arguments, found, regions, (arguments.track,))}
    changes: list[Row] = []
    for spot in chosen:
        try:
            changes += _changes(spot, rendered[spot.region.name])
        except EXPECTED_ERRORS as error:
            print(f"{spot.region.name}: {error}", file=sys.stderr)
            return error_status(error)
    if arguments.json:
        print(json.dumps(changes, indent=2))
    else:
        _print_changes(chosen, changes)
    return 3 if changes else 0


def _changes(spot: RegionTrack, items: Sequence[Item]) -> Iterator[Row]:
    """Yield what applying objects would change, and what would be removed, as unified diffs of their JSON."""
    place = Target(Cluster(spot.region.context, lambda words: _warn(spot, words)), spot.namespace, spot.name)
    before = preflight.load_history(place, "")
    for item in items:
        live, then = place.cluster.get(ref(item)), place.cluster.apply(item, dry_run=True)
        if live and item["kind"] == "Deployment" and "replicas" not in item["spec"]:
            then["spec"]["replicas"] = live["spec"].get("replicas", 1)  # an autoscaler's: a deploy leaves it
        if found := difference(live, then):
            yield _change(spot, ref(item), found)
    for each in dropped(before.inventory, tuple(map(ref, items))):
        if live := place.cluster.get(each):
            yield _change(spot, each, difference(live, None))


def _change(spot: RegionTrack, each: Ref, found: Difference) -> Row:
    return {"region": spot.region.name, "object": str(each), "lines": list(found.lines), "labels": dict(found.labels)}


def _warn(spot: RegionTrack, words: str) -> None:
    print(f"{spot.region.name}: warning of the API server: {words}", file=sys.stderr)


def _print_changes(chosen: Sequence[RegionTrack], changes: Sequence[Row]) -> None:
    for spot in chosen:
        own = [each for each in changes if each["region"] == spot.region.name]
        for change in own:
            if change["lines"]:
                print(f"{change['region']}: {change['object']}", *change["lines"], sep="\n")
        for words in folded(change["labels"] for change in own):
            print(f"{spot.region.name}: {words}")
        if not own:
            print(f"{spot.region.name}: nothing would change")


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
    return json.dumps(preflight.comparable(item), indent=1, sort_keys=True).splitlines()
