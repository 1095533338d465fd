"""rsyslogd with the chart's configuration, and a node of OpenSearch: what becomes of each line."""

import os
from pathlib import Path

import pytest

from tests.charts.logs.opensearch import Node
from tests.charts.logs.shipper import TIME, append, came, container_file, cri_line, event, messages, shipping, until_counted
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first test of a machine fetches the node's programs


def test_a_line_is_a_document_in_its_services_index_of_the_day_in_east_asia(node: Node, tmp_path: Path) -> None:
    with shipping(tmp_path, node.port):
        file = container_file(tmp_path / "pods")
        append(
            file, cri_line(event("hi \u4f60", code=200, milliseconds=1.5, service="forged", pod="forged", namespace="forged"))
        )
        append(file, cri_line(event("next day", time="2026-11-22T16:00:00.000Z")))
        append(file, cri_line(event("of another zone", time="2026-11-23T00:00:00+08:00")))
        append(file, cri_line('{"message":"no time"}') + cri_line('{"message":"odd time","time":{"a":1}}'))
        append(file, cri_line(event("of a leap day", time="2024-02-29T20:00:00Z"), time="2024-02-29T20:00:01.5Z"))
        hi, *others = came(node, "hi \u4f60", "next day", "of another zone", "no time", "of a leap day")
        came(node, "odd time")
    assert hi.kept_in == "macl_like_cats_2026.11.22"
    assert hi.fields == {
        "time": "2026-11-22T15:59:59.999Z",
        "level": "info",
        "message": "hi \u4f60",
        "code": 200,
        "milliseconds": 1.5,
        "namespace": "like",
        "pod": "cats-5d9f-x7k2p",
        "service": "cats",
        "stream": "stdout",
        "region": "hk",
        "node": "node-1",
    }
    assert [each.kept_in[-10:] for each in others] == ["2026.11.23", "2026.11.23", "2026.11.23", "2024.03.01"]
    assert others[2].fields["time"] == TIME  # the runtime's


def test_the_lines_of_a_canarys_arms_are_in_the_services_index_with_the_arm_as_a_field(node: Node, tmp_path: Path) -> None:
    """A service of an arm's name has an index of its own, and no line can say that it is of an arm."""
    pods = {"canary": "cats-canary-5d9f-x7k2p", "baseline": "cats-baseline-5d9f-x7k2p", "own": "cats-5d9f-x7k2p"}
    with shipping(tmp_path, node.port):
        for second, (arm, pod) in enumerate(pods.items()):  # the pods' uid is the same here, so the times differ
            line = cri_line(event(f"of {arm}", arm="forged"), time=f"2026-11-22T16:22:0{second}Z")
            append(container_file(tmp_path / "pods", pod=pod), line)
        append(container_file(tmp_path / "pods", "cats-canary"), cri_line(event("of a service of that name")))
        *arms, own, other = came(node, *(f"of {arm}" for arm in pods), "of a service of that name")
    assert [(each.kept_in, each.fields["service"], each.fields["arm"], each.fields["pod"]) for each in arms] == [
        ("macl_like_cats_2026.11.22", "cats", "canary", pods["canary"]),
        ("macl_like_cats_2026.11.22", "cats", "baseline", pods["baseline"]),
    ]
    assert (own.kept_in, "arm" in own.fields) == ("macl_like_cats_2026.11.22", False)
    assert (other.kept_in, "arm" in other.fields) == ("macl_like_cats-canary_2026.11.22", False)


def test_a_time_that_is_more_than_a_week_from_containerds_is_replaced_by_it(node: Node, tmp_path: Path) -> None:
    near = {"2026-11-16T16:00:00Z": "2026.11.17", "2026-11-29T15:00:00Z": "2026.11.29"}
    far = [
        "2026-11-14T16:00:00Z",
        "2026-11-30T16:00:00Z",
        "1970-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
    ]
    with shipping(tmp_path, node.port):
        append(container_file(tmp_path / "pods"), b"".join(cri_line(event(time, time=time)) for time in [*near, *far]))
        found = came(node, *near, *far)
    assert [each.kept_in[-10:] for each in found] == [*near.values(), *["2026.11.23"] * len(far)]
    assert [each.fields["time"] for each in found] == [*near, *[TIME] * len(far)]


def test_a_line_that_is_no_event_is_a_text_with_the_names_of_its_path(node: Node, tmp_path: Path) -> None:
    texts = ["plain", '{"looks":"like JSON"}', '{"broken', "[1,2]", "", "\x1b[31mred", "\u4f60"]
    with shipping(tmp_path, node.port):
        file = container_file(tmp_path / "pods")
        append(file, b"".join(cri_line(text, "stderr") for text in texts))
        append(file, cri_line('{"half of a line', part="P") + cri_line('and the rest"}'))
        append(file, b"no form at all\n")
        found = came(node, *texts, '{"half of a line', 'and the rest"}', "no form at all")
    common = {
        "level": "text",
        "namespace": "like",
        "pod": "cats-5d9f-x7k2p",
        "service": "cats",
        "region": "hk",
        "node": "node-1",
    }
    for each in found:
        assert common.items() <= each.fields.items()
    assert {each.fields["time"] for each in found[:-1]} == {TIME}
    assert {each.kept_in for each in found[:-1]} == {"macl_like_cats_2026.11.23"}
    assert [each.fields["stream"] for each in found] == ["stderr"] * len(texts) + ["stdout", "stdout", ""]


def test_binary_rubbish_is_valid_utf_8_and_harms_no_line_beside_it(node: Node, tmp_path: Path) -> None:
    rubbish = bytes(range(256)).replace(b"\n", b"")
    with shipping(tmp_path, node.port):
        file = container_file(tmp_path / "pods")
        append(file, cri_line(event("before")) + cri_line(rubbish, "stderr") + cri_line(rubbish) + cri_line(event("after")))
        append(file, cri_line(b'{"message":"' + rubbish + b'"}') + cri_line(os.urandom(16_000).replace(b"\n", b""), "stderr"))
        append(file, cri_line(event("x" * 15_000)))
        came(node, "before", "after", "x" * 15_000)
        until(lambda: len(node.stored()) == 7)
    assert [each.endswith("~\x7f" + " " * 128) for each in messages(node)].count(True) == 2


def test_only_the_containers_of_services_in_the_named_namespaces_are_shipped(node: Node, tmp_path: Path) -> None:
    pods = tmp_path / "pods"
    with shipping(tmp_path, node.port, ("like", "grey")):
        for namespace, service, pod in [
            ("kube-system", "dns", ""),
            ("like2", "cats", ""),
            ("like", "istio-proxy", "cats-5d9f-x7k2p"),
            ("like", "cat", "cats-5d9f-x7k2p"),
        ]:
            append(container_file(pods, service, namespace, pod), cri_line(event("foreign")))
        append(container_file(pods, "cats", "grey"), cri_line(event("of grey")))
        append(container_file(pods), cri_line(event("of like")))
        grey, like = came(node, "of grey", "of like")
    assert (grey.kept_in, like.kept_in) == ("macl_grey_cats_2026.11.22", "macl_like_cats_2026.11.22")
    assert "foreign" not in messages(node)


def test_a_document_that_the_node_refuses_is_printed_and_harms_no_line_beside_it(node: Node, tmp_path: Path) -> None:
    lines = [event("a number", code=200), event("a text", code="none"), event("a number again", code=404)]
    with shipping(tmp_path, node.port) as shipper:
        append(container_file(tmp_path / "pods"), b"".join(map(cri_line, lines)))
        came(node, "a number", "a number again")
        until(lambda: "refused: " in shipper.out.read_text())
        until_counted(shipper, "shipper", "refused", 1)
    (refused,) = (line for line in shipper.out.read_text().splitlines() if line.startswith("refused: "))
    assert '"status": 400' in refused
    assert "failed to parse field [code]" in refused
    assert "a text" not in messages(node)
