"""`monopod values` for a terminal, for helm and for a program."""

import json

import pytest

import monopod
from conf.base.yaml_nodes import documents
from conf.render.chart_values import CHARTS, chart_values
from tests.conf import golden
from tests.running import ROOT

Captured = pytest.CaptureFixture[str]
GOLDEN = ["--regions", str(ROOT / "tests/golden/regions.yaml")]


@pytest.mark.parametrize("chart", CHARTS)
def test_the_values_of_one_chart_are_printed_as_helm_reads_them(capsys: Captured, chart: str) -> None:
    regions = golden.regions()
    expected = json.loads(json.dumps(chart_values(regions, regions.regions["eu"], (chart,))[chart]))
    assert monopod.main(["values", "--region", "eu", "--chart", chart, *GOLDEN]) == 0
    assert documents(capsys.readouterr().out) == [expected]
    assert monopod.main(["values", "--region", "eu", "--chart", chart, "--json", *GOLDEN]) == 0
    assert json.loads(capsys.readouterr().out) == expected


def test_without_a_chart_each_stands_under_its_name(capsys: Captured) -> None:
    assert monopod.main(["values", "--region", "hk", *GOLDEN]) == 0
    assert set(documents(capsys.readouterr().out)[0]) == set(CHARTS)


def test_the_command_offers_every_chart() -> None:
    assert set(CHARTS) <= set(monopod.CHARTS)
