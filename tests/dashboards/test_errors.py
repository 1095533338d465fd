"""The share of errors is one number: on dashboards, in the rules of objectives and in the records of the fleet."""

from pathlib import Path

import pytest

from conf.base.yaml_nodes import documents
from conf.plan.burn_rates import FAILED, REQUESTS
from dashboards.promql import WHAT_COUNTS
from tests.dashboards.written import EVERY, Asked, filled, panels
from tests.promtool import holds
from tests.running import ROOT

POD = 'namespace="like",service="demo",pod="a",job="demo",instance="a:8081",route="service"'
HISTORIES = {
    "monopod_release_info{" + POD.replace(',route="service"', "") + ',track="prod",version="1"}': "1x60",
    **{
        f'monopod_requests_total{{{POD},code="{code}",reason="{reason}"}}': f"0+{rate}x60"
        for code, reason, rate in [
            (200, "", 90),
            (500, "service_failed", 10),
            (429, "queue_full", 200),
            (400, "bad_input", 300),
            (504, "short_deadline", 400),
        ]
    },
}
COUNTED_SHARE, FAILURES_A_SECOND = 0.1, 10 / 60
CHOICES = dict.fromkeys(
    ("namespace", "service", "pod", "job", "instance", "left_track", "left_version", "right_track", "right_version"), ".*"
)
CHOICES |= {f"{side}_{name}": value for side in ("left", "right") for name, value in (("track", "prod"), ("version", "1"))}
CHOICES |= {"__rate_interval": "5m"}
SHARES = [query for query in EVERY if 'code=~"5.."' in query.expr]


def is_about(expr: str, value: float, folder: Path) -> bool:
    return holds(f"abs(({expr}) / {value} - 1) < 0.001", HISTORIES, "30m", folder)


@pytest.mark.parametrize("query", SHARES, ids=str)
def test_a_panel_shows_the_failures_among_the_answers_that_count(query: Asked, tmp_path: Path) -> None:
    assert is_about(filled(query.expr, CHOICES), COUNTED_SHARE, tmp_path)
    (panel,) = [each for each in panels(query.dashboard) if each["title"] == query.panel]
    assert panel["description"].startswith(WHAT_COUNTS)


def test_the_panels_of_each_dashboard_of_services_are_among_them() -> None:
    assert {query.dashboard for query in SHARES} == {"fleet", "service", "release"}


def test_the_rules_of_an_objective_have_the_same_share(tmp_path: Path) -> None:
    objects = documents((ROOT / "tests/golden/demo/hk-prod-istio.yaml").read_text(encoding="utf-8"))
    groups = [group for each in objects if each["kind"] == "PrometheusRule" for group in each["spec"]["groups"]]
    recorded = {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if "record" in rule}
    assert is_about(f"({recorded[FAILED]}) / ({recorded[REQUESTS]})", COUNTED_SHARE, tmp_path)


def test_the_fleets_records_count_the_same_failures(tmp_path: Path) -> None:
    (file,) = documents((ROOT / "charts/monitoring/rules/fleet-records.yaml").read_text(encoding="utf-8"))
    (rule,) = [each for each in file["groups"][0]["rules"] if each["record"] == "namespace_service:monopod_errors:rate5m"]
    assert is_about(rule["expr"], FAILURES_A_SECOND, tmp_path)
