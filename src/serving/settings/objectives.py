"""The objectives of a service, in the units of its metrics.

Knows settings alone. Does not know buckets, queries or alerts.
"""

from serving.settings.declarations import Settings


def latency_objective(s: Settings) -> float:
    """Return the longest time from a request's last byte to a good answer, in seconds.

    The default is half of the timeout, since a client that waited longer is close to getting no answer. A better figure is
    known to the service alone.

    Both halves call this function: its result is a bound of the pod's histograms, and the rules ask for that bound.
    """
    return (s.objective_latency_ms or 500 * s.timeout_second) / 1000
