"""`check` finds in panels.yaml what Prometheus refuses, and queries that would show other services."""

import json
import subprocess
from pathlib import Path

import pytest

from conf.base.yaml_nodes import documents
from conf.plan.own_panels import MAX_PANELS, MAX_SERIES, RECORD, load, read
from conf.plan.plan import plan
from conf.render.templates import render
from conf.rules.check import check
from conf.rules.check import read as read_service
from conf.rules.own_alerts import own_panel_mistakes
from serving.settings.reader import ConfigError
from tests.conf import golden
from tests.dashboards.written import panels, variables
from tests.prerequisites import program
from tests.promtool import holds
from tests.running import ROOT, make_service

GOOD = "sum by (model) (rate(faces_total{$pods}[5m]))"
EVERY_SETTING = ROOT / "tests/services/every-setting"


def text(*panels: dict[str, str]) -> str:
    return json.dumps(
        {"panels": [{"title": f"Panel {at}", "unit": "s", "query": GOOD} | each for at, each in enumerate(panels)]}
    )


def mistakes(*panels: dict[str, str]) -> list[str]:
    return own_panel_mistakes(read(text(*panels)))


@pytest.mark.parametrize(
    "query",
    [
        GOOD,
        'faces_total{$pods,model=~"a|b"} / on (pod) group_left () monopod_cpu_cores{$pods}',
        'sum by (what) (label_replace(faces_total{$pods}, "what", "$1", "panel", "(.*)"))',
        'histogram_quantile(0.99, sum by (le) (rate(monopod_answer_duration_seconds_bucket{$pods,route="service"}[5m])))',
    ],
)
def test_a_query_of_the_tracks_own_pods_is_let_through(query: str) -> None:
    assert mistakes({"query": query}) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("faces_total", "it asks for faces_total of every service; write faces_total{$pods}"),
        ('faces_total{service="demo"}', "it asks for faces_total of every service"),
        ("faces_total{$pods} / faces_seen_total", "it asks for faces_seen_total of every service"),
        ("faces_total{$pod}", "it is not PromQL"),
        ("monopod_request_total{$pods}", "there is no metric monopod_request_total; did you mean monopod_requests_total?"),
        ("faces_total{$pods}[5m]", "its result is a range or a text"),
        ("sum by (panel) (faces_total{$pods})", "its result has the label panel, which the platform sets"),
    ],
)
def test_a_wrong_query_is_told_with_its_line_and_its_panel(query: str, words: str) -> None:
    (found,) = mistakes({"query": query})
    assert found.startswith(f"panels.yaml:1: Panel 0: {words}")


@pytest.mark.parametrize(
    ("panel", "place"),
    [
        ({"unit": "seconds"}, "panels.yaml:1: panels[0].unit is 'seconds'"),
        ({"title": "a,b"}, "panels.yaml:1: panels[0].title is 'a,b'"),
        ({"title": "x" * 61}, "panels.yaml:1: panels[0].title is 'x"),
        ({"querry": "x"}, "panels.yaml:1: no setting 'querry' here; did you mean 'query'?"),
    ],
)
def test_a_panel_of_another_form_is_refused(panel: dict[str, str], place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text(panel))
    assert caught.value.mistakes[0].startswith(place)


def test_two_panels_of_one_title_and_too_many_are_refused() -> None:
    (found,) = mistakes({"title": "Faces"}, {"title": "Faces"})
    assert "an earlier panel has this title" in found
    (found,) = mistakes(*({} for _ in range(MAX_PANELS + 1)))
    assert found == "panels.yaml: there are 13 panels, and a service may have 12"


def test_no_file_and_comments_alone_are_no_panels(tmp_path: Path) -> None:
    assert load(tmp_path) == read("# none yet\n") == ()


def test_check_tells_the_mistakes_of_both_files_at_once(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', models=("tests/models/digits.onnx",))
    (folder / "panels.yaml").write_text("panels:\n  - title: Faces\n    unit: s\n    query: faces_total\n")
    (folder / "alerts.yaml").write_text("groups: 3\n")
    found = check(folder, golden.regions()).mistakes
    assert [each.partition(": ")[0] for each in found if each.startswith(("alerts", "panels"))] == [
        "alerts.yaml:1",
        "panels.yaml:4",
    ]


def records(track: str) -> dict[str, list[dict[str, object]]]:
    """Return the groups that record panels, by the service label of their rules."""
    service, wrong = read_service(EVERY_SETTING, golden.regions())
    assert service
    assert not wrong
    (each, *_) = plan(service.value, golden.regions(), track, service.image, service.own)
    found = [group for item in documents(render(each)) if item["kind"] == "PrometheusRule" for group in item["spec"]["groups"]]
    return {group["name"]: group["rules"] for group in found if group.get("limit") == MAX_SERIES}


@pytest.mark.parametrize("track", ["prod", "grey", "ab"])
def test_each_track_records_the_panels_of_its_own_pods(track: str) -> None:
    for rules in records(track).values():
        assert [rule["labels"]["panel"] for rule in rules] == ["Faces found", "Share of answers with a face"]  # type: ignore[index]
        for rule in rules:
            labels = rule["labels"]
            assert rule["record"] == RECORD
            assert isinstance(labels, dict)
            assert labels["track"] == track
            where = f'namespace="{labels["namespace"]}",service="{labels["service"]}",arm=""'
            assert f"{{{where}" in str(rule["expr"])
    assert records(track)


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    groups = [{"name": name, "limit": MAX_SERIES, "rules": rules} for name, rules in records("prod").items()]
    (tmp_path / "rules.yaml").write_text(json.dumps({"groups": groups}))
    done = subprocess.run([promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_service_dashboard_repeats_a_panel_for_each_title_and_shows_it_in_its_own_unit(tmp_path: Path) -> None:
    (shown,) = [panel for panel in panels("service") if panel.get("repeat")]
    (choice,) = [each for each in variables("service") if each["name"] == shown["repeat"]]
    assert choice["query"]["query"].endswith(", panel)")
    units = {each["matcher"]["options"]: each["properties"][0]["value"] for each in shown["fieldConfig"]["overrides"]}
    assert all(each["matcher"]["id"] == "byFrameRefID" for each in shown["fieldConfig"]["overrides"])
    series = {f'{RECORD}{{namespace="like",service="demo",track="prod",panel="Faces found",unit="cps"}}': "7x10"}
    values = {"$namespace": "like", "$service": "demo", "$track": "prod", "$own_panel": "Faces found"}
    answers = []
    for target in shown["targets"]:
        expr = target["expr"]
        for name, value in values.items():
            expr = expr.replace(name, value)
        assert target["legendFormat"] == "__auto"  # a line's only label, where each has one of the same name
        titled = f'({expr} == 7) and label_replace(vector(1), "panel", "Faces found, prod", "", "")'
        if holds(titled, series, "5m", tmp_path):
            answers.append(units[target["refId"]])
    assert answers == ["cps"]
