"""How long a step needs until it finds a canary that fails more often.

Knows how evidence grows. Does not know where a rate comes from.
"""

import math
from collections.abc import Callable

from conf.canary.evidence import log_evidence, share_of_bad
from conf.canary.judging import Judging

MOST_REQUESTS = 1e12  # of both arms: no step lasts for so many


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
    or where so many more are within the tolerance.
    """
    if rate_per_second <= 0 or not 0 < share < 1:
        return math.inf
    return requests_until_found(share, settings, bad_share, more, bad_together) / rate_per_second


def _first(holds: Callable[[float], bool]) -> float:
    """Return the number of requests from which on something holds, to a thousandth, or infinity."""
    least, enough = 0.0, 1.0
    while not holds(enough):
        least, enough = enough, 2 * enough
        if enough > MOST_REQUESTS:
            return math.inf
    while enough - least > 1e-3 * enough:
        middle = (least + enough) / 2
        least, enough = (least, middle) if holds(middle) else (middle, enough)
    return enough
