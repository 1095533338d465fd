"""The changes that a deploy would make, as lines. Labels that change alike in many objects are one line."""

from typing import Any

import pytest

from conf.commands.diff_command import difference, label_lines


def item(version: str, cpu: int = 1, kind: str = "Service", **labels: str) -> dict[str, Any]:
    """Return an object as an API server has it, with the fields that every change updates."""
    metadata = {"name": "cats", "labels": {"version": version, **labels}, "resourceVersion": version, "uid": "1"}
    spec: dict[str, Any] = {"cpu": cpu}
    if kind == "Deployment":
        spec["template"] = {"metadata": {"labels": {"version": version}}}
    return {"kind": kind, "metadata": metadata, "spec": spec, "status": {"seen": version}}


@pytest.mark.parametrize("kind", ["Service", "Deployment"])
def test_a_new_version_alone_is_a_change_of_labels_and_of_no_line(kind: str) -> None:
    found = difference(item("1", kind=kind), item("2", kind=kind))
    assert (found.lines, found.labels, bool(found)) == ((), {"version": ("1", "2")}, True)
    assert not difference(item("1", kind=kind), item("1", kind=kind))


def test_what_changes_besides_is_shown_without_the_labels() -> None:
    found = difference(item("1", kind="Deployment"), item("2", cpu=4, kind="Deployment"))
    assert [line for line in found.lines if line[0] in "+-" and line[:3] not in ("---", "+++")] == [
        '-  "cpu": 1,',
        '+  "cpu": 4,',
    ]


def test_an_object_that_comes_or_goes_is_shown_whole() -> None:
    assert '+   "version": "1"' in "\n".join(difference(None, item("1")).lines)
    assert '-   "version": "1"' in "\n".join(difference(item("1"), None).lines)


def test_the_status_of_an_object_is_no_part_of_the_difference() -> None:
    shown = "\n".join(difference(None, {**item("1"), "status": {"readyReplicas": 1}}).lines)
    assert "status" not in shown
    assert not difference({**item("1"), "status": {"readyReplicas": 1}}, item("1"))


def test_objects_whose_labels_change_alike_are_one_line() -> None:
    same = [
        difference(item("1", kind=kind), item("2", kind=kind)).labels
        for kind in ("Service", "Deployment", "PodDisruptionBudget")
    ]
    other = difference(item("1", team="a"), item("2", owner="b")).labels
    three, one = label_lines([*same, other, {}])
    assert three == "labels of 3 objects: version 1 -> 2"
    assert one.endswith("1 object: owner none -> b, team a -> none, version 1 -> 2")
