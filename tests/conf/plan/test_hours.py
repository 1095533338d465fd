"""The hours of `scale_hours` become cron triggers, which hold in exactly these hours by KEDA's rule."""

from bisect import bisect_right
from pathlib import Path

import pytest

from conf.plan.plan import most_pods
from conf.plan.scaling import Trigger, hour_triggers
from conf.rules.check import Row
from serving.settings.weekly_hours import DAY, WEEK, hours_of, spans
from tests.conf.check_service import CheckService, service_checker

CASES = [
    ["mon-fri 09:00-18:00 6"],
    ["mon-fri 08:30-12:00 4", "mon-fri 12:00-18:15 6", "sat,sun 10:00-24:00 3"],
    ["mon-sun 22:00-24:00 3", "mon-sun 00:00-06:00 3"],
    ["fri 20:00-24:00 5", "sat,sun 00:00-24:00 5", "mon 00:00-04:00 5"],
    ["mon 08:00-24:00 3", "tue 00:00-08:00 3", "wed 08:00-24:00 3", "thu 00:00-08:00 3"],
    ["mon,wed,fri 09:00-18:00 6", "tue,thu 09:00-18:00 4"],
    ["sat-sun 00:00-24:00 2", "mon-fri 00:00-24:00 4"],
]


@pytest.fixture
def check_service(tmp_path: Path) -> CheckService:
    return service_checker(tmp_path)


def moments(cron: str) -> list[int]:
    """Return the minutes of the week, from Monday, at which a cron text of minute, hour and days of the week fires."""
    minute, hour, day, month, names = cron.split()
    assert (day, month) == ("*", "*")
    first, _, last = names.partition("-")
    days = range(int(first), int(last) + 1) if last else map(int, names.split(","))
    return sorted((each - 1) % 7 * DAY + int(hour) * 60 + int(minute) for each in days)


def next_one(found: list[int], now: float) -> int:
    """Return the first of some minutes of the week after now, in this week or the next."""
    at = bisect_right(found, now)
    return found[at] if at < len(found) else found[0] + WEEK


def pods(trigger: Trigger, now: float) -> int:
    """Return the pods that KEDA's cron trigger asks for: those of its hours where its next end comes first, else none.

    Source: KEDA's pkg/scalers/cron_scaler.go.
    """
    said = dict(trigger.metadata)
    holds = next_one(moments(said["end"]), now) <= next_one(moments(said["start"]), now)
    return int(said["desiredReplicas"]) if holds else 0


@pytest.mark.parametrize("texts", CASES, ids=lambda texts: texts[0])
def test_the_triggers_ask_for_the_pods_of_each_minute_of_the_week(texts: list[str]) -> None:
    triggers = hour_triggers(texts, "Asia/Hong_Kong")
    assert len({each.name for each in triggers}) == len(triggers)
    wanted = spans(hours_of(texts))
    for minute in range(WEEK):
        here = (each.pods for each in wanted if each.begin <= minute < each.end or each.begin <= minute + WEEK < each.end)
        now = minute + 0.5
        assert max((pods(each, now) for each in triggers), default=0) == next(here, 0), now


def test_days_of_the_same_hours_are_one_trigger_in_the_regions_time_zone() -> None:
    (trigger,) = hour_triggers(["mon-fri 09:00-18:00 6"], "Asia/Hong_Kong")
    assert (trigger.type, trigger.metric_type) == ("cron", "AverageValue")
    assert trigger.metadata == (
        ("timezone", "Asia/Hong_Kong"),
        ("start", "0 9 * * 1-5"),
        ("end", "0 18 * * 1-5"),
        ("desiredReplicas", "6"),
    )


@pytest.mark.parametrize(
    ("lines", "kinds", "limits"),
    [
        ("", ["cron"], (2, 6)),
        ("max_replicas = 9\n", ["cpu", "cron"], (2, 9)),
        ('max_replicas = 9\nautoscale_by = "queue"\n', ["prometheus", "prometheus", "cron"], (2, 9)),
    ],
)
def test_hours_stand_beside_each_measure_and_alone(
    check_service: CheckService, lines: str, kinds: list[str], limits: tuple[int, int]
) -> None:
    report = check_service(f'{lines}scale_hours = ["mon-fri 09:00-18:00 6"]\n')
    assert report.mistakes == []
    for track, made, text in ((each.plan.track, each.plan.online, each.text) for each in report.rendered):
        assert made
        is_prod = track == "prod"
        assert ("kind: ScaledObject" in text, made.sets_replicas) == (is_prod, not is_prod)
        assert "kind: HorizontalPodAutoscaler" not in text
        if is_prod:
            assert [each.type for each in made.scaling.triggers] == kinds
            assert (made.scaling.min_replicas, made.scaling.max_replicas) == limits


def test_the_cost_of_a_service_follows_from_the_mean_of_its_hours(check_service: CheckService) -> None:
    def prod(lines: str) -> Row:
        return next(row for row in check_service(lines).rows if row.track == "prod")

    plain, hours = prod(""), prod('scale_hours = ["mon-fri 09:00-18:00 6"]\n')
    assert plain.price
    assert hours.price
    assert (plain.hours, hours.replicas) == (None, 2)
    assert hours.hours
    assert hours.hours.mean_pods == pytest.approx(2 + 4 * 45 / 168)
    assert hours.price / plain.price == pytest.approx(hours.hours.mean_pods / 2)


def test_the_most_pods_of_a_service_include_those_of_its_hours(check_service: CheckService) -> None:
    report = check_service('scale_hours = ["sat 09:00-18:00 300"]\n')
    assert any(each.startswith("value.py:5: ") and "300 pods" in each for each in report.mistakes), report.mistakes
    assert report.service
    assert most_pods(report.service.value.settings, "prod") == 300
