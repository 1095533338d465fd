"""The figures of a run: counts, throughput and percentiles of latency.

Knows outcomes and percentiles. Does not know clocks, sockets or words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serving.tools.bench.load_generator import Outcome, RunResult


@dataclass(frozen=True)
class Spread:
    """Percentiles of times, in milliseconds. Each is one of the times: the smallest that so many percent do not exceed."""

    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True)
class Kind:
    """All requests with the same end. name: the status, or why no answer came. text: the server's words to the first."""

    name: str
    count: int
    ms: Spread
    text: str


@dataclass(frozen=True)
class Figures:
    """The figures of one run.

    requests: the number that was due in the measured seconds, and ended. throughput: answers of 2xx a second that came in the
    measured seconds. Answers to the warm-up's last requests count there, since answers to the last measured requests come too
    late to count.

    ms: of answers of 2xx, from when a request was due; None without such an answer. late_p99_ms: of the generator.
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


def figures(result: RunResult) -> Figures:
    """Return the figures of a run."""
    measured = [one for one in result.outcomes if one.due >= 0]
    good = [one for one in measured if one.answer.good]
    in_time = sum(1 for one in result.outcomes if one.answer.good and 0 <= one.end < result.seconds)
    names = sorted({one.answer.kind for one in measured})
    return Figures(
        seconds=result.seconds,
        requests=len(measured),
        throughput=in_time / result.seconds if result.seconds else 0.0,
        good=len(good),
        ms=_latencies(good) if good else None,
        kinds=tuple(_kind(name, [one for one in measured if one.answer.kind == name]) for name in names),
        not_sent=result.not_sent,
        unfinished=result.unfinished,
        stopped=result.stopped,
        late_p99_ms=spread(result.late).p99 if result.late else 0.0,
        cpu=result.cpu,
    )


def spread(seconds: Sequence[float]) -> Spread:
    """Return the percentiles of times. seconds: one or more."""
    return Spread(*percentiles([1000 * each for each in seconds], 0.5, 0.95, 0.99, 1))


def percentiles(values: Sequence[float], *shares: float) -> list[float]:
    """Return for each share (0 to 1) the smallest value that at least this share of the values does not exceed.

    This is the nearest rank, so each is one of the values.
    """
    found: list[float] = np.percentile(values, [100 * share for share in shares], method="inverted_cdf").tolist()
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return percentiles(values, share)[0]


def _latencies(outcomes: Sequence[Outcome]) -> Spread:
    return spread([one.end - one.due for one in outcomes])


def _kind(name: str, outcomes: Sequence[Outcome]) -> Kind:
    text = next((one.answer.text for one in outcomes if one.answer.text), "")
    return Kind(name, len(outcomes), _latencies(outcomes), text)
