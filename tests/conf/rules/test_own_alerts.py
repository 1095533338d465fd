"""`check` finds in alerts.yaml what Prometheus refuses, and metrics and labels that do not exist. promtool is asked too."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conf.plan.alerts import read
from conf.rules.own_alerts import judge_query, own_alert_mistakes
from serving.settings.reader import ConfigError
from tests.conf.platform_queries import known_series, labels_of, mistakes_of
from tests.prerequisites import program

JOINED = "* on (namespace, pod) group_left (version, track) monopod_release_info"
GOOD_QUERIES = (
    'sum by (code) (rate(monopod_requests_total{namespace="like",service="demo",code=~"5.."}[5m]))',
    "histogram_quantile(0.99, sum by (le, route) (rate(monopod_answer_duration_seconds_bucket[5m])))",
    f"sum by (version, track) (rate(monopod_requests_total[5m]) {JOINED})",
    "monopod_memory_limit_bytes * 0.7 < process_resident_memory_bytes",
    "sum without (pod, instance) (monopod_ready) or vector(0)",
    "rate(monopod_batch_rows_sum[5m]) / rate(monopod_batch_rows_count[5m])",
    "max_over_time(sum(monopod_queue_rows)[1h:1m])",
    "increase(kube_pod_container_status_restarts_total{container='demo'}[1h]) > 2",
    'ALERTS{alertstate="firing",severity="critical"}',
    'label_replace(monopod_ready, "who", "$1", "service", "(.*)") and on (who) label_replace(up, "who", "$1", "job", "(.*)")',
    "count by (who) (label_replace(monopod_ready, 'who', '$1', 'service', '(.*)'))",
    "time() - process_start_time_seconds > 60",
    'absent(up{job="demo"})',
    "topk(3, sum by (service) (monopod_queue_rows))",
    '{__name__="monopod_ready"}',
    "count_values('version', monopod_ready)",
    "sum by (stage) (rate(monopod_stage_duration_seconds_sum[5m])) / ignoring (stage) group_left () sum(monopod_ready)",
)
BAD_QUERIES = {
    "monopod_request_total": "there is no metric monopod_request_total; did you mean monopod_requests_total?",
    "sum(up) + monopod_shed": "there is no metric monopod_shed; did you mean monopod_shed_total?",
    "istio_requests_total": "there is no metric istio_requests_total",
    "like:requests:rate5m": "there is no metric like:requests:rate5m",
    "rate(monopod_batch_rows[5m])": "there is no metric monopod_batch_rows; did you mean monopod_batch_rows_sum?",
    'monopod_requests_total{status="500"}': "monopod_requests_total has no label status",
    'monopod_requests_total{reasons="x"}': "monopod_requests_total has no label reasons; did you mean reason?",
    "sum by (version) (monopod_requests_total)": "sum by: what it counts has no label version",
    "sum without (le) (monopod_ready)": "sum without: what it counts has no label le",
    "sum by (code) (sum by (route) (monopod_requests_total))": "sum by: what it counts has no label code",
    "histogram_quantile(0.9, sum by (route) (rate(monopod_answer_duration_seconds_bucket[5m])))": (
        "histogram_quantile: what it reads has no label le; keep it, as in sum by (le)"
    ),
    "monopod_ready * on (model) monopod_queue_rows": "* on: one of its sides has no label model",
    "monopod_ready * ignoring (stage) monopod_cpu_cores": "* ignoring: no side has a label stage",
    "monopod_ready * on (pod) group_left (image) monopod_release_info": "group_left: the side that it joins has no label image",
    "monopod_release_info * on (pod) group_right (node) up": "group_right: the side that it joins has no label node",
    f"sum by (user) (monopod_ready {JOINED})": "sum by: what it counts has no label user",
    'label_replace(monopod_ready, "who", "$1", "model", "(.*)")': "label_replace: what it reads has no label model",
    "sum(rate(monopod_requests_total[5m])": "it is not PromQL: unclosed left parenthesis",
    'monopod_requests_total{code=~"["}': "it is not PromQL: illegal regex for [",
    "rate(monopod_requests_total)": "it is not PromQL: expected type matrix",
    "": "it is not PromQL",
}


@pytest.mark.parametrize("query", GOOD_QUERIES)
def test_a_query_of_what_exists_is_let_through(query: str) -> None:
    assert mistakes_of(query) == []


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_wrong_query_is_told_with_what_is_wrong_in_it(query: str) -> None:
    found = mistakes_of(query)
    assert len(found) == 1
    assert found[0].startswith(BAD_QUERIES[query])


def test_every_mistake_of_a_query_is_told_once() -> None:
    found = mistakes_of("monopod_a + monopod_a + sum by (x) (monopod_ready{y='1'})")
    assert len(found) == 3


def test_a_recorded_series_is_known_with_the_labels_that_its_rule_leaves() -> None:
    rule = "sum by (namespace, service) (rate(monopod_requests_total[5m]))"
    recorded = {"service:monopod_requests:rate5m": labels_of(rule)}
    assert labels_of(rule) == frozenset({"namespace", "service"})
    assert mistakes_of("sum by (service) (service:monopod_requests:rate5m)", recorded) == []
    assert mistakes_of('service:monopod_requests:rate5m{code="200"}', recorded) == [
        "service:monopod_requests:rate5m has no label code"
    ]


def test_a_series_of_any_labels_is_judged_by_its_name_alone() -> None:
    assert mistakes_of('sum by (x) (one:two:three{y="1"})', {"one:two:three": None}) == []


def test_own_alerts_may_ask_for_the_services_own_metrics_but_not_for_wrong_ones_of_the_platform() -> None:
    assert judge_query('sum by (x) (faces_total{y="1"}) > 0')[0] == []
    (wrong,) = judge_query("faces_total > 0 and monopod_redy < 1")[0]
    assert "no metric monopod_redy" in wrong


def test_no_metric_of_istio_is_known() -> None:
    assert not [name for name in known_series() if name.startswith("istio_")]


Rule = dict[str, Any]


def rule(expr: str = "up == 0", **more: Any) -> Rule:
    return {"alert": "Mine", "expr": expr, **more}


def told(text: str) -> Rule:
    return rule(annotations={"summary": text})


GOOD: tuple[Rule, ...] = (
    rule(),
    rule("own_total > 5", **{"for": "5m"}),
    rule("absent(own_total)", labels={"severity": "warning", "pod_name": "{{ $labels.pod }}"}),
    told("{{ $value | humanizePercentage }} of {{ $labels.service }}"),
    told('{{ if gt $value 5.0 }}many{{ else if eq $value 1.0 }}one{{ else }}few{{ end }} {{- printf "%.2f }}" $value -}}'),
    told('{{ range query "up" }}{{ .Labels.instance }} {{ . | value }}{{ end }}'),
    told('{{ with query "up" }}{{ . | first | value | humanize }}{{ end }}'),
    told("{{ $pods := len $labels }}{{ $pods }}"),
    told("{{/* a comment }} */}}{{ $externalURL }} {{ $externalLabels.region }} {{ toUpper `a}}b` }}"),
    told("no template: } }} { {% raw %} \n---\n"),
    told("{{ define `a` }}x{{ end }}{{ template `a` }}"),
)
BAD: tuple[tuple[Rule, str], ...] = (
    (rule("up =="), "it is not PromQL"),
    (rule("sum(up"), "it is not PromQL: unclosed left parenthesis"),
    (rule("rate(up)"), "it is not PromQL: expected type matrix"),
    (rule('up{a=~"("}'), "it is not PromQL"),
    (rule("{}"), "it is not PromQL"),
    (rule("nothing(up)"), "it is not PromQL: unknown function"),
    (rule(labels={"__name__": "x"}), "a rule may not set the label __name__"),
    (told("{{ $value "), "annotation summary: a {{ is not closed by }}"),
    (told('{{ "a }}'), "annotation summary: a {{ is not closed by }}"),
    (told("{{ $pod }}"), "annotation summary: there is no $pod; known are $externalLabels, $externalURL, $labels, $value"),
    (told("{{ $value | percent }}"), "annotation summary: there is no function percent"),
    (told("{{ if $value }}x"), "annotation summary: a block has no {{ end }}"),
    (told("x{{ end }}"), "annotation summary: {{ end }} ends no block"),
    (told("{{ else }}"), "annotation summary: {{ else }} ends no block"),
    (told("{{ }}"), "annotation summary: {{ }} is empty"),
    (rule(labels={"pod_name": "{{ .Labels.pod"}), "label pod_name: a {{ is not closed by }}"),
)
ONLY_OURS: tuple[tuple[Rule, str], ...] = (  # Prometheus takes these, and they fail or are empty each time
    (rule("up[5m]"), "its result is a range or a text"),
    (rule("('a')"), "its result is a range or a text"),
    (rule("monopod_request_totl > 0"), "there is no metric monopod_request_totl"),
)


def text(one: Rule) -> str:
    return json.dumps({"groups": [{"name": "own", "rules": [one]}]})


def promtool_takes(one: Rule, folder: Path) -> bool:
    path = folder / "alerts.yaml"
    path.write_text(text(one), encoding="utf-8")
    command = [program("promtool", "prometheus"), "check", "rules", str(path)]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize("one", GOOD)
def test_what_prometheus_takes_is_let_through(one: Rule, tmp_path: Path) -> None:
    assert own_alert_mistakes(read(text(one))) == []
    assert promtool_takes(one, tmp_path)


@pytest.mark.parametrize(("one", "words"), [*BAD, *ONLY_OURS])
def test_what_prometheus_refuses_or_what_never_alerts_is_told_with_its_line(one: Rule, words: str, tmp_path: Path) -> None:
    (found,) = own_alert_mistakes(read(text(one)))
    assert found.startswith(f"alerts.yaml:1: Mine: {words}")
    assert promtool_takes(one, tmp_path) is ((one, words) in ONLY_OURS)


def test_the_line_is_that_of_the_expression() -> None:
    lines = [
        "groups:",
        "  - name: a",
        "    rules:",
        "      - alert: One",
        "        expr: up",
        "      - alert: Two",
        "        expr: up ==",
    ]
    (found,) = own_alert_mistakes(read("\n".join(lines)))
    assert found.startswith("alerts.yaml:7: Two: it is not PromQL")


@pytest.mark.parametrize("field", [{"for": "soon"}, {"for": "-5m"}, {"labels": {"a-b": "c"}}, {"alert": ""}, {"record": "x"}])
def test_what_reading_the_file_refuses_needs_no_further_check(field: Rule) -> None:
    with pytest.raises(ConfigError):
        read(text({**rule(), **field}))
