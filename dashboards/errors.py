"""The share of a service's requests that fail, as its objective, its alerts and `monopod health` count it.

Knows which answers count. Does not know panels.
"""

from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from dashboards.promql import Change, ratio, unchanged

WHAT_COUNTS = "Share of 5xx among the answers that count: all but 4xx and deadlines too short for any answer."


def error_share(where: str, by: str = "", of: Change = unchanged) -> str:
    """Return the share of the requests that a service failed. where: the matchers of its pods. by: the labels that stay."""
    failed, counted = (f"monopod_requests_total{{{where},{which}}}" for which in (COUNTED_FAILED, COUNTED))
    return ratio(failed, counted, by, of)
