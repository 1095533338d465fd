"""The PromQL of a report on days: what each hour was like, and what came together over all of them.

Knows metrics by the names that the runtime exports, with the labels that our ServiceMonitor adds. Asks nobody.
"""

from collections.abc import Mapping

from conf.base.matchers import matchers, one_of
from conf.observe.figure_queries import selector
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.render.arms import arm_names

HOUR = 3600


def hourly(service: str, namespace: str, latency: float, step: int = HOUR) -> Mapping[str, str]:
    """Return queries about online pods that give one series each, a value each `step` seconds.

    latency: the objective's bound in seconds.

    Of the answers, only those of pods whose histogram has the bound are counted: it came with a change of value.py.
    """
    all_ = _online(service, namespace)
    answers = "monopod_answer_duration_seconds_bucket"

    def within(bound: str) -> str:
        chosen = _online(service, namespace, f'le="{bound}"')
        return f"increase({answers}{{{chosen}}}[{step}s])"

    def requests(*more: str) -> str:
        return f"sum(increase(monopod_requests_total{{{_online(service, namespace, *more)}}}[{step}s]))"

    return {
        "requests": requests(),
        "valid": requests(COUNTED),
        "failed": requests(COUNTED_FAILED),
        "refused": requests('code="429"'),
        "answers": f"sum({within('+Inf')} and ignoring (le) {within(repr(latency))})",
        "in_time": f"sum({within(repr(latency))})",
        "p50": f"histogram_quantile(0.5, sum by (le) (rate({answers}{{{all_}}}[{step}s])))",
        "p95": f"histogram_quantile(0.95, sum by (le) (rate({answers}{{{all_}}}[{step}s])))",
        **_process(all_, step),
    }


def hourly_records(service: str, namespace: str, step: int = HOUR) -> Mapping[str, str]:
    """Return queries about offline pods that give one series each, a value each `step` seconds. service: their Deployment."""
    all_ = selector(service, [namespace])
    dead = selector(service, [namespace], 'outcome="dead"')
    lag = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{all_}}}))"
    return {
        "requests": f"sum(increase(monopod_offline_records_total{{{all_}}}[{step}s]))",
        "failed": f"sum(increase(monopod_offline_records_total{{{dead}}}[{step}s]))",
        "lag": f"max_over_time({lag}[{step}s:1m])",
        **_process(all_, step),
    }


def _online(service: str, namespace: str, *more: str) -> str:
    """Return the matchers of the series of online pods, a canary's and its baseline's included. more: further matchers."""
    return ",".join((matchers(namespace=namespace), one_of("service", (service, *arm_names(service))), *more))


def _process(all_: str, step: int) -> Mapping[str, str]:
    """Return the queries about what each pod has. all_: the matchers of its series."""
    return {
        "pods": f"sum_over_time(sum(monopod_ready{{{all_}}})[{step}s:1m]) / {step // 60}",
        "memory": f"max(max_over_time(process_resident_memory_bytes{{{all_}}}[{step}s]))",
        "cores": f"max(rate(process_cpu_seconds_total{{{all_}}}[{step}s]))",
    }


def versions(service: str, namespace: str) -> str:
    """Return the query of how many pods each version has, a series a version."""
    return f"sum by (version) (monopod_release_info{{{_online(service, namespace)}}})"


def over_all(service: str, namespace: str, days: int, offline: bool = False) -> Mapping[str, str]:
    """Return queries of the whole time, as of its end, by the label of whose values each gives a series.

    offline: about offline pods, whose reasons are those of dead letters, not those of refusals.
    """
    all_ = selector(service, [namespace]) if offline else _online(service, namespace)
    span = f"{days}d"
    refused = "monopod_offline_dead_letters_total" if offline else "monopod_shed_total"

    def mean(metric: str, by: str) -> str:
        parts = (f"sum by ({by}) (increase({metric}_{part}{{{all_}}}[{span}]))" for part in ("sum", "count"))
        return " / ".join(parts)

    return {
        "reason": f"sum by (reason) (increase({refused}{{{all_}}}[{span}])) > 0",
        "stage": mean("monopod_stage_duration_seconds", "stage"),
        "model": mean("monopod_batch_rows", "model"),
        "le": f"sum by (le) (increase(monopod_batch_rows_bucket{{{all_}}}[{span}]))",
        "currency": f"avg by (currency) (avg_over_time(monopod_price_per_month{{{all_}}}[{span}]))",
    }
