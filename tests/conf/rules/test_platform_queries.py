"""The queries of all rules, dashboards and autoscalers ask for what exists; a wrong one fails the command of `make check`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conf.clusters import regions_file
from conf.plan import scaling
from conf.rules.check import read
from conf.rules.foreign_metrics import GAUGES_AND_COUNTERS, HISTOGRAMS
from conf.rules.platform_queries import (
    MONITORING,
    REGIONS,
    Query,
    chart_queries,
    dashboard_queries,
    main,
    mistakes,
    rules_queries,
    service_queries,
)
from tests.running import PYTHONPATH, ROOT, make_service

EXAMPLES = [path.parent for path in sorted((ROOT / "examples").glob("*/value.py"))]
SERVICES = [ROOT, *EXAMPLES, ROOT / "tests/services/every-setting"]


def test_no_query_of_the_platform_asks_for_what_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder) for folder in SERVICES]) == 0
    assert "exist" in capsys.readouterr().out


def test_both_questions_of_an_autoscaler_by_the_queue_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    service, _ = read(ROOT / "tests/services/every-setting", regions_file.load(REGIONS))
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
    assert wrong.startswith("here: text of A: there is no metric monopod_redy; did you mean monopod_ready?")


def test_every_metric_of_others_is_asked_for() -> None:
    service, _ = read(ROOT, regions_file.load(REGIONS))
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
    command = [sys.executable, "-m", "conf.rules.platform_queries", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "Late: there is no metric monopod_request_totl; did you mean monopod_requests_total?" in done.stdout
    assert "own_total:" not in done.stdout
    command = [sys.executable, "-m", "monopod", "check", "--service", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "alerts.yaml:1: Late: there is no metric monopod_request_totl; did you mean" in done.stdout + done.stderr


def test_a_rule_may_ask_for_what_another_records() -> None:
    groups = [
        {"rules": [{"record": "a:b:c", "expr": "sum by (service) (monopod_ready)"}]},
        {"rules": [{"alert": "Few", "expr": "sum by (service) (a:b:c) < 1"}, {"alert": "Odd", "expr": "a:b:c{pod='x'}"}]},
    ]
    assert mistakes(list(rules_queries("fleet.yaml", groups))) == ["fleet.yaml: Odd: a:b:c has no label pod: a:b:c{pod='x'}"]


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
    assert found[2].startswith("fleet.json: $user: count by: what it counts has no label user")


def test_an_own_query_is_judged_as_one() -> None:
    assert mistakes([Query("alerts.yaml: Late", "own_total > 1", own=True)]) == []
    assert mistakes([Query("alerts.yaml: Late", "own_total > 1")]) != []
