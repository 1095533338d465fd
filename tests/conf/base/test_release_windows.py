"""Release windows follow the days and hours of a region's own time zone."""

from datetime import UTC, datetime

import pytest

from conf.base.release_windows import closed
from serving.settings.declared.weekly_hours import Window

OFFICE = ["mon-fri 09:00-18:00"]


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
    assert words == (
        "it is fri 2026-01-02 20:00 there, and deploys are allowed mon-fri 09:00-18:00 (Asia/Hong_Kong); wait until "
        'mon 2026-01-05 09:00, or say --override "why", which is recorded'
    )


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
