"""The sample size of a step: how long it takes to find a worse canary, and to call one without a change good."""

import math
from collections.abc import Callable, Mapping

from conf.canary.counts import Counts
from conf.canary.sequential_tests import binomial_bounds, log_evidence, share_of_bad
from conf.canary.verdict import Judging

MAX_REQUESTS = 1e12  # of both arms; no step lasts for that many


def requests_until_found(
    share: float, settings: Judging, bad_share: float = 0.0, more: float = 0.01, bad_together: float = 1.0
) -> float:
    """Return how many requests of both arms together it takes, in the median, until `more` bad requests make a canary worse.

    share: the canary's part of them. bad_share: of the baseline. more: what the canary's bad share is above that, 0.01 for one
    request in a hundred. bad_together: bad requests of one cause. Infinity where that is within the tolerance.

    That is where the evidence of the expected counts reaches the threshold. Chance takes many canaries there earlier, so the
    result is up to a fifth above the median of simulated ones, as a test shows.
    """
    per_request = share * min(bad_share + more, 1.0) / bad_together, (1 - share) * bad_share / bad_together
    most = share_of_bad(share, settings.tolerance)
    if per_request[0] <= most * sum(per_request):
        return math.inf

    def found(requests: float) -> bool:
        return log_evidence(requests * per_request[0], requests * per_request[1], most) >= math.log(settings.threshold)

    return _first(found)


def seconds_until_found(
    rate_per_second: float,
    share: float,
    settings: Judging,
    bad_share: float = 0.0,
    more: float = 0.01,
    bad_together: float = 1.0,
) -> float:
    """Return after how many seconds, in the median, a canary with `more` bad requests is found worse.

    rate_per_second: requests of both arms together. Others: as in `requests_until_found`. Infinity where there are no requests,
    or where `more` is within the tolerance.
    """
    if rate_per_second <= 0 or not 0 < share < 1:
        return math.inf
    return requests_until_found(share, settings, bad_share, more, bad_together) / rate_per_second


def requests_until_good(share: float, settings: Judging, seen: Mapping[str, Counts]) -> float:
    """Return how many requests of both arms together it takes until a canary that is like its baseline is good.

    share: the canary's part of them. seen: the counts of each metric, by its name, as the old pods had them so far: their bad
    shares, and how many requests share their fate. Infinity where a metric has had no requests.

    That is where the bounds of the expected counts lie less than the margin apart, for each metric. All metrics must be good,
    and chance makes the bad shares of the arms differ, so more than half of such canaries need longer.
    """
    error = (1 - settings.confidence) / 2

    def needed(name: str, margin: float) -> float:
        found = seen[name]
        if not 0 < share < 1 or not found.requests or found.bad > found.requests:
            return math.inf
        bad, together = found.bad / found.requests, found.requests_together

        def is_good(requests: float) -> bool:
            canary, baseline = (part * requests / together for part in (share, 1 - share))
            upper = binomial_bounds(canary * bad, canary, error)[1]
            return upper - binomial_bounds(baseline * bad, baseline, error)[0] < margin

        return _first(is_good)

    return max(needed(each.name, each.margin) for each in settings.metrics)


def _first(holds: Callable[[float], bool]) -> float:
    """Return the number of requests from which on something holds, to a thousandth, or infinity."""
    least, enough = 0.0, 1.0
    while not holds(enough):
        least, enough = enough, 2 * enough
        if enough > MAX_REQUESTS:
            return math.inf
    while enough - least > 1e-3 * enough:
        middle = (least + enough) / 2
        least, enough = (least, middle) if holds(middle) else (middle, enough)
    return enough
