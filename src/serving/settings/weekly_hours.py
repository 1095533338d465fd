"""Hours of the week: their notation, the pods that `scale_hours` of value.py asks for in them, and the windows of regions.yaml
in which a region may be deployed to.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60  # minutes
WEEK = len(DAYS) * DAY
MAX_PODS = 1000
WINDOW_FORM = re.compile(
    r"(?P<days>[a-z]{3}(?:-[a-z]{3})?(?:,[a-z]{3}(?:-[a-z]{3})?)*) (?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)", re.ASCII
)
HOURS_FORM = re.compile(r"(?P<window>.*\S) (?P<pods>\d{1,4})", re.ASCII)
EXAMPLE = "mon-fri 09:00-18:00 6"


class Window:
    """Some days of the week, from one time to a later one of the same day. days: 0 is Monday. begin, end: minutes of the day.

    text: as "mon-fri 09:00-18:00" or "sat,sun 10:00-24:00". Raises ValueError, whose text says what is wrong.
    """

    def __init__(self, text: str):
        found = WINDOW_FORM.fullmatch(text)
        if found is None:
            raise ValueError('it must have days and times, as "mon-fri 09:00-18:00"')
        self.days = {day for part in found["days"].split(",") for day in _days(part)}
        self.begin, self.end = _minutes(found["from"]), _minutes(found["to"])
        if self.begin >= self.end:
            raise ValueError(
                f"{found['from']}-{found['to']} does not end after it begins; split a night in two, to 24:00 and from 00:00"
            )


@dataclass(frozen=True)
class Span:
    """Minutes of the week, from Monday 00:00, with the same number of pods. end: over WEEK where it goes past Sunday."""

    begin: int
    end: int
    pods: int

    @property
    def minutes(self) -> int:
        return self.end - self.begin


class Hours:
    """One entry of `scale_hours`: a window, and the pods in it. text: as EXAMPLE. Raises ValueError, as Window does."""

    def __init__(self, text: str):
        found = HOURS_FORM.fullmatch(text)
        if found is None:
            raise ValueError(f'it must have days, times and pods, as "{EXAMPLE}"')
        self.text, self.window, self.pods = text, Window(found["window"]), int(found["pods"])
        if not 1 <= self.pods <= MAX_PODS:
            raise ValueError(f"{self.pods} pods are not allowed: give a number from 1 to {MAX_PODS}")

    @property
    def spans(self) -> list[Span]:
        """The window on each of its days."""
        window = self.window
        return [Span(day * DAY + window.begin, day * DAY + window.end, self.pods) for day in sorted(window.days)]


def fault(text: str) -> str:
    """Return what is wrong with an entry of `scale_hours`, "" where it can be read."""
    try:
        Hours(text)
    except ValueError as error:
        return str(error)
    return ""


def hours_of(texts: Iterable[str]) -> list[Hours]:
    """Return the entries of `scale_hours` that can be read. A rule of the settings tells of the others."""
    return [Hours(text) for text in texts if not fault(text)]


def overlap(one: Hours, other: Hours) -> str:
    """Return when two entries first hold at once, as "fri 17:00", or "" where they never do."""
    both = [max(a.begin, b.begin) for a in one.spans for b in other.spans if max(a.begin, b.begin) < min(a.end, b.end)]
    return said(min(both)) if both else ""


def spans(hours: Sequence[Hours]) -> list[Span]:
    """Return the spans of a week, in their order. Spans that touch and have as many pods are one, past midnight too.

    hours: without overlaps. A span that holds all week has WEEK minutes.
    """
    joined: list[Span] = []
    for each in sorted((span for one in hours for span in one.spans), key=lambda span: span.begin):
        last = joined[-1] if joined else None
        if last and last.end == each.begin and last.pods == each.pods:
            joined[-1] = Span(last.begin, each.end, each.pods)
        else:
            joined.append(each)
    if len(joined) > 1 and joined[-1].end == WEEK and joined[0].begin == 0 and joined[-1].pods == joined[0].pods:
        first = joined.pop(0)
        joined[-1] = Span(joined[-1].begin, WEEK + first.end, first.pods)
    return joined


def mean_pods(replicas: int, texts: Iterable[str]) -> float:
    """Return the mean of the pods over a week. replicas: outside the hours. texts: of `scale_hours`."""
    return replicas + sum(each.minutes * (each.pods - replicas) for each in spans(hours_of(texts))) / WEEK


def most_pods(texts: Iterable[str]) -> int:
    """Return the largest number of pods of `scale_hours`, 0 without any."""
    return max((each.pods for each in hours_of(texts)), default=0)


def said(minute: int) -> str:
    """Return a minute of the week as people say it, such as "fri 17:00"."""
    return f"{DAYS[minute // DAY % len(DAYS)]} {minute % DAY // 60:02}:{minute % 60:02}"


def closed(windows: Iterable[str], timezone: str, at: datetime) -> str:
    """Return "" where a deploy is allowed, else a sentence that says what is allowed and when a deploy is allowed next.

    windows: without any, every time is allowed. at: now, with a time zone.
    """
    texts = tuple(windows)
    if not texts:
        return ""
    found = [Window(text) for text in texts]
    here = at.astimezone(ZoneInfo(timezone))
    minute = here.hour * 60 + here.minute
    if any(here.weekday() in each.days and each.begin <= minute < each.end for each in found):
        return ""
    next_time = min(_opens(each, here) for each in found)
    return (
        f"it is {_moment(here)} there, and deploys are allowed {' and '.join(texts)} ({timezone}); wait until "
        f'{_moment(next_time)}, or say --override "why", which is recorded'
    )


def _days(text: str) -> list[int]:
    first, _, last = text.partition("-")
    for name in (first, last or first):
        if name not in DAYS:
            raise ValueError(f"{name!r} is not a day: days are {', '.join(DAYS)}")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return [day % 7 for day in range(begin, end + 1 if end >= begin else end + 8)]


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if minutes > 59 or hours * 60 + minutes > DAY:
        raise ValueError(f"{text} is not a time of day: times go from 00:00 to 24:00")
    return hours * 60 + minutes


def _opens(window: Window, after: datetime) -> datetime:
    """Return the next time at which a window opens. after: a time in the window's time zone."""
    for days in range(8):
        day = (after + timedelta(days=days)).date()
        at = datetime.combine(day, time(window.begin // 60, window.begin % 60), after.tzinfo)
        if day.weekday() in window.days and at > after:
            return at
    raise AssertionError("a week has every day")


def _moment(at: datetime) -> str:
    return f"{DAYS[at.weekday()]} {at:%Y-%m-%d %H:%M}"
