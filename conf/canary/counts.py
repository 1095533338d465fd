"""The counts of one metric of one arm, and how counters of the platform become such counts.

A test takes each bad request for an event of its own. Requests of one batch fail together, and wait together for a slow one. So
counts tell how many requests share a cause, and a test counts causes: a failed batch counts once.

Three metrics of the platform tell causes. `monopod_requests_total` with the reason model_failed counts each request of a failed
batch. `monopod_batch_failures_total` counts that batch once. `monopod_batch_rows` is the histogram of good batches' rows.

Knows numbers. Does not know where metrics are read.
"""

from collections.abc import Mapping
from dataclasses import dataclass


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

    buckets: of the histogram of batches' rows, cumulative: bound -> batches of so many rows at most. rows: of all batches.
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
