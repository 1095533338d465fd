"""`monopod metrics` for a terminal, for a program, and as docs/metrics.md."""

import json
import re

import pytest

import monopod
from conf.commands.observe.metrics_command import markdown
from conf.rules.queries import mistakes_of
from serving.settings.exported_metrics import EXPORTED_METRICS
from tests.running import ROOT

Captured = pytest.CaptureFixture[str]
QUERIES = re.findall(r"```promql\n(.*?)```", markdown(), re.DOTALL)


def test_metrics_are_printed_for_people_and_for_programs(capsys: Captured) -> None:
    assert monopod.main(["metrics"]) == 0
    assert "  monopod_batch_rows{model}  [histogram, rows]\n      Rows of a batch.\n" in capsys.readouterr().out
    assert monopod.main(["metrics", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == [metric.name for metric in EXPORTED_METRICS]
    assert found[0]["labels"] == ["route", "code", "reason"]


def test_the_manual_of_the_metrics_is_what_the_list_says(capsys: Captured) -> None:
    assert monopod.main(["metrics", "--markdown"]) == 0
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == capsys.readouterr().out


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_the_manual_shows_asks_for_what_exists(query: str) -> None:
    assert mistakes_of(query) == []


def test_the_manual_shows_queries() -> None:
    assert len(QUERIES) == 5
