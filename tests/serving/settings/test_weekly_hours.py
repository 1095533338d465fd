"""Hours of the week as value.py writes them, the rules between them, and the windows of a region in its own time zone."""

from datetime import UTC, datetime

import pytest

from serving.settings import SettingsError, ValueFile, read
from serving.settings.weekly_hours import DAY, WEEK, Hours, Span, Window, closed, hours_of, mean_pods, most_pods, said, spans

NAMES = 'service_name = "demo"\nusername = "like"\n'
OFFICE = ["mon-fri 09:00-18:00"]


def reading(lines: str) -> ValueFile:
    return read(NAMES + lines, "value.py", ("hk", "eu"))


def test_an_entry_has_days_times_and_pods() -> None:
    found = Hours("fri-mon,wed 08:30-24:00 12")
    assert (found.window.days, found.window.begin, found.window.end, found.pods) == ({4, 5, 6, 0, 2}, 510, DAY, 12)


def test_spans_that_touch_are_one_past_midnight_and_past_sunday() -> None:
    night = hours_of(["mon-sun 22:00-24:00 3", "mon-sun 00:00-06:00 3"])
    found = spans(night)
    assert [(said(each.begin), each.minutes) for each in found[:2]] == [("mon 22:00", 480), ("tue 22:00", 480)]
    assert found[-1] == Span(6 * DAY + 22 * 60, WEEK + 6 * 60, 3)
    assert len(found) == 7
    assert spans(hours_of(["sat,sun 00:00-24:00 4"])) == [Span(5 * DAY, WEEK, 4)]


def test_spans_of_other_numbers_stay_apart() -> None:
    assert [each.pods for each in spans(hours_of(["mon 08:00-12:00 4", "mon 12:00-18:00 6"]))] == [4, 6]


def test_the_mean_and_the_most_of_a_week() -> None:
    hours = ["mon-fri 08:00-20:00 7", "sat 00:00-24:00 3"]
    assert mean_pods(2, hours) == pytest.approx(2 + (60 * 5 + 24 * 1) / 168)
    assert (most_pods(hours), most_pods([]), mean_pods(2, [])) == (7, 0, 2)


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        ('scale_hours = ["mon-fri 09:00-18:00"]\n', 3, "it must have days, times and pods"),
        ('scale_hours = ["mon-fri 09:00-18:00 4", "mon-frj 19:00-20:00 3"]\n', 3, "'frj' is not a day"),
        ('scale_hours = ["mon 22:00-06:00 4"]\n', 3, "22:00-06:00 does not end after it begins"),
        ('scale_hours = ["mon 09:00-24:30 4"]\n', 3, "24:30 is not a time of day"),
        ('scale_hours = ["mon 09:00-18:00 0"]\n', 3, "give a number from 1 to 1000"),
        ('scale_hours = ["mon-fri 09:00-18:00 6", "fri-sun 17:00-20:00 4"]\n', 3, "both hold on fri 17:00"),
        ('replicas = 2\nmax_replicas = 4\nscale_hours = ["mon 09:00-18:00 6"]\n', 5, "raise max_replicas to 6"),
        ('scale_hours = ["mon 09:00-18:00 6"]\nhk_replicas = 8\n', 4, "replicas is 8"),
        ('scale_hours = ["mon-sun 00:00-24:00 6"]\n', 3, "6 pods all week"),
        ('scale_hours = "mon-fri 09:00-18:00 6"\n', 3, 'did you mean ["mon-fri 09:00-18:00 6"]?'),
    ],
)
def test_each_mistake_is_named_once_with_its_line(lines: str, line: int, reason: str) -> None:
    with pytest.raises(SettingsError) as caught:
        reading(lines)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith(f"value.py:{line}: ")
    assert reason in mistake


def test_a_region_may_have_hours_of_its_own_and_one_without_pods_has_none() -> None:
    file = reading(
        'replicas = 2\nscale_hours = ["mon 09:00-18:00 6"]\nhk_scale_hours = ["mon 01:00-10:00 4"]\neu_replicas = 0\n'
    )
    assert [file.in_region(name).scale_hours for name in ("hk", "eu")] == [("mon 01:00-10:00 4",), ("mon 09:00-18:00 6",)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "timezone", "moment", "open_"),
    [
        ([], "UTC", "2026-01-03T03:00", True),
        (OFFICE, "UTC", "2026-01-02T09:00", True),  # a Friday
        (OFFICE, "UTC", "2026-01-02T08:59", False),
        (OFFICE, "UTC", "2026-01-02T17:59", True),
        (OFFICE, "UTC", "2026-01-02T18:00", False),
        (OFFICE, "UTC", "2026-01-03T12:00", False),  # a Saturday
        (OFFICE, "Asia/Hong_Kong", "2026-01-02T01:00", True),  # 09:00 there
        (OFFICE, "Asia/Hong_Kong", "2026-01-02T10:00", False),  # 18:00 there
        (OFFICE, "America/New_York", "2026-07-03T13:00", True),  # 09:00 in summer
        (OFFICE, "America/New_York", "2026-01-02T13:00", False),  # 08:00 in winter
        (["fri-mon 00:00-24:00"], "UTC", "2026-01-04T23:59", True),
        (["sat,sun 10:00-12:00", "mon 10:00-12:00"], "UTC", "2026-01-05T11:00", True),
    ],
)
def test_a_moment_is_allowed_by_the_clock_of_the_region(windows: list[str], timezone: str, moment: str, open_: bool) -> None:
    assert (closed(windows, timezone, at(moment)) == "") is open_


def test_a_refusal_says_what_is_allowed_when_it_opens_and_how_to_override() -> None:
    words = closed(OFFICE, "Asia/Hong_Kong", at("2026-01-02T12:00"))
    assert words.startswith("it is fri 2026-01-02 20:00 there, ")
    assert "mon-fri 09:00-18:00 (Asia/Hong_Kong)" in words
    assert "wait until mon 2026-01-05 09:00, " in words
    assert '--override "why"' in words


@pytest.mark.parametrize(
    "text", ["", "mon", "mon 9:00-18:00", "mon 18:00-09:00", "day 09:00-18:00", "mon 09:00-25:00", "mon 09:60-10:00"]
)
def test_a_window_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the reader of regions.yaml says what is allowed
        Window(text)


def test_a_window_that_opens_in_a_week_is_told_with_its_date() -> None:
    assert "wait until mon 2026-01-12 09:00, " in closed(["mon 09:00-18:00"], "UTC", at("2026-01-05T20:00"))


def test_of_several_windows_the_one_that_opens_first_is_told() -> None:
    assert "wait until sat 2026-01-10 10:00, " in closed(["mon 09:00-18:00", "sat 10:00-12:00"], "UTC", at("2026-01-05T20:00"))
