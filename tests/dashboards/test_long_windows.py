"""A dashboard shows a week as it shows an hour: its queries return data from a real Prometheus whose blocks promtool filled.

The blocks hold every series that a dashboard asks for, under invented labels, a sample each five minutes for eight days. Two
days before their end a release comes, and the records of one service begin.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from itertools import product

import pytest

from conf.base.yaml_nodes import documents
from conf.plan.own_panels import RECORD, UNITS
from dashboards.fleet import RECORDED
from dashboards.variables import INFO
from tests.conf.platform_queries import known_series
from tests.dashboards.real_prometheus import PrometheusServer, over_blocks
from tests.dashboards.written import EVERY, NAMES, RELEASES, asked
from tests.running import ROOT

DAY = 86_400
SAMPLED = 300  # seconds between two samples; Prometheus uses none that is older
LATE = 2 * DAY + 1800  # seconds before the end, between two points
STEP = 3600  # seconds between two points, for a week on a screen
RATE = 2.0  # of every recorded rate
PODS = (
    {"namespace": "like", "track": "prod", "version": "2", "pod": "demo-a", "instance": "10.0.0.1:8081"},
    {"namespace": "grey", "track": "grey", "version": "3", "pod": "demo-b", "instance": "10.0.0.2:8081"},
)
RELEASED = {"namespace": "like", "track": "prod", "version": "4", "pod": "demo-c", "instance": "10.0.0.3:8081"}
OFFLINE = {"service": "demo-offline", "container": "demo-offline", "deployment": "demo-offline", "job": "like/demo-offline"}
OFFLINE_PODS = (
    {**OFFLINE, **PODS[0], "pod": "demo-offline-a", "instance": "10.0.0.4:8081"},
    {**OFFLINE, **RELEASED, "pod": "demo-offline-b", "instance": "10.0.0.5:8081"},
)
LATE_PODS = (RELEASED, OFFLINE_PODS[1])
SERVICE = {
    "service": "demo",
    "container": "demo",
    "deployment": "demo",
    "destination_service": "demo",
    "job": "demo",
    "user": "like",
    "arm": "",
    "arm_of": "",
}
# A label that takes more than one value in the blocks; every other label is a word.
VALUES = {
    "le": ("0.1", "1", "10", "+Inf"),
    "code": ("200", "500"),
    "envoy_response_code_class": ("2", "4", "5"),
    "reason": ("", "other"),
    "unit": UNITS,
}
CHOICES = {"left_track": "prod", "left_version": "2", "right_track": "grey", "right_version": "3"}


def labels_of(name: str) -> frozenset[str]:
    """Return the labels of a series that a dashboard asks for. A record has labels too."""
    if name == RECORD:
        return frozenset({"namespace", "service", "track", "panel", "unit"})
    return known_series().get(name) or frozenset({"namespace", "service"})


def pods_with(name: str) -> tuple[Mapping[str, str], ...]:
    """Return the pods that have a series."""
    if name.startswith("monopod_offline_"):
        return OFFLINE_PODS
    return (*PODS, RELEASED, *OFFLINE_PODS) if name == INFO else PODS


def written(begin: int, end: int) -> Iterator[str]:
    """Yield the lines of the blocks, as OpenMetrics. begin, end: seconds since 1970."""
    names = {name for query in EVERY for name in re.findall(r"([a-z]\w*(?::\w+)*)\{", query.expr)}
    for name in sorted(names):
        labels = labels_of(name) or frozenset()
        open_ones = [label for label in VALUES if label in labels]
        for pod, values in product(pods_with(name), product(*(VALUES[label] for label in open_ones))):
            known = {**SERVICE, **pod, "destination_namespace": pod["namespace"], **dict(zip(open_ones, values, strict=True))}
            series = ",".join(f'{label}="{known.get(label, "x")}"' for label in sorted(labels))
            growth = RATE * (1 + len(VALUES["le"][: VALUES["le"].index(known["le"])]) if "le" in labels else 1)
            is_counter = name.endswith(("_total", "_bucket", "_sum", "_count")) or name.startswith("envoy_")
            is_late = pod in LATE_PODS or (":" in name and pod is PODS[1])
            for at in range(end - LATE if is_late else begin, end, RECORDED if ":" in name else SAMPLED):
                yield f"{name}{{{series}}} {growth * (at - begin) if is_counter else RATE} {at}"
    yield "# EOF"


@pytest.fixture(scope="module")
def a_week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus on this machine, over eight days of blocks."""
    folder = tmp_path_factory.mktemp("blocks")
    end = int(time.time()) // STEP * STEP - STEP
    with over_blocks(folder, written(end - 8 * DAY, end + SAMPLED), end - 7 * DAY, end, STEP) as shown:
        yield shown


@pytest.mark.parametrize("name", NAMES)
def test_every_query_returns_data_for_a_whole_week(name: str, a_week: PrometheusServer) -> None:
    values = a_week.chosen(name, CHOICES)
    lacking = []
    for query in asked(name):
        numbers = [value for each in a_week.shown(query, values) for _, value in each["points"] if not math.isnan(value)]
        if len(numbers) < (1 if query.panel == RELEASES else 7 * DAY // STEP):
            lacking.append(f"{query}: {len(numbers)} points: {query.expr}")
    assert lacking == []


def test_the_requests_of_a_week_are_counted_from_the_records(a_week: PrometheusServer) -> None:
    (query,) = [each for each in EVERY if each.panel == "Requests in the time shown"]
    (series,) = a_week.shown(query, a_week.chosen("fleet", {}))
    assert series["points"][-1][1] == pytest.approx(RATE * (7 * DAY + LATE), rel=0.01)


def test_a_record_is_written_as_often_as_that_sum_takes_it_to_be() -> None:
    (file,) = documents((ROOT / "charts/monitoring/rules/fleet-records.yaml").read_text(encoding="utf-8"))
    assert [group["interval"] for group in file["groups"]] == [f"{RECORDED}s"]


@pytest.mark.parametrize("name", ["release", "service"])
def test_a_release_has_one_mark_whatever_the_time_between_two_points(name: str, a_week: PrometheusServer) -> None:
    (query,) = [each for each in EVERY if each.dashboard == name and each.panel == RELEASES]
    (mark,) = a_week.shown(query, a_week.chosen(name, CHOICES))
    assert mark["labels"] == {"version": "4", "track": "prod"}
    assert [at for at, _ in mark["points"]] == [a_week.end - 2 * DAY]
