"""`monopod settings` and `monopod metrics` for a terminal, for a program, and as pages of docs/."""

import json
import re

import pytest

import monopod
from conf.commands.reference_command import metrics_page
from serving.settings.exported_metrics import EXPORTED_METRICS
from tests.conf.platform_queries import mistakes_of
from tests.running import ROOT

Captured = pytest.CaptureFixture[str]


def test_settings_are_printed_for_people_and_for_programs(capsys: Captured) -> None:
    assert monopod.main(["settings"]) == 0
    assert "  cpu  [1]\n      a number from 0.1 to 256 (cores)\n" in capsys.readouterr().out
    assert monopod.main(["settings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "service_name"


@pytest.mark.parametrize("command", ["settings", "metrics"])
def test_the_manual_is_what_the_command_prints(command: str, capsys: Captured) -> None:
    assert monopod.main([command, "--markdown"]) == 0
    assert (ROOT / "docs" / f"{command}.md").read_text(encoding="utf-8") == capsys.readouterr().out


QUERIES = re.findall(r"```promql\n(.*?)```", metrics_page(), re.DOTALL)


def test_metrics_are_printed_for_people_and_for_programs(capsys: Captured) -> None:
    assert monopod.main(["metrics"]) == 0
    assert "  monopod_batch_rows{model}  [histogram, rows]\n      Rows of a batch.\n" in capsys.readouterr().out
    assert monopod.main(["metrics", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == [metric.name for metric in EXPORTED_METRICS]
    assert found[0]["labels"] == ["route", "code", "reason"]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_the_manual_shows_asks_for_what_exists(query: str) -> None:
    assert mistakes_of(query) == []


def test_the_manual_shows_queries() -> None:
    assert len(QUERIES) == 5
