"""What a run saw, in numbers.

Knows outcomes and percentiles. Does not know clocks, sockets or words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.tools.bench.loops import Outcome, Seen


@dataclass(frozen=True)
class Spread:
    """Milliseconds. Each is a time that was really seen: the smallest that so many percent of all do not exceed."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Kind:
    """All requests that ended alike. name: the status, or why no answer came. text: what the first of them was told."""

    name: str
    count: int
    ms: Spread
    text: str


@dataclass(frozen=True)
class Figures:
    """What was measured.

    requests: those due in the measured seconds, and ended. throughput: answers of 2xx a second that came in the measured
    seconds, the warm-up's last ones included as the last ones measured are not: with long answers a rate would be too low
    otherwise. ms: of answers of 2xx, from when a request was due; None without one. late_p99_ms: how late the generator was.
    """

    seconds: float
    requests: int
    throughput: float
    good: int
    ms: Spread | None
    kinds: tuple[Kind, ...]
    not_sent: int
    unfinished: int
    stopped: bool
    late_p99_ms: float
    cpu: float


def figures(seen: Seen) -> Figures:
    """Return the numbers of a run."""
    measured = [one for one in seen.outcomes if one.due >= 0]
    good = [one for one in measured if one.answer.good]
    in_time = sum(1 for one in seen.outcomes if one.answer.good and 0 <= one.end < seen.seconds)
    names = sorted({one.answer.kind for one in measured})
    return Figures(
        seconds=seen.seconds,
        requests=len(measured),
        throughput=in_time / seen.seconds if seen.seconds else 0.0,
        good=len(good),
        ms=_latencies(good) if good else None,
        kinds=tuple(_kind(name, [one for one in measured if one.answer.kind == name]) for name in names),
        not_sent=seen.not_sent,
        unfinished=seen.unfinished,
        stopped=seen.stopped,
        late_p99_ms=spread(seen.late).p99 if seen.late else 0.0,
        cpu=seen.cpu,
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Return the percentiles of one time or more."""
    return Spread(*percentiles([1000 * each for each in seconds], 0.5, 0.95, 0.99, 1))


def percentiles(values: Sequence[float], *shares: float) -> list[float]:
    """Return for each share the smallest of some values that at least this share of them does not exceed: the nearest rank."""
    found: list[float] = np.percentile(values, [100 * share for share in shares], method="inverted_cdf").tolist()
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return percentiles(values, share)[0]


def _latencies(outcomes: Sequence[Outcome]) -> Spread:
    return spread([one.end - one.due for one in outcomes])


def _kind(name: str, outcomes: Sequence[Outcome]) -> Kind:
    text = next((one.answer.text for one in outcomes if one.answer.text), "")
    return Kind(name, len(outcomes), _latencies(outcomes), text)
