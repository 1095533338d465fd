"""Pieces of PromQL that several panels use: rates, shares and quantiles over the interval that Grafana chooses.

of: what a piece does to each rate before it sums them, such as a join.
"""

from collections.abc import Callable, Iterator

from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.render.arms import BASELINE, CANARY

Change = Callable[[str], str]  # an expression -> another one

INTERVAL = "$__rate_interval"
WHAT_COUNTS = "Share of 5xx among the answers that count: all but 4xx and deadlines too short for any answer."


def unchanged(expr: str) -> str:
    return expr


def arms_named(expr: str, label: str) -> str:
    """Return lines whose label names a canary's arm beside its service, as `demo (canary)`. label: such as deployment."""
    arms = "|".join(suffix.removeprefix("-") for suffix in (CANARY, BASELINE))
    return f'label_replace({expr}, "{label}", "$1 ($2)", "{label}", "(.+)-({arms})")'


def rate(series: str) -> str:
    """Return the rate a second of a counter. series: its name and its matchers in braces."""
    return f"rate({series}[{INTERVAL}])"


def total(series: str, by: str = "", of: Change = unchanged) -> str:
    """Return the sum of rates. by: the labels that stay, separated by commas."""
    kept = f" by ({by}) " if by else ""
    return f"sum{kept}({of(rate(series))})"


def ratio(part: str, whole: str, by: str = "", of: Change = unchanged) -> str:
    """Return the rate of one counter as a share of another's."""
    return f"{total(part, by, of)} / {total(whole, by, of)}"


def mean(name: str, where: str, by: str = "", of: Change = unchanged) -> str:
    """Return the mean of what a histogram observed. name: without _sum. where: its matchers."""
    return ratio(f"{name}_sum{{{where}}}", f"{name}_count{{{where}}}", by, of)


def quantile(share: float, name: str, where: str, by: str = "", of: Change = unchanged) -> str:
    """Return a quantile of what a histogram observed. share: from 0 to 1. name: without _bucket."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, {total(f'{name}_bucket{{{where}}}', labels, of)})"


def quantiles(wanted: tuple[float, ...], name: str, where: str, by: str, line: str) -> Iterator[tuple[str, str]]:
    """Return each quantile with its legend, as `infer p99`. line: the legend of the labels that stay."""
    return ((quantile(share, name, where, by), f"{line} p{share * 100:g}") for share in wanted)


def error_share(where: str, by: str = "", of: Change = unchanged) -> str:
    """Return the share of the requests that a service failed. where: the matchers of its pods. by: the labels that stay."""
    failed, counted = (f"monopod_requests_total{{{where},{which}}}" for which in (COUNTED_FAILED, COUNTED))
    return ratio(failed, counted, by, of)
