"""The days and hours at which a region may be deployed to, in its own time zone."""

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FORM = re.compile(r"(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*) (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)")


class Window:
    """Some days of the week, from one time to a later one of the same day.

    text: as "mon-fri 09:00-18:00" or "sat,sun 10:00-24:00". Raises ValueError for a text of another form.
    """

    def __init__(self, text: str):
        found = FORM.fullmatch(text)
        if found is None:
            raise ValueError(text)
        self.days = {day for part in found["days"].split(",") for day in _days(part)}
        self.begin, self.end = _minutes(found["from"]), _minutes(found["to"])
        if self.begin >= self.end:
            raise ValueError(text)

    def holds(self, at: datetime) -> bool:
        return at.weekday() in self.days and self.begin <= at.hour * 60 + at.minute < self.end

    def opens(self, after: datetime) -> datetime:
        """Return the next time at which it opens. after: a time in the window's time zone."""
        for days in range(8):
            day = (after + timedelta(days=days)).date()
            at = datetime.combine(day, time(self.begin // 60, self.begin % 60), after.tzinfo)
            if day.weekday() in self.days and at > after:
                return at
        raise AssertionError("a week has every day")


def closed(windows: Iterable[str], timezone: str, at: datetime) -> str:
    """Return "" where a deploy is allowed, else a sentence that says what is allowed and when a deploy is allowed next.

    windows: without any, every time is allowed. at: now, with a time zone.
    """
    texts = tuple(windows)
    if not texts:
        return ""
    found = [Window(text) for text in texts]
    here = at.astimezone(ZoneInfo(timezone))
    if any(each.holds(here) for each in found):
        return ""
    opens = min(each.opens(here) for each in found)
    return (
        f"it is {_said(here)} there, and deploys are allowed {' and '.join(texts)} ({timezone}); wait until {_said(opens)}, "
        'or say --override "why", which is recorded'
    )


def _days(text: str) -> list[int]:
    first, _, last = text.partition("-")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(text)
    return hours * 60 + minutes


def _said(at: datetime) -> str:
    return f"{DAYS[at.weekday()]} {at:%Y-%m-%d %H:%M}"
