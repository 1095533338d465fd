"""The days and hours at which a region may be deployed to, in its own time zone.

Knows clocks. The notation is that of serving.settings.declared.weekly_hours.
"""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from serving.settings.declared.weekly_hours import DAYS, Window


def holds(window: Window, at: datetime) -> bool:
    """Return whether a time is in a window. at: in the window's time zone."""
    return at.weekday() in window.days and window.begin <= at.hour * 60 + at.minute < window.end


def opens(window: Window, after: datetime) -> datetime:
    """Return the next time at which a window opens. after: a time in the window's time zone."""
    for days in range(8):
        day = (after + timedelta(days=days)).date()
        at = datetime.combine(day, time(window.begin // 60, window.begin % 60), after.tzinfo)
        if day.weekday() in window.days and at > after:
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
    if any(holds(each, here) for each in found):
        return ""
    next_time = min(opens(each, here) for each in found)
    return (
        f"it is {_said(here)} there, and deploys are allowed {' and '.join(texts)} ({timezone}); wait until "
        f'{_said(next_time)}, or say --override "why", which is recorded'
    )


def _said(at: datetime) -> str:
    return f"{DAYS[at.weekday()]} {at:%Y-%m-%d %H:%M}"
