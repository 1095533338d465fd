"""Whether routing gave the canary the share of the requests that it was to get.

Where it did not, counts of both arms do not belong together, and the canary is neither good nor worse: that is an error.

Knows numbers of requests. Does not know routes.
"""

from conf.base.quantities import significant
from conf.canary.binomial_bounds import binomial_bounds
from conf.canary.judging import Judging


def share_error(canary: int, baseline: int, share: float, settings: Judging) -> str | None:
    """Return what is wrong with the share that routing gave, in words, or None.

    canary, baseline: requests of each arm since the step began. share: the canary's part of both that was asked for.

    Shares are compared by odds, and may differ by the factor `tolerance`. Routing is never exact, scrapes of both arms come at
    different times, and the verdict allows for as much. The share is wrong where the bounds of the share that came lie wholly
    outside of that. They hold at every look of all steps together. So chance alone makes an error in 1 - confidence of all
    canaries at most. Lindon and Malek, NeurIPS 2022, section 2, test for such mismatches in the same way.
    """
    if canary + baseline == 0:
        return None
    lower, upper = binomial_bounds(canary, canary + baseline, (1 - settings.confidence) / settings.steps)
    odds = share / (1 - share)
    least, most = (part / (1 + part) for part in (odds / settings.tolerance, odds * settings.tolerance))
    if lower <= most and upper >= least:
        return None
    got = f"{significant(100 * canary / (canary + baseline), 2)} %"
    return (
        f"the canary got {canary:,} of the {canary + baseline:,} requests of both arms, {got}, and was to get "
        f"{significant(100 * share, 2)} %: routing does not give the shares, so nothing is judged; look at the route's "
        "weights, and for callers that bypass it"
    )
