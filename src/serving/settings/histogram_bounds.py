"""The upper bounds of the buckets of the platform's histograms, and the series that they make.

Knows units. Does not know what is counted. Up to a service's own deadline the bounds of seconds are those of every service.
Sums over services keep their meaning by that.
"""

from serving.settings.exported_metrics import ExportedMetric

# Seconds of a decade. No bound is over 1.2 times the one before it, so that a quantile is off by a fifth at most. Round numbers
# are among them, since objectives are such.
STEPS = ("1", "1.2", "1.42", "1.7", "2", "2.2", "2.5", "3", "3.6", "4.3", "5", "6", "7", "8.4")
DECADES = range(-3, 4)  # of seconds: 1 ms to 8,400 s, above the longest timeout_second
SIZES = tuple(4.0**power for power in range(3, 14))  # 64 bytes to 64 MiB
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OWN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # where a service names none


def seconds_bounds(timeout: float, objective: float | None = None) -> tuple[float, ...]:
    """Return the bounds for times of requests: 1 ms to the timeout, which is the last one. timeout, objective: seconds.

    objective: of the latency, below the timeout. It is a bound, so that answers within it can be counted exactly.
    """
    every = (float(f"{step}e{decade}") for decade in DECADES for step in STEPS)
    exact = {float(timeout), float(objective or timeout)}
    return tuple(sorted(exact.union(bound for bound in every if bound < timeout)))


def series_of(metric: ExportedMetric, timeout: float, objective: float | None = None) -> int:
    """Return how many series a metric has for one value of each of its labels. timeout, objective: seconds.

    A histogram has one for each bound, and beside them those of infinity, of the sum and of the count.
    """
    if metric.type != "histogram":
        return 1
    bounds = {"seconds": seconds_bounds(timeout, objective), "bytes": SIZES, "rows": ROWS}[metric.unit]
    return len(bounds) + 3
