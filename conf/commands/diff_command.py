"""`monopod diff`: show what a deploy would change, as lines for a person or a program.

Changed labels are listed apart, since a new version changes labels of all objects. Each apply is a dry run.
"""

import difflib
import json
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.base.console import prints_mistakes
from conf.base.object_references import Item, Ref, dropped, ref
from conf.base.quantities import counted
from conf.commands.arguments import checked_service, load_regions, rendered
from conf.rollout import preflight
from conf.rollout.release import with_restart
from conf.rollout.report import EXPECTED_ERRORS, error_status
from conf.rollout.targets import RegionTrack, no_target, region_tracks, target_to_read

LABELED = (("metadata",), ("spec", "template", "metadata"))  # paths in an object to the labels that a release sets
Row = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """The changes of one object.

    lines: a unified diff of the JSON, without labels. labels: each changed label's old and new value, "" for none.
    """

    lines: tuple[str, ...]
    labels: Mapping[str, tuple[str, str]]

    def __bool__(self) -> bool:
        return bool(self.lines or self.labels)


@prints_mistakes
def diff_command(arguments: Namespace) -> int:
    """Print what a deploy would change, and return 3 where it would change something."""
    regions = load_regions(arguments)
    service = checked_service(arguments, regions)
    chosen = [each for each in region_tracks(service, regions, arguments.track, arguments.region) if each.planned]
    if not chosen:
        raise no_target(arguments, regions)
    made = rendered(arguments, service, regions)
    changes: list[Row] = []
    for each in chosen:
        try:
            changes += _changes(each, made[each.region.name].items)
        except EXPECTED_ERRORS as error:
            print(f"{each.region.name}: {error}", file=sys.stderr)
            return error_status(error)
    if arguments.json:
        print(json.dumps(changes, indent=2))
    else:
        _print_changes(chosen, changes)
    return 3 if changes else 0


def _changes(region_track: RegionTrack, items: Sequence[Item]) -> Iterator[Row]:
    """Yield a row for each object that a deploy would create, change or remove. Raises ClusterError."""
    region = region_track.region.name
    target = target_to_read(region_track, lambda words: print(f"{region}: warning of the API server: {words}", file=sys.stderr))
    history = preflight.load_history(target, "")
    for item in with_restart(items, history):
        live, then = target.cluster.get(ref(item)), target.cluster.apply(item, dry_run=True)
        if live and item["kind"] == "Deployment" and "replicas" not in item["spec"]:
            then["spec"]["replicas"] = live["spec"].get("replicas", 1)  # a deploy leaves them to the autoscaler
        if found := difference(live, then):
            yield _row(region, ref(item), found)
    for each in dropped(history.inventory, tuple(map(ref, items))):
        if live := target.cluster.get(each):
            yield _row(region, each, difference(live, None))


def _row(region: str, each: Ref, found: Difference) -> Row:
    return {"region": region, "object": str(each), "lines": list(found.lines), "labels": dict(found.labels)}


def _print_changes(chosen: Sequence[RegionTrack], changes: Sequence[Row]) -> None:
    for region in [each.region.name for each in chosen]:
        own = [each for each in changes if each["region"] == region]
        for change in own:
            if change["lines"]:
                print(f"{change['region']}: {change['object']}", *change["lines"], sep="\n")
        for words in label_lines(change["labels"] for change in own):
            print(f"{region}: {words}")
        if not own:
            print(f"{region}: nothing would change")


def difference(live: Item | None, then: Item | None) -> Difference:
    """Return what changes of an object. live, then: the object now and after a deploy, None where there is none."""
    if live is None or then is None:
        return Difference(tuple(_diff(live, then)), {})
    labels, without_labels = dict[str, tuple[str, str]](), then
    for path in LABELED:
        old, new = _labels(live, path), _labels(then, path)
        labels |= {key: (old.get(key, ""), new.get(key, "")) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
        if new:
            without_labels = _with_labels(without_labels, path, old)
    return Difference(tuple(_diff(live, without_labels)), labels)


def label_lines(changes: Iterable[Mapping[str, tuple[str, str]]]) -> Iterator[str]:
    """Yield a line for each set of changed labels, with the number of objects that it changes in."""
    counts: dict[str, int] = {}
    for labels in changes:
        words = ", ".join(f"{key} {old or 'none'} -> {new or 'none'}" for key, (old, new) in labels.items())
        counts[words] = counts.get(words, 0) + 1
    for words, count in counts.items():
        if words:
            yield f"labels of {counted(count, 'object')}: {words}"


def _labels(item: Item, path: tuple[str, ...]) -> dict[str, str]:
    found: Any = item
    for name in path:
        found = found.get(name) or {}
    return dict(found.get("labels") or {})


def _with_labels(item: Item, path: tuple[str, ...], labels: dict[str, str]) -> Item:
    if not path:
        return {**item, "labels": labels}
    return {**item, path[0]: _with_labels(item[path[0]], path[1:], labels)}


def _diff(live: Item | None, then: Item | None) -> Iterator[str]:
    return difflib.unified_diff(_lines(live), _lines(then), "now", "then", lineterm="", n=2)


def _lines(item: Item | None) -> list[str]:
    if item is None:
        return []
    return json.dumps(preflight.comparable(item), indent=1, sort_keys=True).splitlines()
