"""The queries of all rules, dashboards and autoscalers ask for metrics and labels that exist. `make check` runs this file.

A service's own alerts are judged as `monopod check` judges them. Every query may ask for what a recording rule makes.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conf.base.yaml_nodes import documents
from conf.clusters.regions import load as load_regions
from conf.plan import scaling
from conf.plan.own_panels import RECORD
from conf.plan.plan import TRACKS, plan
from conf.render.arms import canary_watch
from conf.render.templates import render
from conf.rules.check import Service, read
from conf.rules.own_alerts import Labels, judge_query
from tests.conf.platform_queries import GAUGES_AND_COUNTERS, HISTOGRAMS, labels_of, mistakes_of
from tests.running import PYTHONPATH, ROOT, make_service

REGIONS = ROOT / "conf" / "regions.yaml"
MONITORING = ROOT / "charts" / "monitoring"
ASKED = re.compile("query `([^`]*)`")  # in the text of an alert
CHOICE = re.compile(r"label_values\((?P<series>.*), *(?P<label>\w+)\)")  # a dashboard's variable


INTERVAL = re.compile(r"\$\{?__(?:rate_)?(?:interval|range)\}?")
NUMBER = re.compile(r"\$\{?__(?:interval|range)_m?s\}?")
VARIABLE = re.compile(r"\$\{[^{}]*\}|\$\w+")


class Query(NamedTuple):
    """A query and its place.

    record: the name of what a recording rule makes of it, "" for none. own: of alerts.yaml. added: labels that its rule adds.
    """

    place: str
    text: str
    record: str = ""
    own: bool = False
    added: frozenset[str] = frozenset()


def mistakes(queries: Sequence[Query]) -> list[str]:
    """Return what is wrong with queries, each with its place. All may ask for what one of them records."""
    recorded = _recorded(queries)
    return [
        f"{query.place}: {words}: {query.text}"
        for query in queries
        for words in (judge_query(query.text)[0] if query.own else mistakes_of(query.text, recorded))
    ]


def rules_queries(place: str, groups: Iterable[Mapping[str, Any]], own: Sequence[str] = ()) -> Iterator[Query]:
    """Yield the queries of groups of rules and of their texts, as Prometheus reads them. own: alerts of alerts.yaml."""
    for group in groups:
        for rule in group["rules"]:
            name = rule.get("alert") or rule["record"]
            yield Query(
                f"{place}: {name}", rule["expr"], rule.get("record", ""), name in own, frozenset(rule.get("labels", ()))
            )
            asked = ASKED.findall(" ".join(rule.get("annotations", {}).values()))
            yield from (Query(f"{place}: text of {name}", each, own=name in own) for each in asked)


def without_variables(query: str) -> str:
    """Return a query of a dashboard with something in place of each variable, so that it can be read."""
    return VARIABLE.sub("x", INTERVAL.sub("5m", NUMBER.sub("300", query)))


def dashboard_queries(place: str, dashboard: Mapping[str, Any]) -> Iterator[Query]:
    """Yield the queries of a dashboard, of its panels, annotations and variables."""
    for title, text in _expressions(dashboard, ""):
        yield Query(f"{place}: {title}", without_variables(text))
    for variable in dashboard.get("templating", {}).get("list", ()):
        query = variable.get("query")
        text = query.get("query", "") if isinstance(query, dict) else str(query)
        found = CHOICE.fullmatch(text)
        if found:
            yield Query(f"{place}: ${variable['name']}", f"count by ({found['label']}) ({without_variables(found['series'])})")


def service_queries(place: str, service: Service) -> Iterator[Query]:
    """Yield the queries of a service's rules and of its autoscaler, in every region and track."""
    regions = load_regions(REGIONS)
    own = [*(alert.alert for alert in service.own.alerts), RECORD]
    every = (plan(service.value, regions, track, service.image, service.own) for track in TRACKS)
    for each in chain.from_iterable(every):
        where = f"{place} ({each.region}, {each.track})"
        for trigger in (trigger for pods in each.workloads for trigger in pods.scaling.triggers if trigger.query):
            yield Query(f"{where}: autoscaler's {trigger.name}", trigger.query)
        for document in documents(render(each)):
            if document["kind"] == "PrometheusRule":
                yield from rules_queries(where, document["spec"]["groups"], own)
                watch = canary_watch([document], document["metadata"]["name"], 0, "")
                yield from rules_queries(where, watch["spec"]["groups"])


def chart_queries(chart: Path) -> Iterator[Query]:
    """Yield the queries of a chart's rules and dashboards. chart: its folder."""
    for file in sorted((chart / "rules").glob("*.yaml")):
        for document in documents(file.read_text(encoding="utf-8")):
            yield from rules_queries(file.name, document["groups"])
    for file in sorted((chart / "dashboards").glob("*.json")):
        yield from dashboard_queries(file.name, json.loads(file.read_text(encoding="utf-8")))


def _recorded(queries: Iterable[Query]) -> dict[str, Labels]:
    found: dict[str, Labels] = {}
    for query in queries:
        if query.record:
            labels = labels_of(query.text, found)
            found[query.record] = labels if labels is None else labels | query.added
    return found


def _expressions(part: Any, title: str) -> Iterator[tuple[str, str]]:
    """Yield each text named expr below a part of a dashboard, with the title of the panel that it stands in."""
    if isinstance(part, list):
        for each in part:
            yield from _expressions(each, title)
    if isinstance(part, dict):
        title = part.get("title") or part.get("name") or title
        for key, value in part.items():
            if key == "expr" and isinstance(value, str):
                yield title, value
            else:
                yield from _expressions(value, title)


EXAMPLES = [path.parent for path in sorted((ROOT / "examples").glob("*/value.py"))]
SERVICES = [ROOT, *EXAMPLES, ROOT / "tests/services/every-setting"]


def test_no_query_of_the_platform_asks_for_what_does_not_exist() -> None:
    queries = list(chart_queries(MONITORING))
    for folder in SERVICES:
        service, wrong = read(folder, load_regions(REGIONS))
        assert service
        assert wrong == []
        queries += service_queries(str(folder), service)
    assert mistakes(queries) == []


def test_both_questions_of_an_autoscaler_by_the_queue_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = read(ROOT / "tests/services/every-setting", load_regions(REGIONS))
    assert service
    queries = [each for each in service_queries("one", service) if "autoscaler" in each.place]
    assert {each.place.rpartition(": ")[2] for each in queries} == {"autoscaler's queue", "autoscaler's busy"}
    assert mistakes(queries) == []
    monkeypatch.setattr(scaling, "FRESH", "1 minute")
    wrong = mistakes([each for each in service_queries("one", service) if "autoscaler" in each.place])
    assert len(wrong) == len(queries)


def test_the_charts_have_queries_of_each_kind() -> None:
    found = list(chart_queries(MONITORING))
    assert any(query.record for query in found)
    assert any("json" in query.place for query in found)


def test_a_query_in_the_text_of_an_alert_is_judged() -> None:
    rule = {"alert": "A", "expr": "up == 0", "annotations": {"summary": "{{ query `monopod_redy` | first | value }} are"}}
    (wrong,) = mistakes(list(rules_queries("here", [{"rules": [rule]}])))
    assert wrong.startswith("here: text of A: there is no metric")


def test_every_metric_of_others_is_asked_for() -> None:
    service, _ = read(ROOT, load_regions(REGIONS))
    assert service
    queries = [*chart_queries(MONITORING), *service_queries(".", service)]
    asked = {name for query in queries for name in re.findall(r"\w+", query.text)}
    names = {name: [f"{name}_bucket"] for name in HISTOGRAMS} | {name: [name] for name in GAUGES_AND_COUNTERS}
    assert [name for name, series in names.items() if not asked.intersection(series)] == []


def test_a_wrong_alert_of_a_service_fails_with_its_file_its_name_and_the_nearest_metric(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    (folder / "alerts.yaml").write_text(
        "groups: [{name: a, rules: [{alert: Late, expr: sum(monopod_request_totl) > own_total}]}]", encoding="utf-8"
    )
    command = [sys.executable, "-m", "monopod", "check", "--service", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "alerts.yaml:1: Late: there is no metric" in done.stdout + done.stderr
    assert "own_total:" not in done.stdout + done.stderr


def test_a_rule_may_ask_for_what_another_records() -> None:
    groups = [
        {"rules": [{"record": "a:b:c", "expr": "sum by (service) (monopod_ready)"}]},
        {"rules": [{"alert": "Few", "expr": "sum by (service) (a:b:c) < 1"}, {"alert": "Odd", "expr": "a:b:c{pod='x'}"}]},
    ]
    (wrong,) = mistakes(list(rules_queries("fleet.yaml", groups)))
    assert wrong.startswith("fleet.yaml: Odd: a:b:c has no label pod")


def test_what_is_recorded_has_the_labels_that_its_rule_adds() -> None:
    recording = {"record": "a:b:c", "expr": "sum(monopod_ready)", "labels": {"track": "prod"}}
    groups = [{"rules": [recording, {"alert": "Few", "expr": "a:b:c{track='prod'} < 1"}]}]
    assert mistakes(list(rules_queries("fleet.yaml", groups))) == []


def test_a_dashboards_panels_annotations_and_variables_are_all_read() -> None:
    dashboard = {
        "title": "Fleet",
        "panels": [{"title": "Rate", "targets": [{"expr": "rate(monopod_a[$__rate_interval])"}]}],
        "annotations": {"list": [{"name": "Releases", "expr": "monopod_b"}]},
        "templating": {"list": [{"name": "user", "query": {"query": 'label_values(monopod_ready{pod="$pod"}, user)'}}]},
    }
    found = mistakes(list(dashboard_queries("fleet.json", json.loads(json.dumps(dashboard)))))
    assert [line.split(": there")[0] for line in found[:2]] == ["fleet.json: Rate", "fleet.json: Releases"]
    assert found[2].startswith("fleet.json: $user: count by: ")


def test_an_own_query_is_judged_as_one() -> None:
    assert mistakes([Query("alerts.yaml: Late", "own_total > 1", own=True)]) == []
    assert mistakes([Query("alerts.yaml: Late", "own_total > 1")]) != []


@pytest.mark.parametrize(
    ("query", "filled"),
    [
        ('rate(up{job=~"$job"}[$__rate_interval])', 'rate(up{job=~"x"}[5m])'),
        ("avg_over_time(up[$__range]) * $__range_s", "avg_over_time(up[5m]) * 300"),
        ('up{job=~"${job:regex}",pod="${pod}"}', 'up{job=~"x",pod="x"}'),
        ("up[${__interval}] / $__interval_ms", "up[5m] / 300"),
    ],
)
def test_a_dashboards_variables_are_filled_in(query: str, filled: str) -> None:
    assert without_variables(query) == filled
