"""Every chart, for every region: linted strictly, rendered, and judged by the same schemas and rules as services."""

import copy
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from conf.base.object_references import Item
from conf.base.yaml_nodes import documents
from conf.clusters.regions import Regions, load
from conf.render.chart_values import CHARTS, chart_values
from conf.rules.rendered_objects import memory_is_bounded, pods_are_restricted, violations
from tests.charts import helm
from tests.conf import golden
from tests.running import ROOT

pytestmark = pytest.mark.cluster  # helm comes with the cluster's tools

FILES = {"platform": load(ROOT / "conf/regions.yaml"), "golden": golden.regions()}
EVERY = [(chart, file, region) for chart in CHARTS for file, found in FILES.items() for region in found.regions]
BY_REGION = pytest.mark.parametrize(("chart", "file", "region"), EVERY)
# Kinds that belong to no namespace. No chart makes a ClusterRole: a right holds in its namespace alone.
OF_THE_CLUSTER = {"Namespace"}


def values(chart: str, file: str, region: str) -> Item:
    regions: Regions = FILES[file]
    return chart_values(regions, regions.regions[region], (chart,))[chart]


@cache
def objects(chart: str, file: str, region: str) -> list[Item]:
    return helm.rendered(ROOT / "charts" / chart, values(chart, file, region))


def test_every_chart_has_values_and_every_values_a_chart() -> None:
    assert {chart.name for chart in helm.CHARTS} == set(CHARTS)


@BY_REGION
def test_a_chart_passes_the_strict_lint(chart: str, file: str, region: str) -> None:
    said = helm.done("lint", "--strict", ROOT / "charts" / chart, values=values(chart, file, region))
    assert "0 chart(s) failed" in said


@BY_REGION
def test_its_objects_keep_to_the_schemas(chart: str, file: str, region: str) -> None:
    found = objects(chart, file, region)
    assert found
    assert [words for item in found for words in violations(item)] == []


@BY_REGION
def test_its_pods_are_restricted_as_those_of_services_are(chart: str, file: str, region: str) -> None:
    found = objects(chart, file, region)
    assert [*pods_are_restricted(found), *memory_is_bounded(found)] == []


@BY_REGION
def test_each_object_has_a_namespace_and_is_there_once(chart: str, file: str, region: str) -> None:
    names = [
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in objects(chart, file, region)
    ]
    assert len(set(names)) == len(names)
    assert [each for each in names if bool(each[1]) is (each[0] in OF_THE_CLUSTER)] == []


@BY_REGION
def test_no_right_is_wider_than_it_says(chart: str, file: str, region: str) -> None:
    wide = [rule for rule in _rules(objects(chart, file, region)) if "*" in str(rule) or "secrets" in rule.get("resources", [])]
    assert wide == []


def _rules(items: list[Item]) -> Iterator[Item]:
    return (rule for item in items if item["kind"] == "Role" for rule in item["rules"])


@pytest.mark.parametrize("chart", CHARTS)
def test_a_value_that_the_schema_does_not_know_is_refused_by_name(chart: str) -> None:
    folder, good = ROOT / "charts" / chart, values(chart, "golden", "hk")
    assert "surprise" in helm.refusal(folder, {**good, "surprise": 1})
    for name in good:
        assert helm.refusal(folder, {**good, name: "text" if not isinstance(good[name], str) else 7})


def mappings(found: object, *place: str | int) -> Iterator[tuple[str | int, ...]]:
    """Yield the place of each table in values: its keys and indices from the outside in."""
    if isinstance(found, dict):
        yield place
    every = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for part, inner in every:
        yield from mappings(inner, *place, part)


def all_values(chart: str, routing: str) -> Item:
    """Return the values that a chart has in a region, with its own beside them."""
    regions = golden.regions(routing)
    given = chart_values(regions, regions.regions["hk"], (chart,))[chart]
    (own,) = documents((ROOT / "charts" / chart / "values.yaml").read_text(encoding="utf-8")) or [{}]
    merged = {name: {**value, **given.get(name, {})} if isinstance(value, dict) else value for name, value in own.items()}
    return copy.deepcopy({"global": {}, **given, **merged})


def _first_of_lists(place: tuple[str | int, ...]) -> bool:
    return all(part == 0 for part in place if isinstance(part, int))


LEVELS = [
    (chart, routing, place)
    for routing in ("istio", "gateway-api")
    for chart in CHARTS
    for place in mappings(all_values(chart, routing))
    if _first_of_lists(place) and (routing == "istio" or "buffers" in place)
]


@pytest.mark.parametrize(("chart", "routing", "place"), LEVELS, ids=lambda found: str(found))
def test_a_key_that_nobody_knows_is_refused_on_every_level(chart: str, routing: str, place: tuple[str | int, ...]) -> None:
    """A table of labels takes any key that Kubernetes does, and so this one is none."""
    given = all_values(chart, routing)
    assert helm.rendered(ROOT / "charts" / chart, given)
    table: Any = given
    for part in place:
        table = table[part]
    table["a surprise"] = "text"
    assert "surprise" in helm.refusal(ROOT / "charts" / chart, given)


@pytest.mark.parametrize("chart", CHARTS)
def test_a_cluster_that_is_too_old_is_refused_with_the_version_that_it_needs(chart: str) -> None:
    said = helm.run(
        "template", chart, ROOT / "charts" / chart, "--kube-version", "1.29.9", values=values(chart, "golden", "hk")
    )
    assert said.returncode != 0
    assert "kubeVersion: >=1.30.0-0" in said.stderr


@pytest.mark.parametrize("chart", CHARTS)
def test_a_chart_without_a_regions_values_is_refused(chart: str) -> None:
    assert re.search("missing propert|required", helm.refusal(ROOT / "charts" / chart, {}))
