"""The rules of a service's objectives: how fast failures and late answers use up what the objectives allow.

An objective of 0.999 allows 1 failure in 1000 requests, its budget. A burn rate of 1 uses the budget of a month in a month, and
one of 14.4 in two days. Each rule asks two windows: the long one tells that much was used, the short one that it goes on, so
that an alert ends soon after the trouble does. The pairs come from the Site Reliability Workbook, chapter 5.

A window of three days over the series of every pod would be read again each minute. So each minute one series a service is
recorded, and the windows are sums over that.

Knows the metrics of requests. Does not know other alerts.
"""

from dataclasses import dataclass

from conf.plan.alerts import AlertingRule, Recording, RuleGroup
from conf.plan.thresholds import FEWEST_FAILURES, FEWEST_REQUESTS
from conf.plan.watched import Watched, alert
from serving.settings import latency_objective

INTERVAL = 60  # Seconds between two recordings. A sum over recorded rates is a number of requests by it.
REQUESTS, FAILED = "service:monopod_valid_requests:rate5m", "service:monopod_failed_requests:rate5m"
ANSWERS, LATE = "service:monopod_answers:rate5m", "service:monopod_late_answers:rate5m"
RECORDED = "5m"  # The window of the recorded rates.
# Malformed requests, refusals and deadlines too short for any answer are no requests that a service could answer.
COUNTED = 'code!~"4..",reason!="short_deadline"'
COUNTED_FAILED = 'code=~"5..",reason!="short_deadline"'


@dataclass(frozen=True)
class Burn:
    """Two windows, and the burn rate that both must show."""

    long: str
    short: str
    rate: float


FAST = (Burn("1h", "5m", 14.4), Burn("6h", "30m", 6.0))
SLOW = (Burn("1d", "2h", 3.0), Burn("3d", "6h", 1.0))


def burn_rate_group(watched: Watched) -> RuleGroup:
    """Return the recording rules of a track, and the alerts on its objectives."""
    return RuleGroup(f"{watched.name}-objectives", f"{INTERVAL}s", _recordings(watched), _alerts(watched))


def _recordings(watched: Watched) -> tuple[Recording, ...]:
    """Return the rates of requests and answers, of all and of those that miss an objective.

    A canary's pods answer requests of the same callers, so theirs are counted too. While a rollout changes
    objective_latency_ms, only the pods whose histogram has the new bound are counted.
    """
    bound = repr(latency_objective(watched.settings))
    requests = f"sum({_rate(watched, 'monopod_requests_total', COUNTED)})"
    failed = f"sum({_rate(watched, 'monopod_requests_total', COUNTED_FAILED)})"
    every, good = (_rate(watched, "monopod_answer_duration_seconds_bucket", f'le="{le}"') for le in ("+Inf", bound))
    return (
        Recording(REQUESTS, requests),
        Recording(FAILED, f"{failed} or 0 * {requests}"),
        Recording(ANSWERS, f"sum({every} and ignoring (le) {good})"),
        Recording(LATE, f"sum({every} - ignoring (le) {good})"),
    )


def _rate(watched: Watched, counter: str, which: str) -> str:
    """Return PromQL: the rate of a counter, a series a pod, of the track's own pods and of its canary's and baseline's."""
    own, arms = (f"rate({counter}{{{where},{which}}}[{RECORDED}])" for where in (watched.where, watched.where_arms))
    return f"({own} or {arms})"


def _alerts(watched: Watched) -> tuple[AlertingRule, ...]:
    s = watched.settings
    late = f"take over {1000 * latency_objective(s):g} ms"
    kinds = (
        ("ErrorBudgetBurns", FAILED, REQUESTS, s.objective_success, "requests", "fail"),
        ("LatencyBudgetBurns", LATE, ANSWERS, s.objective_latency_share, "answers", late),
    )
    speeds = (("Fast", FAST, "critical"), ("Slowly", SLOW, "warning"))
    return tuple(
        alert(
            watched,
            name + speed,
            " or ".join(_burns(watched, burn, missed, every, objective) for burn in burns),
            "0s",
            severity,
            f"{{{{ $value | humanizePercentage }}}} of the {things} {do}, and the objective allows {_percent(objective)}",
        )
        for name, missed, every, objective, things, do in kinds
        for speed, burns, severity in speeds
    )


def _burns(watched: Watched, burn: Burn, missed: str, every: str, objective: float) -> str:
    """Return PromQL: the share of requests that missed an objective, while both windows show the burn rate."""
    threshold = f"{_threshold(burn.rate, objective):.6g}"
    long_missed, long_every = (_sum(watched, series, burn.long) for series in (missed, every))
    short_missed, short_every = (_sum(watched, series, burn.short) for series in (missed, every))
    return (
        f"({long_missed} / {long_every} > {threshold} and {short_missed} / {short_every} > {threshold}"
        f" and {INTERVAL} * {long_every} >= {FEWEST_REQUESTS} and {INTERVAL} * {long_missed} >= {FEWEST_FAILURES})"
    )


def _sum(watched: Watched, series: str, window: str) -> str:
    asked = f'{series}{{{watched.where},track="{watched.track}"}}'
    return asked if window == RECORDED else f"sum_over_time({asked}[{window}])"


def _threshold(rate: float, objective: float) -> float:
    """Return the share of missed requests above which a window burns.

    A wide budget cannot burn 14.4 times as fast as it should: everything may fail at most. There the threshold is half way from
    the budget to everything.
    """
    budget = 1 - objective
    return min(rate * budget, (1 + budget) / 2)


def _percent(objective: float) -> str:
    return f"{100 * (1 - objective):.3g} %"
