"""The histogram bounds by which slow answers are counted.

Knows cumulative buckets. Does not know which metric they are of.
"""

import math
from collections.abc import Mapping, Sequence

QUANTILES = (0.5, 0.95, 0.99)


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
        value = _value(buckets, bounds, quantile)
        nearest = min(finite, key=lambda bound: abs(math.log(bound / value)))
        if nearest not in edges.values():
            edges[quantile] = nearest
    return edges


def _value(buckets: Mapping[float, float], bounds: Sequence[float], quantile: float) -> float:
    """Return a quantile in seconds, as Prometheus' histogram_quantile interpolates it."""
    rank = quantile * buckets[bounds[-1]]
    below, start = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= rank and buckets[bound] > below:
            if not math.isfinite(bound):
                return start
            return start + (bound - start) * max(rank - below, 1e-9) / (buckets[bound] - below)
        below, start = buckets[bound], bound
    return start
