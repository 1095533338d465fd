"""Field owners: the field managers that set each field of an object, as server-side apply writes its managedFields.

"f:name"          a field
'k:{"name": "x"}' the entry of a list that has these keys
'v:"x"'           an entry of a set
"."               the object, list or entry itself
"""

import json
from collections.abc import Iterator
from typing import Any

from conf.base.object_references import MANAGER, Item

Fields = dict[str, Any]


def fields_of(item: Item, manager: str) -> Fields:
    found: Fields = {}
    for entry in item["metadata"].get("managedFields", []):
        if entry.get("manager") == manager and not entry.get("subresource"):
            _merge(found, entry.get("fieldsV1", {}))
    return found


def is_ours(item: Item) -> bool:
    """Return whether we applied an object and no other object owns it."""
    managed = any(entry.get("manager") == MANAGER for entry in item["metadata"].get("managedFields", []))
    return managed and not item["metadata"].get("ownerReferences")


def fields_by_hand(item: Item, ours: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the paths of the fields that people set by hand in an object's spec, by their field manager.

    ours: our own field managers. Controllers are left out: they write through subresources, or as kube-*.
    """
    found: dict[str, list[str]] = {}
    for entry in item["metadata"].get("managedFields", []):
        name = str(entry.get("manager", ""))
        if name in ours or entry.get("subresource") or name.startswith("kube-"):
            continue
        paths = [*_paths(entry.get("fieldsV1", {}).get("f:spec", {}), "spec")]
        if paths:
            found.setdefault(name, []).extend(paths)
    return found


def applied_part(item: Item, manager: str) -> Item:
    """Return an object as a field manager applied it: its name, and the fields that the manager has set."""
    mine = {"f:metadata": {}, **fields_of(item, manager)}
    metadata = {key: item["metadata"][key] for key in ("name", "namespace")}
    mine["f:metadata"] = {key: value for key, value in mine["f:metadata"].items() if key in ("f:labels", "f:annotations")}
    taken: Item = _pick(item, mine)
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], **taken, "metadata": {**taken["metadata"], **metadata}}


def _merge(into: Fields, more: Fields) -> None:
    for key, value in more.items():
        _merge(into.setdefault(key, {}), value)


def _paths(fields: Fields, where: str) -> Iterator[str]:
    inside = {key: value for key, value in fields.items() if key != "."}
    if not inside:
        yield where
    for key, value in inside.items():
        kind, _, name = key.partition(":")
        if kind == "f":
            yield from _paths(value, f"{where}.{name}")
        else:
            keys = json.loads(name)
            entry = ", ".join(map(str, keys.values())) if isinstance(keys, dict) else keys
            yield from _paths(value, f"{where}[{entry}]")


def _pick(value: Any, fields: Fields) -> Any:
    inside = {key: nested for key, nested in fields.items() if key != "."}
    if not inside:
        return value
    if isinstance(value, dict):
        return {key[2:]: _pick(value[key[2:]], nested) for key, nested in inside.items() if key[2:] in value}
    wanted = [(key[0], json.loads(key[2:]), nested) for key, nested in inside.items()]
    return [picked for each in value for kind, keys, nested in wanted if (picked := _pick_entry(each, kind, keys, nested))]


def _pick_entry(each: Any, kind: str, keys: Any, fields: Fields) -> Any:
    """Return the picked part of a list's entry; None where the entry is another one. The list keeps its order."""
    if kind == "v":
        return each if each == keys else None
    return {**_pick(each, fields), **keys} if all(each.get(name) == part for name, part in keys.items()) else None
