"""The rules of a service's objectives: how fast failures and late answers use up what the objectives allow.

An objective of 0.999 allows 1 failure in 1000 requests, its budget. A burn rate of 1 uses the budget of a month in a month, and
one of 14.4 in two days. Each rule asks two windows: the long one tells that much was used, the short one that it goes on, so
that an alert ends soon after the trouble does. The pairs come from the Site Reliability Workbook, chapter 5.

An alert's value is the share of the last five minutes, since the long window makes little of an outage that has just begun.

A window of three days over the series of every pod would be read again each minute. So each minute one series a service is
recorded, and the windows are sums over that.
"""

from dataclasses import dataclass
from typing import NamedTuple

from conf.plan.alerts import AlertingRule, Recording, RuleGroup, Watched, alert
from serving.settings import latency_objective

# One failure in a quiet night wakes nobody, and a few clients' failures do not either. The rules of long windows find what few
# requests show only in a day.
MIN_REQUESTS = 20  # In the window that a rule judges.
MIN_FAILURES = 5  # In the same window.
INTERVAL = 60  # Seconds between two recordings. A sum over recorded rates is a number of requests by it.
REQUESTS, FAILED = "service:monopod_valid_requests:rate5m", "service:monopod_failed_requests:rate5m"
ANSWERS, LATE = "service:monopod_answers:rate5m", "service:monopod_late_answers:rate5m"
RECORDED = "5m"  # The window of the recorded rates.
# No service could answer malformed requests, refused ones, and those whose deadline is too short for any answer.
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
POD = "{{ $each.Labels.pod }}"
TOLD = {"1h": "the last hour", "1d": "the last day"}  # the long windows that a message names


def burn_rate_group(watched: Watched) -> RuleGroup:
    """Return the recording rules of a track, and the alerts on its objectives."""
    return RuleGroup(f"{watched.name}-objectives", f"{INTERVAL}s", _recordings(watched), _alerts(watched))


def _recordings(watched: Watched) -> tuple[Recording, ...]:
    """A canary's pods answer requests of the same callers, so theirs are counted too.

    While a rollout changes objective_latency_ms, only the pods whose histogram has the new bound are counted.
    """
    requests = f"sum({_rate(watched, 'monopod_requests_total', COUNTED)})"
    failed = f"sum({_rate(watched, 'monopod_requests_total', COUNTED_FAILED)})"
    every, good = _answers(watched)
    return (
        Recording(REQUESTS, requests),
        Recording(FAILED, f"{failed} or 0 * {requests}"),
        Recording(ANSWERS, f"sum({every} and ignoring (le) {good})"),
        Recording(LATE, f"sum({every} - ignoring (le) {good})"),
    )


def _answers(watched: Watched) -> list[str]:
    """Return the rates of all answers, and of those within the bound."""
    bounds = ("+Inf", repr(latency_objective(watched.settings)))
    return [_rate(watched, "monopod_answer_duration_seconds_bucket", f'le="{bound}"') for bound in bounds]


def _rate(watched: Watched, counter: str, which: str) -> str:
    """Return the rate of a counter, a series a pod, of the track's own pods and of its canary's and baseline's."""
    own, arms = (f"rate({counter}{{{where},{which}}}[{RECORDED}])" for where in (watched.where, watched.where_arms))
    return f"({own} or {arms})"


class _Kind(NamedTuple):
    """A way to miss an objective. now, cause: PromQL of its rate and of its commonest reason."""

    name: str
    missed: str
    every: str
    objective: float
    words: str
    now: str
    cause: str


def _kinds(watched: Watched) -> tuple[_Kind, _Kind]:
    s, (every, good) = watched.settings, _answers(watched)
    failed, late = _rate(watched, "monopod_requests_total", COUNTED_FAILED), f"{every} - ignoring (le) {good}"
    reasons = f"sum by (reason) ({failed})"
    stages = f"sum by (stage) (rate(monopod_stage_duration_seconds_sum{{{watched.where}}}[{RECORDED}]))"
    words = f"answers take over {1000 * latency_objective(s):g} ms"
    return (
        _Kind("ErrorBudgetBurns", FAILED, REQUESTS, s.objective_success, "requests fail", failed, reasons),
        _Kind("LatencyBudgetBurns", LATE, ANSWERS, s.objective_latency_share, words, late, stages),
    )


def _alerts(watched: Watched) -> tuple[AlertingRule, ...]:
    """Return the alerts on both objectives. The slow one is silent while the fast one fires, and for its short window after."""
    found = []
    for kind in _kinds(watched):
        fast = f'{watched.where_recorded},alertname="{kind.name}Fast",alertstate="firing"'
        told = f" unless on (namespace, service, track) max_over_time(ALERTS{{{fast}}}[{SLOW[-1].short}])"
        for speed, burns, severity, silent in (("Fast", FAST, "critical", ""), ("Slowly", SLOW, "warning", told)):
            now = f"{_share(watched, kind, RECORDED)} >= 0 or 0 * {_sum(watched, kind.every, burns[-1].long)}"  # 0/0 is NaN
            burning = " or ".join(_burns(watched, burn, kind) for burn in burns)
            expr, words = f"({now}) and ({burning}){silent}", _words(watched, kind, burns[0])
            found.append(alert(watched, kind.name + speed, expr, "0s", severity, words, _details(watched, kind)))
    return tuple(found)


def _share(watched: Watched, kind: _Kind, window: str) -> str:
    return f"{_sum(watched, kind.missed, window)} / {_sum(watched, kind.every, window)}"


def _words(watched: Watched, kind: _Kind, burn: Burn) -> str:
    long = f"{{{{ query `{_share(watched, kind, burn.long)}` | first | value | humanizePercentage }}}} in {TOLD[burn.long]}"
    allowed = f"the objective allows {100 * (1 - kind.objective):.3g}%"
    return f"{{{{ $value | humanizePercentage }}}} of the {kind.words} now, {long}; {allowed}"


def _details(watched: Watched, kind: _Kind) -> str:
    """Return what is so in the last five minutes, as Prometheus' template: cause, pods, and each version with its age."""
    pods = f"sum by (pod) ({kind.now}) > 0"
    running, began = (
        f"({name}{{{watched.where}}} or {name}{{{watched.where_arms}}})"
        for name in ("monopod_release_info", "process_start_time_seconds")
    )
    versions = f"{began} * on (namespace, pod) group_left (version) max by (namespace, pod, version) {running}"
    failing, every = (f"{{{{ query `count({each}) or vector(0)` | first | value }}}}" for each in (pods, running))
    age = "version {{ $each.Labels.version }}, whose oldest pod began {{ $each.Value | humanizeDuration }} ago"
    return (
        listed(f"topk(1, {kind.cause} > 0)", "mostly ", "{{ range $each.Labels }}{{ . }}{{ end }}, ")
        + f"on {failing} of {every} pods"
        + listed(f"topk(3, {pods})", ", most on ", POD)
        + listed(f"time() - min by (version) ({versions})", "; ", age)
    )


def listed(query: str, before: str, text: str) -> str:
    """Return a template of a text for each of a query's results, as $each. before: stands before the first."""
    return (
        f"{{{{ range $i, $each := query `{query}` }}}}{{{{ if $i }}}}, {{{{ else }}}}{before}{{{{ end }}}}{text}{{{{ end }}}}"
    )


def _burns(watched: Watched, burn: Burn, kind: _Kind) -> str:
    """Return the share of requests that missed an objective, while both windows show the burn rate."""
    # No more than everything fails, so a wide budget has a threshold half way from it to everything.
    budget = 1 - kind.objective
    threshold = f"{min(burn.rate * budget, (1 + budget) / 2):.6g}"
    missed, every = (_sum(watched, series, burn.long) for series in (kind.missed, kind.every))
    return (
        f"({missed} / {every} > {threshold} and {_share(watched, kind, burn.short)} > {threshold}"
        f" and {INTERVAL} * {every} >= {MIN_REQUESTS} and {INTERVAL} * {missed} >= {MIN_FAILURES})"
    )


def _sum(watched: Watched, series: str, window: str) -> str:
    asked = f"{series}{{{watched.where_recorded}}}"
    return asked if window == RECORDED else f"sum_over_time({asked}[{window}])"
