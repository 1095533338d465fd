"""The search for the rate at which a side's p99 stays within a bound: rates rise step by step, in several rounds."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.pods.card import batch_seconds
from bench.pods.payloads import ROWS

BOUNDS = (40.0, 60.0, 80.0, 100.0)  # ms, of p99
BOUND = 60.0  # ms; the one that the target and the run at 70 % take
TRIES = 3  # of a step that misses the largest bound
STEP, FIRST = 0.04, 0.40  # of what the cards can do
FRACTIONS = tuple(round(FIRST + STEP * number, 2) for number in range(round((1 - FIRST) / STEP) + 1))
Climb = Mapping[float, float]  # requests a second -> p99 in ms, infinite where an answer was not good


@dataclass(frozen=True)
class Sides:
    """The same figure of both sides."""

    pods: float
    gunicorn: float

    @property
    def ratio(self) -> float:
        return self.pods / self.gunicorn if self.gunicorn else math.inf


def most(cards: int, max_batch_size: int) -> Sides:
    """Return what the cards can do, in requests a second: the pods with full batches, gunicorn with a request at a time."""
    rows = statistics.mean(ROWS)
    batched = cards * max_batch_size / batch_seconds(max_batch_size) / rows
    return Sides(batched, cards / batch_seconds(rows))


def rates(limit: float) -> list[float]:
    """Return the steps towards what the cards can do, in requests a second."""
    return [float(round(fraction * limit)) for fraction in FRACTIONS]


def climb(steps: Iterable[float], measure: Callable[[float], float]) -> dict[float, float]:
    """Measure one step after the other, until one misses the largest bound. measure: requests a second -> p99 in ms.

    A step that misses it is measured again, up to TRIES times in all, and the best counts. So a hiccup of the machine does not
    end the climb.
    """
    found: dict[float, float] = {}
    for rate in steps:
        found[rate] = math.inf
        for _ in range(TRIES):
            found[rate] = min(found[rate], measure(rate))
            if found[rate] <= BOUNDS[-1]:
                break
        else:
            break
    return found


def medians(rounds: Sequence[Climb]) -> dict[float, float]:
    """Return each step's median of p99 over the rounds. A step that a round did not reach counts as infinite there."""
    steps = sorted({rate for climbed in rounds for rate in climbed})
    return {rate: statistics.median(climbed.get(rate, math.inf) for climbed in rounds) for rate in steps}


def held(climbed: Climb, bound: float) -> float:
    """Return the highest rate up to which every step's p99 is within a bound, 0 where the first is not."""
    highest = 0.0
    for rate in sorted(climbed):
        if climbed[rate] > bound:
            break
        highest = rate
    return highest


def p99(told: Mapping[str, Any]) -> float:
    """Return the p99 of a report of the open loop, in ms from when a request was due.

    It is infinite where one request was not sent, or not answered by 200.
    """
    good = told["statuses"].get("200")
    if good is None or told["not_sent"] or told["errors"] or len(told["statuses"]) > 1:
        return math.inf
    found: float = good["from_schedule_ms"]["p99"]
    return found
