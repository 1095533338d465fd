"""Every metric that a page or a chart names is one that pods export, or one that a rule records."""

import re
from pathlib import Path

import pytest

from conf.base.yaml_nodes import documents
from conf.plan import burn_rates, own_panels
from serving.settings.exported_metrics import EXPORTED_METRICS
from tests.running import ROOT

ENDINGS = {"histogram": ("", "_bucket", "_sum", "_count"), "counter": ("",), "gauge": ("",)}
EXPORTED = {f"{metric.name}{ending}" for metric in EXPORTED_METRICS for ending in ENDINGS[metric.type]}
RECORDS = {burn_rates.REQUESTS, burn_rates.FAILED, burn_rates.ANSWERS, burn_rates.LATE, own_panels.RECORD}
WORD = re.compile(r"(?<![\w:])[a-z_:]*\bmonopod_[a-z0-9_:]*[a-z0-9_]")
PREFIX = "monopod_"  # pages speak of it as such
SUFFIXES = {".md", ".yaml", ".json", ".tpl", ".txt"}
FILES = sorted(
    path
    for top in ("README.md", "docs", "charts")
    for path in [ROOT / top, *(ROOT / top).rglob("*")]
    if path.suffix in SUFFIXES and path.name != "changelog.md"  # it names metrics that are gone
)


def fleet_records() -> set[str]:
    (file,) = documents((ROOT / "charts/monitoring/rules/fleet-records.yaml").read_text(encoding="utf-8"))
    return {rule["record"] for group in file["groups"] for rule in group["rules"]}


def named(path: Path) -> set[str]:
    """Return the metrics that a file names. In JSON a line feed inside a text is no letter of a name."""
    return set(WORD.findall(path.read_text(encoding="utf-8").replace("\\n", " "))) - {PREFIX}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_metric_that_a_file_names_is_exported_or_recorded(path: Path) -> None:
    assert sorted(named(path) - EXPORTED - RECORDS - fleet_records()) == []


def test_the_files_with_metrics_are_among_those_that_are_read() -> None:
    names = {path.relative_to(ROOT).as_posix(): named(path) for path in FILES}
    assert "monopod_answer_duration_seconds_bucket" in names["docs/metrics.md"]
    assert "namespace_service:monopod_errors:rate5m" in names["docs/dashboards.md"]
    assert all(
        names[file]
        for file in ("docs/runbook.md", "charts/monitoring/rules/fleet-alerts.yaml", "charts/monitoring/dashboards/fleet.json")
    )
    assert len({name for found in names.values() for name in found}) > 40


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`monopod_requests_totals` and", {"monopod_requests_totals"}),
        ("sum(rate(monopod_shed{a=1}[5m]))", {"monopod_shed"}),
        ("service:monopod_failed:rate5m > 1", {"service:monopod_failed:rate5m"}),
        ("begin with `monopod_` or", set()),
    ],
)
def test_a_name_is_found_wherever_it_stands(tmp_path: Path, text: str, found: set[str]) -> None:
    file = tmp_path / "page.md"
    file.write_text(text)
    assert named(file) == found
    assert not found & EXPORTED
