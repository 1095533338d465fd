"""The counts of one metric of one arm, how counters of the platform become such counts, and the bounds of slow answers.

A test takes each bad request for an event of its own. Requests of one batch fail together, and wait together for a slow one. So
counts tell how many requests share a cause, and a test counts causes: a failed batch counts once.

Three metrics of the platform tell causes. `monopod_requests_total` with the reason model_failed counts each request of a failed
batch. `monopod_batch_failures_total` counts that batch once. `monopod_batch_rows` is the histogram of good batches' rows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Counts:
    """Requests of one arm since a step began, and how many of them were bad.

    bad_together: how many bad requests have one cause, on average. requests_together: how many requests share their fate, good
    or bad. Both are at least 1.
    """

    requests: int
    bad: int
    bad_together: float = 1.0
    requests_together: float = 1.0

    def __post_init__(self) -> None:
        if self.requests < 0 or self.bad < 0 or self.bad_together < 1 or self.requests_together < 1:
            raise ValueError(f"{self}: counts are at least 0, and those of one cause at least 1")


def errors(requests: int, failed: int, failed_in_batches: int, failed_batches: int, batch: float = 1.0) -> Counts:
    """Return the counts of server errors, in which a failed batch is one cause.

    failed: all requests that ended with a server error. failed_in_batches: those of them with the reason model_failed.
    failed_batches: how many batches failed. batch: as `batch_of_a_request` tells. A scrape may come between the end of a batch
    and those of its requests.
    """
    causes = max(failed - failed_in_batches, 0) + min(failed_batches, failed_in_batches)
    together = max(failed / causes if causes else 1.0, 1.0)
    return Counts(requests, failed, together, max(together, batch))


def alike(requests: int, bad: int, batch: float = 1.0) -> Counts:
    """Return the counts of what all requests of a batch share: refusals, slow answers, a service's own counter.

    A full queue has places again when a batch is taken from it, so refusals come in runs of a batch's length.
    """
    return Counts(requests, bad, batch, batch)


def batch_of_a_request(buckets: Mapping[float, float], rows: float, requests: float) -> float:
    """Return how many requests are in the batch that a request is in, on average over requests. It is at least 1.

    buckets: of the histogram of batches' rows, cumulative: bound -> batches with at most that many rows. rows: of all batches.
    requests: good answers of the same time. A batch of n rows is met by n rows, so large batches weigh more. Bounds stand for
    the sizes below them, so the result is rather too large. A batch above the last finite bound counts as twice that.
    """
    weights, squares, below = 0.0, 0.0, 0.0
    last = max((bound for bound in buckets if bound != float("inf")), default=1.0)
    for bound in sorted(buckets):
        size = min(bound, 2 * last)
        weights += size * (buckets[bound] - below)
        squares += size * size * (buckets[bound] - below)
        below = buckets[bound]
    if weights <= 0 or rows <= 0 or requests <= 0:
        return 1.0
    return max(squares / weights / max(rows / requests, 1.0), 1.0)


def latency_edges(buckets: Mapping[float, float], quantiles: Sequence[float] = QUANTILES) -> dict[float, float]:
    """Return for each quantile the finite bound nearest to the baseline's value of it: quantile -> seconds.

    buckets: cumulative, bound in seconds -> answers within it, with a bound of infinity. Nearest is meant by ratio. Where two
    quantiles have one bound, the first of them keeps it, since one bound is judged once. Raises ValueError without answers.

    Take the baseline's answers from before the canary. Bounds chosen by what is to be judged would make chance look like a
    difference.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0 or not math.isfinite(bounds[0]):
        raise ValueError("no answers to choose the bounds of latency by: wait until the service has answered requests")
    finite = [bound for bound in bounds if math.isfinite(bound)]
    edges: dict[float, float] = {}
    for quantile in quantiles:
        value = histogram_quantile(buckets, quantile)
        nearest = min(finite, key=lambda bound: abs(math.log(bound / value)))
        if nearest not in edges.values():
            edges[quantile] = nearest
    return edges


def histogram_quantile(buckets: Mapping[float, float], quantile: float) -> float:
    """Return a quantile as Prometheus' function of that name interpolates it. buckets: cumulative, as in `latency_edges`."""
    bounds = sorted(buckets)
    rank = quantile * buckets[bounds[-1]]
    below, start = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > below:
            if not math.isfinite(bound):
                return start
            return start + (bound - start) * max(rank - below, 1e-9) / (buckets[bound] - below)
        below, start = buckets[bound], bound
    return start
