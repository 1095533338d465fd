"""When an error may pass, how long to wait before a further try, and whether it speaks of the model."""

import math
from enum import Enum
from typing import NamedTuple

from serving.base.errors import FetchFailed, NotReady, QueueFull, ServingError
from serving.settings import Settings


class Verdict(Enum):
    """The meaning of an error for the record that got it."""

    FOR_GOOD = "the input is wrong, and stays so"
    NO_ROOM = "other records hold the room that it needs, and it waits for them"
    MAY_PASS = "something else was not there, and a further try may find it"
    MODEL = "the model or the service's code failed, and a further try may succeed"


def verdict_of(error: ServingError) -> Verdict:
    """Return what an error says. Errors of status 5xx are the model's or the code's, but for a model that is not loaded."""
    if isinstance(error, QueueFull):
        return Verdict.NO_ROOM
    if isinstance(error, NotReady | FetchFailed):
        return Verdict.MAY_PASS
    return Verdict.MODEL if error.status >= 500 else Verdict.FOR_GOOD


class RetryTimes(NamedTuple):
    """The times between tries, in seconds. jitter: the share of each that is left to chance."""

    first: float
    factor: float
    cap: float
    jitter: float

    def pause(self, tries: int, chance: float) -> float:
        """Return the time before the next try, in seconds. tries: those before it, 1 or more. chance: from 0 to 1."""
        growth = (tries - 1) * math.log(self.factor)
        longest = self.cap if growth >= math.log(self.cap / self.first) else self.first * math.exp(growth)
        return min(longest, self.cap) * (1 - self.jitter * chance)


def retry_times(settings: Settings) -> RetryTimes:
    """Return the times of value.py. A first time above the longest one counts as the longest."""
    cap = settings.offline_retry_cap_second
    return RetryTimes(
        min(settings.offline_retry_second, cap), settings.offline_retry_factor, cap, settings.offline_retry_jitter
    )
