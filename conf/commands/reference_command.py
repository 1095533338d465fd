"""The lists of what exists: `monopod settings` prints what value.py may say, and `monopod metrics` what a pod exports.

Each is printed for a terminal, for a program, or as the page of docs/ with --markdown.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from serving.settings import Declaration, Settings, declared_settings, latency_objective
from serving.settings.exported_metrics import (
    EXPORTED_METRICS,
    GROUPS,
    OWN_LABELS,
    SCRAPE_LABELS,
    STAGES,
    ExportedMetric,
    seconds_bounds,
    series_of,
)

SETTINGS_HEAD = """# Settings of value.py

<!-- Made by `monopod settings --markdown > docs/settings.md`; a test keeps it true. -->

This page lists every setting of value.py, with its allowed values, its default and its meaning. value.py is data: the platform
reads it and never runs it. Each line sets one setting to a literal, such as a number or a text in quotes. A setting that has no
line has its default. A line `<region>_<setting>` replaces `<setting>` in that region, such as `hk_replicas = 2`. Only
service_name and username cannot differ between regions.
"""
TIMEOUTS = (1, 5, int(Settings.timeout_second), 120, 600)  # seconds

METRICS_HEAD = """# Metrics of a pod

<!-- Made by `monopod metrics --markdown > docs/metrics.md`; a test keeps it true. -->

After reading this page you can write a query for what a pod exports at port 8081 under /metrics. Every query of the platform is
checked against this list: `make check` reads rules, dashboards, autoscalers and the queries of commands, and `monopod check` a
service's alerts.yaml. A histogram is asked for as `_bucket`, with the label `le`, as `_sum` and as `_count`.
"""
METRICS_TAIL = """
## Queries to begin with

The p99 of each route, from a request's last byte to its answer:

```promql
histogram_quantile(0.99, sum by (le, route) (rate(monopod_answer_duration_seconds_bucket{service="demo"}[5m])))
```

While a service has a canary, its series are those of the canary's and the baseline's pods too. `arm=""` chooses the service's
own pods alone, and `arm="canary"` or `arm="baseline"` one arm.

Requests by version and track. `monopod_release_info` is 1 for each pod and brings the labels that others do not have:

```promql
sum by (version, track) (
  rate(monopod_requests_total{service="demo"}[5m])
  * on (namespace, pod) group_left (version, track) monopod_release_info
)
```

Memory and cores of each pod, as shares of what it may take and of what it asks for:

```promql
process_resident_memory_bytes / monopod_memory_limit_bytes
```

```promql
rate(process_cpu_seconds_total[5m]) / monopod_cpu_cores
```

The price of a month by user, of the pods that run:

```promql
sum by (user, currency) (
  monopod_price_per_month * on (namespace, pod) group_left (user) monopod_release_info
)
```

## A service's own metrics

`self.metrics` makes them, as [service.md](service.md) shows. Their names may not begin with `monopod_` or `process_`. No label
that a scrape adds may be theirs, since Prometheus would rename it: `service` would become `exported_service`. The start fails
with a message that says so.

## Buckets

Bounds of times go from 1 ms to the service's `timeout_second`, which is the last one. Each is at most 1.2 times the one before
it, so a quantile is off by a fifth at most. `objective_latency_ms` is a bound too, for alerts count the answers within it.
Services share all other bounds up to the shorter of their timeouts. A quantile over services of different timeouts holds up to
there.

@@COSTS@@
A route has one more series for each code and reason with which its requests may end. A model has one more for each batch size
that was warmed, and `monopod_model_info`.

The figures below are of one core of a shared machine. The page of the demo service has 1,627 series in 111 kB, as its admin
port gave them 16 s after its start. In a process without a server such a page took 2.4 ms, the best mean of 20 in five rounds.
There a request took 1.0 us to note, the best mean of 200,000 in three rounds. Prometheus 3.15 took 1.8 MB for such a pod in its
first minute, when that was measured with 65 buckets.

A native histogram would take one series. It is not offered: Prometheus 3.15 reads it in protobuf alone, and
prometheus_client 0.26 writes no protobuf.

## What is not here

- `monopod_gpu_device_used_bytes` is of the whole card, as NVIDIA's driver tells it. No figure says how much of it is one pod's.
- `monopod_tmp_bytes` looks at 5,000 files at most. Where the folder is shared, all files of the same user count.
- A sum over pods of `monopod_price_per_month` is of the pods that run now. It is not an invoice.
"""


def settings_command(arguments: Namespace) -> int:
    """Print every setting, with its allowed values, unit, default and meaning."""
    return _print(arguments, settings_data, settings_page, _settings_text)


def metrics_command(arguments: Namespace) -> int:
    """Print every metric, with its type, labels and meaning."""
    return _print(arguments, metrics_data, metrics_page, _metrics_text)


def _print(
    arguments: Namespace,
    data: Callable[[], Sequence[Mapping[str, Any]]],
    page: Callable[[], str],
    lines: Callable[[], Iterator[str]],
) -> int:
    if arguments.json:
        print(json.dumps(data(), indent=2))
    else:
        print(page() if arguments.markdown else "\n".join(lines()), end="")
    return 0


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = (f"| {' | '.join(map(str, row))} |\n" for row in (head, *rows))
    return next(lines) + "|" + "---|" * len(head) + "\n" + "".join(lines)


def settings_page() -> str:
    """Return docs/settings.md."""
    head = ("setting", "allowed", "default", "meaning")
    return SETTINGS_HEAD + "".join(
        f"\n## {group}\n\n"
        + _table(head, ((f"`{s.name}`", _cell(_allowed(s)), f"`{_cell(_default(s))}`", _cell(s.meaning)) for s in found))
        for group, found in _groups().items()
    )


def settings_data() -> list[dict[str, Any]]:
    """Return all settings for a program."""
    return [
        {
            "name": item.name,
            "allowed": item.form.allowed,
            "unit": item.unit,
            "default": item.default,
            "required": item.default is None,
            "meaning": item.meaning,
            "group": item.group,
        }
        for item in declared_settings().values()
    ]


def _settings_text() -> Iterator[str]:
    for group, found in _groups().items():
        yield group
        for item in found:
            yield f"  {item.name}  [{_default(item)}]"
            yield f"      {_allowed(item)}"
            yield f"      {item.meaning}"
        yield ""


def _groups() -> dict[str, list[Declaration]]:
    found: dict[str, list[Declaration]] = {}
    for item in declared_settings().values():
        found.setdefault(item.group, []).append(item)
    return found


def _literal(value: Any) -> str:
    """Return a value as a line of value.py has it."""
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, str):
        return '"' + value + '"'
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _default(setting: Declaration) -> str:
    return "required" if setting.default is None else _literal(setting.default)


def _allowed(setting: Declaration) -> str:
    return setting.form.allowed + (f" ({setting.unit})" if setting.unit else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def metrics_page() -> str:
    """Return docs/metrics.md."""
    head = ("metric", "type", "unit", "labels", "meaning")
    groups = (
        f"\n## {group}\n\n" + _table(head, ((f"`{m.name}`", m.type, m.unit, ", ".join(m.labels), _meaning(m)) for m in found))
        for group, found in GROUPS.items()
    )
    added = "Prometheus adds these to every series when it reads the page by the service's ServiceMonitor."
    return (
        METRICS_HEAD
        + "".join(groups)
        + f"\n## Labels\n\n{_labels(OWN_LABELS)}"
        + f"\n## Labels that a scrape adds\n\n{added}\n\n{_labels(SCRAPE_LABELS)}"
        + METRICS_TAIL.replace("@@COSTS@@", _costs())
    )


def metrics_data() -> list[dict[str, object]]:
    """Return all metrics for a program."""
    every = ((group, metric) for group, found in GROUPS.items() for metric in found)
    return [{**asdict(metric), "scrape_labels": list(SCRAPE_LABELS), "group": group} for group, metric in every]


def _metrics_text() -> Iterator[str]:
    for group, found in GROUPS.items():
        yield group
        for metric in found:
            labels = f"{{{', '.join(metric.labels)}}}" if metric.labels else ""
            yield f"  {metric.name}{labels}  [{metric.type}, {metric.unit}]"
            yield f"      {_meaning(metric)}"
        yield ""


def _costs() -> str:
    """Return the table of the series that the bounds make, for some timeouts."""
    head = (
        "`timeout_second`",
        "bounds of times",
        "series of a histogram of times",
        "of a route",
        "of a model",
        "of all stages",
    )
    words = "Bounds decide what a pod costs Prometheus. With the default of `objective_latency_ms` there are:\n\n"
    return words + _table(head, ([f"{number:,}" for number in _cost(timeout)] for timeout in TIMEOUTS))


def _cost(timeout: int) -> tuple[int, ...]:
    """Return the timeout, the number of bounds of times, and the series of a row of the table."""
    objective = latency_objective(Settings(service_name="any", username="any", timeout_second=timeout))

    def series(*labels: str) -> int:
        found = (metric for metric in EXPORTED_METRICS if metric.labels == labels and not metric.only_with)
        return sum(series_of(metric, timeout, objective) for metric in found)

    bounds = len(seconds_bounds(timeout, objective))
    stage = series("stage")
    return timeout, bounds, stage, series("route"), series("model"), stage * len(STAGES)


def _labels(labels: Mapping[str, str]) -> str:
    return _table(("label", "meaning"), ((f"`{name}`", about) for name, about in labels.items()))


def _meaning(metric: ExportedMetric) -> str:
    return metric.about + (f" Only with {metric.only_with}." if metric.only_with else "")
