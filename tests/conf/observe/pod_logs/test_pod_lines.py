"""The lines of one region's pods: each is read once, across readings, restarts and new pods."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from conf.base.object_references import Ref
from conf.observe.pod_logs import pod_lines
from conf.observe.pod_logs.line_forms import Line, Trouble, lines_of
from conf.observe.pod_logs.pod_lines import PodLines, unread
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
    monkeypatch.setattr(pod_lines, "Cluster", lambda context: made)
    return made


def reader() -> PodLines:
    found = PodLines(HK, "like", "cats", 600)
    found._since = "2026-11-22T16:00:00+00:00"
    return found


def texts(lines: Iterable[Line]) -> list[str]:
    return [line.text for line in lines]


def read(lines: PodLines, previous: bool = False) -> list[Line]:
    """Return all lines of one reading, in which nothing may be left out."""
    parts = list(lines.read(previous))
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
    assert [line.pod for line in read(reader(), previous=True)] == ["cats-offline-1"]


def test_each_line_is_read_once_also_those_of_one_moment(cluster: Cluster) -> None:
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1, 2, 2)
    assert texts(read(lines)) == ["line 0", "line 1", "line 2"]
    cluster.logs["cats-1", False] = stamped(1, 2, 2, 2, 3)
    assert texts(read(lines)) == ["line 3", "line 4"]
    assert read(lines) == []


def test_a_long_log_is_read_in_parts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_lines, "MOST_BYTES", 100)
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
    assert [line.stamp[17:19] for line in read(reader(), previous=True)] == ["01"]


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
    monkeypatch.setattr(pod_lines, "MOST_BYTES", 120)
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(1, 2, *[3] * 20, 4, 5)
    parts = list(lines.read())
    assert texts(line for part in parts if isinstance(part, list) for line in part) == [
        *(f"line {number}" for number in range(5)),
        "line 22",
        "line 23",
    ]
    assert [part for part in parts if isinstance(part, Trouble)] == [
        "hk, cats-1: it wrote more than 120 bytes in the second of 2026-11-22T16:22:03, and the rest of them is left out"
    ]
    cluster.logs["cats-1", False] += stamped(6)
    assert texts(read(lines)) == ["line 0"]


def test_a_line_that_is_longer_than_an_answer_is_left_behind_too(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_lines, "MOST_BYTES", 120)
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
    monkeypatch.setattr(pod_lines, "MOST_BYTES", 100)
    cluster.restarts = {"cats-1": 0, "cats-2": 0}
    cluster.logs = {("cats-1", False): stamped(*range(60)), ("cats-2", False): stamped(1)}
    real = cluster.timed_lines

    def endless(pod: Ref, *rest: Any, **more: Any) -> str:
        if pod.name == "cats-1":  # between two answers it has written an hour of further lines
            first = cluster.logs["cats-1", False]
            cluster.logs["cats-1", False] = [*first, *(f"{hour(first[-1])}{each[13:]}" for each in first[-60:])]
        return real(pod, *rest, **more)

    monkeypatch.setattr(cluster, "timed_lines", endless)
    lines = reader()
    first, second = ([part[0].pod for part in lines.read(turns=3) if isinstance(part, list)] for _ in range(2))
    assert first == ["cats-1", "cats-2", "cats-1", "cats-1"]
    assert second == ["cats-1"] * 3


def test_a_reading_that_ends_among_the_lines_before_a_restart_goes_on_with_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_lines, "MOST_BYTES", 100)
    cluster.restarts, lines = {"cats-1": 0}, reader()
    cluster.logs["cats-1", False] = stamped(0)
    read(lines)
    cluster.restarts = {"cats-1": 1}
    cluster.logs["cats-1", True], cluster.logs["cats-1", False] = stamped(*range(30)), ["2026-11-22T16:23:00Z of the new one"]
    found: list[str] = []
    for _ in range(40):
        found += [each.text for part in lines.read(turns=1) for each in part if isinstance(each, Line)]
    assert found == [*(f"line {number}" for number in range(1, 30)), "of the new one"]


def test_lines_after_the_last_one_are_unread() -> None:
    lines = lines_of("hk", "cats-1", "\n".join(stamped(1, 2, 2, 3)))
    assert texts(unread(lines, "", 0)) == ["line 0", "line 1", "line 2", "line 3"]
    assert texts(unread(lines, lines[1].stamp, 1)) == ["line 2", "line 3"]
