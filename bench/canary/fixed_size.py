"""The requests that a fixed-size test needs: one look, at a number of requests chosen beforehand."""

import math

from conf.canary.sequential_tests import log_incomplete_beta, share_of_bad

POWER = 0.8


def requests_needed(canary: float, baseline: float, error: float, tolerance: float = 1.25) -> float:
    """Return how many requests of both arms together an exact binomial test needs to find the canary with probability POWER.

    canary, baseline: causes of bad requests for one request of each arm. Both arms have half of the requests. error: the
    probability of a false alarm where the canary's rate is `tolerance` times the baseline's. Infinity where it is no more.
    """
    true, allowed = canary / (canary + baseline), share_of_bad(0.5, tolerance)
    if true <= allowed:
        return math.inf
    enough = 1
    while not _is_enough(enough, true, allowed, error):
        enough = enough * 2
    least = enough // 2
    while enough - least > 1:
        middle = (least + enough) // 2
        least, enough = (least, middle) if _is_enough(middle, true, allowed, error) else (middle, enough)
    return enough / ((canary + baseline) / 2)


def at_least(least: float, causes: float, probability: float) -> float:
    """Return the probability that `least` or more of so many causes are the canary's."""
    return math.exp(log_incomplete_beta(probability, least, causes - least + 1)) if least > 0 else 1.0


def _is_enough(causes: int, true: float, allowed: float, error: float) -> bool:
    least, critical = 0, causes + 1  # the smallest number of the canary's causes that chance exceeds rarely enough
    while critical - least > 1:
        middle = (least + critical) // 2
        least, critical = (least, middle) if at_least(middle, causes, allowed) <= error else (middle, critical)
    return critical <= causes and at_least(critical, causes, true) >= POWER
