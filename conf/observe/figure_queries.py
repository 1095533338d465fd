"""The PromQL of the figures of pods and tracks, and what its answer says.

Knows metrics by the names that the runtime exports, with the labels that our ServiceMonitor adds. Asks nobody.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from conf.base.matchers import matchers, one_of
from conf.observe.pod_figures import PodFigures
from conf.observe.prometheus import Sample
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED

FIGURE = "figure"  # the label that tells which figure a series of the answer is
BY_POD, BY_TRACK = "namespace, pod", "namespace"


def selector(service: str, namespaces: Sequence[str], *more: str) -> str:
    """Return the matchers of a service's series in some namespaces, without braces. more: further matchers."""
    return ",".join((one_of("namespace", namespaces), matchers(service=service), *more))


def figures_query(service: str, namespaces: Sequence[str], window: str) -> str:
    """Return one query for all figures of a service's online pods. window: of rates and quantiles, as 2m.

    One question a refresh costs a Prometheus less than one for each figure does.
    """
    all_ = selector(service, namespaces)
    return _together({**_process(all_, window), **_requests(service, namespaces, window)})


def offline_query(service: str, namespaces: Sequence[str], window: str) -> str:
    """Return one query for all figures of a service's offline pods. service: the name of their Deployment."""
    all_ = selector(service, namespaces)
    dead = selector(service, namespaces, 'outcome="dead"')
    finished = _summed(f"rate(monopod_offline_records_total{{{all_}}}[{window}])")
    records = {
        "rate": finished,
        "valid": finished,
        "errors": _summed(f"rate(monopod_offline_records_total{{{dead}}}[{window}])"),
        "queue_rows": _summed(f"monopod_offline_lag_records{{{all_}}}"),
        "held": _summed(f"monopod_offline_held{{{all_}}}"),
        "away": f'max by ({BY_POD}) ({{__name__=~"monopod_offline_(sink|brokers)_away_seconds",{all_}}})',
    }
    return _together({**_process(all_, window), **records})


def _together(expressions: Mapping[str, str]) -> str:
    """Return the query of several. expressions: by the name of the field in PodFigures, or of a track's quantile."""
    return " or ".join(f'label_replace({expr}, "{FIGURE}", "{name}", "namespace", ".*")' for name, expr in expressions.items())


def _summed(series: str) -> str:
    return f"sum by ({BY_POD}) ({series})"


def _process(all_: str, window: str) -> dict[str, str]:
    """Return the PromQL of the figures that each pod has. all_: the matchers of its series."""
    return {
        "version": f"max by ({BY_POD}, version) (monopod_release_info{{{all_}}})",
        "ready": _summed(f"monopod_ready{{{all_}}}"),
        "memory": _summed(f"process_resident_memory_bytes{{{all_}}}"),
        "memory_limit": _summed(f"monopod_memory_limit_bytes{{{all_}}}"),
        "cores": _summed(f"rate(process_cpu_seconds_total{{{all_}}}[{window}])"),
        "cores_asked": _summed(f"monopod_cpu_cores{{{all_}}}"),
        "restarts": _summed(f"changes(process_start_time_seconds{{{all_}}}[1h])"),
    }


def _requests(service: str, namespaces: Sequence[str], window: str) -> dict[str, str]:
    """Return the PromQL of the figures of requests."""
    all_ = selector(service, namespaces)
    counted, failed = (selector(service, namespaces, which) for which in (COUNTED, COUNTED_FAILED))
    full = selector(service, namespaces, 'code="429"')

    def quantile(number: float, by: str) -> str:
        buckets = f"rate(monopod_answer_duration_seconds_bucket{{{all_}}}[{window}])"
        return f"histogram_quantile({number}, sum by ({by}, le) ({buckets}))"

    return {
        "rate": _summed(f"rate(monopod_requests_total{{{all_}}}[{window}])"),
        "valid": _summed(f"rate(monopod_requests_total{{{counted}}}[{window}])"),
        "errors": _summed(f"rate(monopod_requests_total{{{failed}}}[{window}])"),
        "refused": _summed(f"rate(monopod_requests_total{{{full}}}[{window}])"),
        "p50": quantile(0.5, BY_POD),
        "p95": quantile(0.95, BY_POD),
        "track_p50": quantile(0.5, BY_TRACK),
        "track_p95": quantile(0.95, BY_TRACK),
        "queue_rows": _summed(f"monopod_queue_rows{{{all_}}}"),
        "queue_age": f"max by ({BY_POD}) (monopod_queue_oldest_age_seconds{{{all_}}})",
    }


def pods_of(samples: Iterable[Sample]) -> dict[str, list[PodFigures]]:
    """Return the pods of an answer to either query by their namespace, in the order of their names."""
    found: defaultdict[tuple[str, str], dict[str, float | None]] = defaultdict(dict)
    versions: dict[tuple[str, str], str] = {}
    for each in samples:
        key = each.labels["namespace"], each.labels.get("pod", "")
        if each.labels[FIGURE] == "version":
            versions[key] = each.labels.get("version", "")
        elif key[1]:
            found[key][each.labels[FIGURE]] = each.value
    pods = defaultdict(list)
    for namespace, pod in sorted(found):
        if "ready" in found[namespace, pod]:  # others have ended, and have rates of the window's beginning alone
            figures = found[namespace, pod]
            pods[namespace].append(PodFigures(pod, versions.get((namespace, pod), ""), **figures))
    return dict(pods)


def track_quantile(samples: Iterable[Sample], namespace: str, name: str) -> float | None:
    """Return a quantile of all of a namespace's pods. name: track_p50 or track_p95."""
    wanted = {FIGURE: name, "namespace": namespace}
    return next((each.value for each in samples if dict(each.labels) == wanted), None)
