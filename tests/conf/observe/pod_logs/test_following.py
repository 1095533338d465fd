"""Lines of several regions in order of time, with a region that is away, late, or has a fault."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from conf.observe.pod_logs import following
from conf.observe.pod_logs.following import Order, follow, once, pause
from conf.observe.pod_logs.line_forms import Line, Trouble
from conf.remote.cluster import Unreachable


def line(second: int, region: str = "hk") -> Line:
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
    found = list(once([region("hk", [line(1), line(4)]), region("eu", [line(2, "eu"), line(3, "eu")])]))
    assert [each.text for each in found if isinstance(each, Line)] == ["line 1", "line 2", "line 3", "line 4"]


def test_a_region_that_is_away_or_has_a_fault_is_named_and_the_others_go_on() -> None:
    found = list(once([region("hk", Unreachable("no answer")), region("eu", [line(2)]), region("na", KeyError("odd"))]))
    assert sorted(map(str, found[:2])) == ["hk: no answer", "na: unexpected: KeyError: 'odd'; please report it"]
    assert found[2:] == [line(2)]


def test_a_region_that_does_not_answer_in_time_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_SECONDS", 0.3)
    late = region("hk", [line(1)], late=True)
    late.first = [[line(3)], Trouble("hk, cats-1: odd")]
    found = list(once([late, region("eu", [line(2)])]))
    assert found == ["hk, cats-1: odd", "hk: some lines are missing, since not all came in 0.3 s", line(2), line(3)]
    late.wait.set()


def test_a_region_whose_lines_come_without_an_end_is_named_and_what_came_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MOST_SECONDS", 0.2)

    class Endless(Region):
        def read(self) -> Iterator[list[Line] | Trouble]:
            while True:
                time.sleep(0.01)
                yield [line(1)]

    trouble, *found = once([Endless("hk", [])])
    assert trouble == "hk: some lines are missing, since not all came in 0.2 s"
    assert set(map(str, found)) == {str(line(1))}


@pytest.mark.parametrize(("pods", "seconds"), [(0, 1.0), (10, 1.0), (11, 1.1), (200, 20.0)])
def test_of_many_pods_ten_a_second_are_read(pods: int, seconds: float) -> None:
    many = region("hk")
    many.pods = pods
    assert pause(many) == seconds


def test_lines_are_held_for_their_time_and_leave_in_order() -> None:
    order = Order(2.0)
    order.hold(line(5), 0.0)
    assert list(order.ready(1.9)) == []
    order.hold(line(3), 1.9)
    order.hold(line(9), 1.9)
    assert list(order.ready(2.0)) == [line(3), line(5)]  # the one that came first takes earlier lines with it
    assert list(order.ready(3.9)) == [line(9)]


def test_a_pod_whose_clock_is_late_and_that_writes_without_a_pause_holds_up_no_other() -> None:
    order, given = Order(2.0), list[Line]()
    for second in range(50):
        order.hold(line(second, "punctual"), float(second))
        order.hold(Line("late", "cats-1", "2026-11-22T10:00:00.000000000Z", f"late {second}"), float(second))
        given += order.ready(float(second))
    assert {each.text for each in given} >= {f"line {second}" for second in range(48)}
    assert [each.text for each in given if each.region == "late"] == [f"late {second}" for second in range(50)]


def test_following_tells_a_trouble_once_and_goes_on_with_all_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(following, "HOLD_SECONDS", 0.2)
    away = Unreachable("no answer")
    hk, eu = region("hk", [line(1)], [line(4)], [line(6)]), region("eu", away, away, [line(5, "eu")], away)
    found: list[Line | Trouble] = []
    for each in follow([hk, eu]):
        if each is not None:
            found.append(each)
        if len(found) == 6:
            break
    assert [each.text for each in found if isinstance(each, Line)] == ["line 1", "line 4", "line 5", "line 6"]
    assert [str(each) for each in found if isinstance(each, Trouble)] == ["eu: no answer"] * 2


def test_a_region_that_is_faster_than_the_printing_waits_and_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "HOLD_SECONDS", 0.0)

    class Fast(Region):
        made = 0

        def read(self) -> Iterator[list[Line] | Trouble]:
            while True:
                self.made += 1
                yield [line(1)]

    fast, eu = Fast("hk", []), region("eu", [line(2, "eu")])
    found: list[Line] = []
    for each in follow([fast, eu]):
        if isinstance(each, Line):
            found.append(each)
            time.sleep(0.002)  # a terminal
            assert fast.made - len(found) <= 3
        if len(found) == 100:
            break
    assert line(2, "eu") in found
