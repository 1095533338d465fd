"""The lines of pods: each is read once, several regions' are in order of time, and any bytes may be shown."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from conf.base.object_references import Ref
from conf.observe import pod_logs
from conf.observe.pod_logs import (
    Line,
    Order,
    PodLines,
    Trouble,
    common_errors,
    follow,
    for_people,
    for_programs,
    lines_of,
    once,
    pause,
    unread,
)
from conf.remote.cluster import Refused, Unreachable
from tests.conf import golden

HK = golden.regions().regions["hk"]


def stamped(*seconds: int) -> list[str]:
    return [f"2026-11-22T16:22:{second:02d}.000000000Z line {number}" for number, second in enumerate(seconds)]


def deployment(pod: str) -> str:
    return pod.rpartition("-")[0]


def container(pod: str) -> str:
    """Return the name of a pod's container: an arm's is that of its service."""
    return deployment(pod).removesuffix("-canary").removesuffix("-baseline")


def hour(stamp: str) -> str:
    """Return the hour after a stamp's, in its form up to there."""
    return (datetime.fromisoformat(stamp[:19]) + timedelta(hours=1)).isoformat()[:13]


class Cluster:
    """An API server with pods and their logs. logs: by pod and whether it is the previous container's."""

    def __init__(self) -> None:
        self.restarts: dict[str, int] = {}
        self.logs: dict[tuple[str, bool], list[str]] = {}
        self.is_away = False

    def find(self, kind: str, namespace: str, labels: str) -> list[dict[str, Any]]:
        if self.is_away:
            raise Unreachable("no answer")
        names = "cats,cats-offline,cats-canary,cats-baseline"
        assert (kind, namespace, labels) == ("Pod", "like", f"app.kubernetes.io/name in ({names})")
        return [
            {
                "metadata": {"name": name, "labels": {"app.kubernetes.io/name": deployment(name)}},
                "status": {"containerStatuses": [proxy, {"name": container(name), "restartCount": count}]},
            }
            for name, count in self.restarts.items()
            for proxy in [{"name": "istio-proxy", "restartCount": 9}]
        ]

    def timed_lines(self, pod: Ref, named: str, since: str, most: int, *, previous: bool = False) -> str:
        assert named == container(pod.name)
        if (pod.name, previous) not in self.logs:
            raise Refused("container is waiting to start", 400)
        chosen = [line for line in self.logs[pod.name, previous] if line[:19] >= since[:19]]  # the kubelet counts in seconds
        return "".join(f"{line}\n" for line in chosen)[:most]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(pod_logs, "Cluster", lambda context: made)
    return made


def reader(previous: bool = False, turns: int | None = None) -> PodLines:
    found = PodLines(HK, "like", "cats", 600, previous=previous, turns=turns)
    found._since = "2026-11-22T16:00:00+00:00"
    return found


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def read(lines: PodLines) -> list[Line]:
    """Return all lines of one reading, in which nothing may be left out."""
    parts = list(lines.read())
    assert not any(isinstance(part, Trouble) for part in parts)
    return [line for part in parts for line in part if isinstance(line, Line)]


def test_the_lines_of_a_canarys_arms_are_read_too(cluster: Cluster) -> None:
    cluster.restarts = {"cats-1": 0, "cats-canary-1": 0, "cats-baseline-1": 0}
    cluster.logs = {(name, False): stamped(1) for name in cluster.restarts}
    assert [line.pod for line in read(reader())] == list(cluster.restarts)


def test_the_lines_of_offline_pods_are_read_too(cluster: Cluster) -> None:
    cluster.restarts = {"cats-1": 0, "cats-offline-1": 1}
    cluster.logs = {("cats-1", False): stamped(1), ("cats-offline-1", False): stamped(2), ("cats-offline-1", True): stamped(3)}
    assert [line.pod for line in read(reader())] == ["cats-1", "cats-offline-1"]
    assert [line.pod for line in read(reader(previous=True))] == ["cats-offline-1"]


def test_each_line_is_read_once_also_those_of_one_moment(cluster: Cluster) -> None:
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1, 2, 2)
    assert texts(read(lines)) == ["line 0", "line 1", "line 2"]
    cluster.logs["cats-1", False] = stamped(1, 2, 2, 2, 3)
    assert texts(read(lines)) == ["line 3", "line 4"]
    assert read(lines) == []


def test_a_long_log_is_read_in_parts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MAX_BYTES", 100)
    cluster.restarts = {"cats-1": 0}
    cluster.logs["cats-1", False] = stamped(*range(1, 30))
    assert texts(read(reader())) == [f"line {number}" for number in range(29)]


def test_the_last_lines_before_a_restart_are_read_too(cluster: Cluster) -> None:
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1)
    read(lines)
    cluster.restarts = {"cats-1": 1}
    cluster.logs["cats-1", True], cluster.logs["cats-1", False] = [*stamped(1), f"{stamped(5)[0]}, the death"], stamped(6)
    assert texts(read(lines)) == ["line 0, the death", "line 0"]
    assert read(lines) == []


def test_a_pod_that_comes_later_is_read_and_one_that_has_not_begun_is_waited_for(cluster: Cluster) -> None:
    cluster.restarts, lines = {"cats-1": 0}, reader()
    assert read(lines) == []
    cluster.restarts = {"cats-1": 0, "cats-2": 0}
    cluster.logs["cats-2", False] = stamped(1)
    assert [line.pod for line in read(lines)] == ["cats-2"]


def test_previous_reads_the_container_before_the_restart_alone(cluster: Cluster) -> None:
    cluster.restarts = {"cats-1": 1, "cats-2": 0}
    cluster.logs = {("cats-1", True): stamped(1), ("cats-1", False): stamped(2), ("cats-2", False): stamped(3)}
    assert [line.stamp[17:19] for line in read(reader(previous=True))] == ["01"]


def test_a_region_that_is_away_goes_on_where_it_was(cluster: Cluster) -> None:
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1)
    read(lines)
    cluster.is_away = True
    with pytest.raises(Unreachable):
        read(lines)
    cluster.is_away = False
    cluster.logs["cats-1", False] = stamped(1, 2)
    assert texts(read(lines)) == ["line 1"]


def test_a_second_that_is_longer_than_an_answer_is_told_and_left_behind(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "MAX_BYTES", 120)
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1, 2, *[3] * 20, 4, 5)
    parts = list(lines.read())
    assert texts(line for part in parts if isinstance(part, list) for line in part) == [
        *(f"line {number}" for number in range(5)),
        "line 22",
        "line 23",
    ]
    (trouble,) = (part for part in parts if isinstance(part, Trouble))
    assert trouble.startswith("hk, cats-1: it wrote more than 120 bytes")
    assert "second of 2026-11-22T16:22:03" in trouble
    cluster.logs["cats-1", False] += stamped(6)
    assert texts(read(lines)) == ["line 0"]


def test_a_line_that_is_longer_than_an_answer_is_left_behind_too(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MAX_BYTES", 120)
    cluster.restarts = {"cats-1": 0}
    cluster.logs["cats-1", False] = [*stamped(1), f"{stamped(2)[0]}{'x' * 200}", *stamped(3)]
    parts = list(reader().read())
    assert texts(line for part in parts if isinstance(part, list) for line in part) == ["line 0", "line 0"]
    (told,) = (part for part in parts if isinstance(part, Trouble))
    assert "in the second of 2026-11-22T16:22:02" in told


def test_what_was_read_before_a_region_went_away_is_given(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.restarts = {"cats-1": 0, "cats-2": 0}
    cluster.logs["cats-1", False] = stamped(1)
    real = cluster.timed_lines

    def away_at_the_second(pod: Ref, *rest: Any, **more: Any) -> str:
        if pod.name == "cats-2":
            raise Unreachable("no answer")
        return real(pod, *rest, **more)

    monkeypatch.setattr(cluster, "timed_lines", away_at_the_second)
    parts = reader().read()
    assert texts(line for line in next(parts) if isinstance(line, Line)) == ["line 0"]
    with pytest.raises(Unreachable):
        next(parts)


def test_a_pod_that_writes_faster_than_it_is_read_holds_up_no_other(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MAX_BYTES", 100)
    cluster.restarts = {"cats-1": 0, "cats-2": 0}
    cluster.logs = {("cats-1", False): stamped(*range(60)), ("cats-2", False): stamped(1)}
    real = cluster.timed_lines

    def endless(pod: Ref, *rest: Any, **more: Any) -> str:
        if pod.name == "cats-1":  # between two answers it has written an hour of further lines
            first = cluster.logs["cats-1", False]
            cluster.logs["cats-1", False] = [*first, *(f"{hour(first[-1])}{each[13:]}" for each in first[-60:])]
        return real(pod, *rest, **more)

    monkeypatch.setattr(cluster, "timed_lines", endless)
    lines = reader(turns=3)
    first, second = ([part[0].pod for part in lines.read() if isinstance(part, list)] for _ in range(2))
    assert first == ["cats-1", "cats-2", "cats-1", "cats-1"]
    assert second == ["cats-1"] * 3


def test_a_reading_that_ends_among_the_lines_before_a_restart_goes_on_with_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_logs, "MAX_BYTES", 100)
    cluster.restarts, lines = {"cats-1": 0}, reader(turns=1)
    cluster.logs["cats-1", False] = stamped(0)
    read(lines)
    cluster.restarts = {"cats-1": 1}
    cluster.logs["cats-1", True], cluster.logs["cats-1", False] = stamped(*range(30)), ["2026-11-22T16:23:00Z of the new one"]
    found: list[str] = []
    for _ in range(40):
        found += [each.text for part in lines.read() for each in part if isinstance(each, Line)]
    assert found == [*(f"line {number}" for number in range(1, 30)), "of the new one"]


def test_lines_after_the_last_one_are_unread() -> None:
    lines = lines_of("hk", "cats-1", "\n".join(stamped(1, 2, 2, 3)))
    assert texts(unread(lines, "", 0)) == ["line 0", "line 1", "line 2", "line 3"]
    assert texts(unread(lines, lines[1].stamp, 1)) == ["line 2", "line 3"]


def numbered(second: int, region: str = "hk") -> Line:
    return Line(region, "cats-1", f"2026-11-22T16:22:{second:02d}.000000000Z", f"line {second}")


@dataclass
class Region:
    """A region that gives one answer after another, and then none. wait: is set before it answers. first: comes before that."""

    name: str
    answers: list[list[Line] | Exception]
    wait: threading.Event = field(default_factory=threading.Event)
    first: list[list[Line] | Trouble] = field(default_factory=list)
    pods: int = 1

    def read(self) -> Iterator[list[Line] | Trouble]:
        yield from self.first
        self.wait.wait(20)
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, Exception):
            raise answer
        yield answer


def region(name: str, *answers: list[Line] | Exception, late: bool = False) -> Region:
    made = Region(name, list(answers))
    if not late:
        made.wait.set()
    return made


def test_all_regions_lines_are_in_order_of_time() -> None:
    found = list(once([region("hk", [numbered(1), numbered(4)]), region("eu", [numbered(2, "eu"), numbered(3, "eu")])]))
    assert [each.text for each in found if isinstance(each, Line)] == ["line 1", "line 2", "line 3", "line 4"]


def test_a_region_that_is_away_or_has_a_fault_is_named_and_the_others_go_on() -> None:
    found = list(once([region("hk", Unreachable("no answer")), region("eu", [numbered(2)]), region("na", KeyError("odd"))]))
    away, broken = sorted(map(str, found[:2]))
    assert away == "hk: no answer"
    assert broken.startswith("na: unexpected: KeyError: 'odd'")
    assert found[2:] == [numbered(2)]


def test_a_region_that_does_not_answer_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MAX_SECONDS", 0.3)
    late = region("hk", [numbered(1)], late=True)
    late.first = [[numbered(3)], Trouble("hk, cats-1: odd")]
    found = list(once([late, region("eu", [numbered(2)])]))
    assert [each.partition(",")[0] for each in map(str, found[:2])] == ["hk", "hk: some lines are missing"]
    assert found[2:] == [numbered(2), numbered(3)]
    late.wait.set()


def test_a_region_whose_lines_come_without_an_end_is_named_and_what_came_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "MAX_SECONDS", 0.2)

    class Endless(Region):
        def read(self) -> Iterator[list[Line] | Trouble]:
            while True:
                time.sleep(0.01)
                yield [numbered(1)]

    trouble, *found = once([Endless("hk", [])])
    assert str(trouble).startswith("hk: some lines are missing")
    assert set(map(str, found)) == {str(numbered(1))}


@pytest.mark.parametrize(("pods", "seconds"), [(0, 1.0), (10, 1.0), (11, 1.1), (200, 20.0)])
def test_of_many_pods_ten_a_second_are_read(pods: int, seconds: float) -> None:
    many = region("hk")
    many.pods = pods
    assert pause(many) == seconds


def test_lines_are_held_for_their_time_and_leave_in_order() -> None:
    order = Order(2.0)
    order.hold(numbered(5), 0.0)
    assert list(order.ready(1.9)) == []
    order.hold(numbered(3), 1.9)
    order.hold(numbered(9), 1.9)
    assert list(order.ready(2.0)) == [numbered(3), numbered(5)]  # the one that came first takes earlier lines with it
    assert list(order.ready(3.9)) == [numbered(9)]


def test_a_pod_whose_clock_is_late_and_that_writes_without_a_pause_holds_up_no_other() -> None:
    order, given = Order(2.0), list[Line]()
    for second in range(50):
        order.hold(numbered(second, "punctual"), float(second))
        order.hold(Line("late", "cats-1", "2026-11-22T10:00:00.000000000Z", f"late {second}"), float(second))
        given += order.ready(float(second))
    assert {each.text for each in given} >= {f"line {second}" for second in range(48)}
    assert [each.text for each in given if each.region == "late"] == [f"late {second}" for second in range(50)]


def test_following_tells_a_trouble_once_and_goes_on_with_all_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(pod_logs, "HOLD_SECONDS", 0.2)
    away = Unreachable("no answer")
    hk, eu = region("hk", [numbered(1)], [numbered(4)], [numbered(6)]), region("eu", away, away, [numbered(5, "eu")], away)
    found: list[Line | Trouble] = []
    for each in follow([hk, eu]):
        if each is not None:
            found.append(each)
        if len(found) == 6:
            break
    assert [each.text for each in found if isinstance(each, Line)] == ["line 1", "line 4", "line 5", "line 6"]
    assert [str(each) for each in found if isinstance(each, Trouble)] == ["eu: no answer"] * 2


def test_a_region_that_is_faster_than_the_printing_waits_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_logs, "HOLD_SECONDS", 0.0)

    class Fast(Region):
        made = 0

        def read(self) -> Iterator[list[Line] | Trouble]:
            while True:
                self.made += 1
                yield [numbered(1)]

    fast, eu = Fast("hk", []), region("eu", [numbered(2, "eu")])
    found: list[Line] = []
    for each in follow([fast, eu]):
        if isinstance(each, Line):
            found.append(each)
            time.sleep(0.002)  # a terminal
            assert fast.made - len(found) <= 3
        if len(found) == 100:
            break
    assert numbered(2, "eu") in found


STAMP = "2026-11-22T16:22:05.123456789Z"


def line(text: str, stamp: str = STAMP) -> Line:
    return Line("hk", "cats-1", stamp, text)


def event(**fields: object) -> str:
    return json.dumps({"time": "2026-11-22T16:22:04.500Z", "level": "info", "message": "ready", **fields})


def test_an_event_is_its_time_region_pod_level_and_message() -> None:
    assert for_people(line(event())) == "2026-11-22T16:22:04.500Z hk cats-1 info     ready"


def test_the_line_of_a_request_has_its_code_and_duration() -> None:
    assert for_people(line(event(code=200, milliseconds=1.5))).endswith("ready 200 1.5 ms")


def test_a_text_has_the_kubelets_time() -> None:
    assert for_people(line("plain")) == "2026-11-22T16:22:05.123Z hk cats-1 text     plain"
    assert json.loads(for_programs(line("plain"))) == {
        "time": STAMP,
        "level": "text",
        "message": "plain",
        "region": "hk",
        "pod": "cats-1",
    }


def test_a_node_in_another_time_zone_is_shown_in_utc() -> None:
    assert for_people(line("plain", "2026-11-23T00:22:05.123456789+08:00")).startswith("2026-11-22T16:22:05.123Z ")


def test_a_traceback_follows_on_lines_of_its_own() -> None:
    shown = for_people(line(event(traceback="Traceback:\n  File x\nValueError")))
    assert shown.splitlines()[1:] == ["    Traceback:", "      File x", "    ValueError"]


@pytest.mark.parametrize("rubbish", ["".join(map(chr, range(256))), "\x1b[2J\x1b]0;title\x07", "\u202e\u2028\ud800", "\r\b"])
def test_no_character_that_moves_the_cursor_is_printed(rubbish: str) -> None:
    for text in (rubbish, event(message=rubbish), event(traceback=rubbish, level=rubbish, code=rubbish)):
        shown = for_people(line(text)).split("\n")
        assert all(each.isprintable() for each in shown)
        "\n".join(shown).encode()
        assert for_programs(line(text)).isascii()
        assert for_programs(line(text)).isprintable()


@pytest.mark.parametrize("text", ["{", "[1]", "{}x", "{" * 100_000, '{"a":' * 50_000, "", '"x"'])
def test_what_only_looks_like_json_is_a_text(text: str) -> None:
    assert json.loads(for_programs(line(text)))["message"] == text


NO_TIMES = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]  # in UTC their years are 0 and 10000


@pytest.mark.parametrize("time", [None, 1, "now", {"a": 1}, "2026-11-22T16:22:04", *NO_TIMES])
def test_an_odd_time_is_the_kubelets(time: object) -> None:
    assert for_people(line(event(time=time))).startswith("2026-11-22T16:22:05.123Z ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_know_is_a_string_for_programs(number: str) -> None:
    shown = for_programs(line(f'{{"message":"odd","loss":[{number},0.5]}}'))

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(shown, parse_constant=refuse)["loss"] == [number, 0.5]


def test_an_answer_is_cut_into_lines_and_words_of_the_kubelet_are_left_out() -> None:
    answer = f"{STAMP} one\n{STAMP} \n{STAMP} two words\rx\nunable to retrieve container logs for containerd://x"
    assert [each.text for each in lines_of("hk", "cats-1", answer)] == ["one", "", "two words\rx"]


def test_the_errors_that_come_most_often_are_named_by_the_last_line_of_their_traceback() -> None:
    key = json.dumps({"level": "error", "message": "POST", "traceback": "Traceback:\nKeyError: 'age'"})
    full, memory = (json.dumps({"level": level, "message": level}) for level in ("error", "critical"))
    found = [key] * 7 + [full] * 2 + [memory] + [json.dumps({"level": "info", "message": "POST"})] * 50 + ["a text"] * 50
    assert common_errors(map(line, found)) == [("KeyError: 'age'", 7), ("error", 2), ("critical", 1)]
