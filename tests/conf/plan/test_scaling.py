"""The autoscaler's triggers: hours as cron by KEDA's rule, and queries over histories that Prometheus evaluates."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conf.plan.plan import most_pods
from conf.plan.scaling import Trigger, busy_query, hour_triggers, queue_query
from conf.rules.check import Row
from serving.settings import Settings
from serving.settings.weekly_hours import DAY, WEEK, hours_of, spans
from tests.conf.check_service import CheckService
from tests.promtool import holds

HOURS = [
    ["mon-fri 09:00-18:00 6"],
    ["mon-fri 08:30-12:00 4", "mon-fri 12:00-18:15 6", "sat,sun 10:00-24:00 3"],
    ["mon-sun 22:00-24:00 3", "mon-sun 00:00-06:00 3"],
    ["fri 20:00-24:00 5", "sat,sun 00:00-24:00 5", "mon 00:00-04:00 5"],
    ["mon 08:00-24:00 3", "tue 00:00-08:00 3", "wed 08:00-24:00 3", "thu 00:00-08:00 3"],
    ["mon,wed,fri 09:00-18:00 6", "tue,thu 09:00-18:00 4"],
    ["sat-sun 00:00-24:00 2", "mon-fri 00:00-24:00 4"],
]


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


@pytest.mark.parametrize("texts", HOURS, ids=lambda texts: texts[0])
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


POD = 'namespace="like",service="demo"'
WHERE = f'{POD},arm=""'
SETTINGS = Settings(service_name="demo", username="like")
STEP = "15s"  # between two scrapes
END = "10m"  # 40 steps
ALL = "abcd"
ROWS = 16  # of a pod, where nothing says what they cost
Histories = Mapping[str, str]


def series(name: str, pod: str, values: str, **labels: str) -> dict[str, str]:
    own = "".join(f',{label}="{value}"' for label, value in labels.items())
    return {f'{name}{{{POD},pod="{pod}"{own}}}': values}


def of_pods(name: str, values: str, pods: str = ALL, **labels: str) -> dict[str, str]:
    return {key: text for pod in pods for key, text in series(name, pod, values, **labels).items()}


def queues(values: str, pods: str = ALL) -> dict[str, str]:
    return of_pods("monopod_queue_rows", values, pods, model="demo")


def batches(values: str, pods: str = ALL) -> dict[str, str]:
    return of_pods("monopod_batch_duration_seconds_sum", values, pods, model="demo")


def answers(query: str, pods: float, histories: Histories, folder: Path, at: str = END) -> bool:
    """Return whether a query asks for a number of pods."""
    return holds(f"abs({query} - {pods}) < 0.01", histories, at, folder, STEP)


def rows(**changed: object) -> str:
    return queue_query(replace(SETTINGS, **changed), WHERE)  # type: ignore[arg-type]


def busy(**changed: object) -> str:
    return busy_query(replace(SETTINGS, **changed), WHERE)  # type: ignore[arg-type]


UP = of_pods("up", "1x40")
THREE_UP = {**of_pods("up", "1x40", "abc"), **series("up", "d", "1x20 0x20")}


def test_rows_and_busy_time_ask_for_pods(tmp_path: Path) -> None:
    assert answers(rows(), 4, {**UP, **queues(f"{ROWS}x40")}, tmp_path)
    assert answers(rows(), 1, {**UP, **queues(f"{ROWS // 4}x40")}, tmp_path)
    assert answers(busy(), 4, {**UP, **batches("0+10.5x40")}, tmp_path)  # 0.7 s of each second
    assert answers(busy(ins_num_per_gpu=2), 2, {**UP, **batches("0+10.5x40")}, tmp_path)


def test_the_pods_of_a_canary_ask_for_no_other_pod(tmp_path: Path) -> None:
    canary = {**of_pods("up", "1x40", "ef", arm="canary"), **of_pods("monopod_queue_rows", f"{ROWS}x40", "ef", arm="canary")}
    assert answers(rows(), 4, {**UP, **queues(f"{ROWS}x40"), **canary}, tmp_path)


def test_models_of_a_pod_count_together(tmp_path: Path) -> None:
    other = of_pods("monopod_queue_rows", f"{ROWS}x40", model="other")
    assert answers(rows(), 8, {**UP, **queues(f"{ROWS}x40"), **other}, tmp_path)


@pytest.mark.parametrize("ends", ["stale", ""])
def test_a_pod_that_is_not_scraped_any_more_counts_as_much_as_the_others(tmp_path: Path, ends: str) -> None:
    here, gone = queues(f"{ROWS}x40", "abc"), queues(f"{ROWS}x20 {ends}", "d")
    assert answers(rows(), 4, {**THREE_UP, **here, **gone}, tmp_path)
    here, gone = batches("0+10.5x40", "abc"), batches(f"0+10.5x20 {ends}", "d")
    assert answers(busy(), 4, {**THREE_UP, **here, **gone}, tmp_path)
    for step in range(19, 26):  # around the moment at which it is lost: nothing asks for a fifth pod
        assert holds(f"{busy()} > 3 and {busy()} < 4.01", {**THREE_UP, **here, **gone}, f"{15 * step}s", tmp_path, STEP)


def test_a_pod_that_is_still_starting_asks_for_no_other_pod(tmp_path: Path) -> None:
    histories = {**of_pods("up", "1x40", "a"), **of_pods("up", "0x40", "bcd")}
    assert answers(rows(), 1, {**histories, **queues(f"{ROWS}x40", "a")}, tmp_path)
    assert answers(busy(), 1, {**histories, **batches("0+10.5x40", "a")}, tmp_path)


def test_a_pod_that_was_taken_away_does_not_count(tmp_path: Path) -> None:
    histories = {**of_pods("up", "1x40", "abc"), **series("up", "d", "1x20 0 stale")}
    assert answers(rows(), 3, {**histories, **queues(f"{ROWS}x40", "abc"), **queues("0x20 stale", "d")}, tmp_path)
    assert answers(busy(), 3, {**histories, **batches("0+10.5x40", "abc"), **batches("0+10.5x20 stale", "d")}, tmp_path)


@pytest.mark.parametrize("name", ["monopod_queue_rows", "monopod_batch_duration_seconds_sum"])
def test_what_was_seen_last_answers_for_a_minute_alone_when_its_monitor_is_gone(tmp_path: Path, name: str) -> None:
    query = rows() if name == "monopod_queue_rows" else busy()
    histories = {**of_pods("up", "1x20"), **of_pods(name, "0+1x20", model="demo")}  # without the mark of a series' end
    assert holds(f"sum({name})", histories, "9m", tmp_path, STEP)  # Prometheus shows it for five minutes
    assert holds(query, histories, "5m", tmp_path, STEP)
    assert not holds(query, histories, "6m15s", tmp_path, STEP)


def test_no_pod_that_was_read_is_no_answer(tmp_path: Path) -> None:
    lost = of_pods("up", "1x20 0x20")
    assert not holds(rows(), {**lost, **queues("1x20 stale")}, END, tmp_path, STEP)
    assert not holds(busy(), {**lost, **batches("0+1x20 stale")}, END, tmp_path, STEP)


@pytest.mark.parametrize(
    ("seconds", "objective_ms", "pods"),
    [
        (0.001, 2000, 4),  # the rows are cheap: a quarter of queue_limit counts
        (0.5, 2000, 4),  # 16 rows take one second, which is half of the objective
        (1.0, 2000, 8),
        (1.0, 4000, 4),
        (60, 2000, 64),  # one row asks for a pod at least
    ],
)
def test_the_rows_of_a_pod_follow_from_the_cost_of_a_batch_and_the_objective(
    tmp_path: Path, seconds: float, objective_ms: float, pods: int
) -> None:
    small = of_pods("monopod_warmup_seconds", f"{seconds / 100}x40", model="demo", rows="1")
    costs = of_pods("monopod_warmup_seconds", f"{seconds}x40", model="demo", rows="8")
    histories = {**UP, **small, **costs, **queues(f"{ROWS}x40")}
    assert answers(rows(objective_latency_ms=objective_ms), pods, histories, tmp_path)


def test_a_setting_overrides_what_follows_from_the_costs(tmp_path: Path) -> None:
    costs = of_pods("monopod_warmup_seconds", "60x40", model="demo", rows="8")
    assert answers(rows(autoscale_queue_rows=32), 2, {**UP, **costs, **queues(f"{ROWS}x40")}, tmp_path)
