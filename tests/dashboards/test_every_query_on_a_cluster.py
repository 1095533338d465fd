"""Every query of every dashboard returns data: of two services under load, with a roll-out, crashes and reloads in it.

A query passes with ten points or more, one of them above 0. Exceptions stand in NO_DATA and MAY_BE_ZERO, with their reasons.
MONOPOD_DASHBOARD_PICTURE names a file to which the picture of docs/dashboards.md is drawn afterwards.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.conf.cluster import Cluster, clusters
from tests.conf.prompt_reload import reloading_promptly
from tests.conf.rollout.images import pushed, remove_local
from tests.dashboards.picture import drawn
from tests.dashboards.real_prometheus import PrometheusServer, Series
from tests.dashboards.seen_by_prometheus import FIRST, SECOND, SERVICE, Seen, seen
from tests.dashboards.written import EVERY, RELEASES, Asked
from tests.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.long]
POINTS = 10
MAX_SECONDS = 900  # seconds from the begin of the load to the last query that passes
NO_DATA = {
    "fleet: Card memory declared (A)": "a card is needed",
    "fleet: Card memory used (A)": "a card is needed",
    "service: Card memory declared (A)": "a card is needed",
    "service: Limit of a model's arenas (A)": "a card is needed",
    "service: Used memory of the whole card (A)": "a card is needed",
}
ELSEWHERE = {"offline": "brokers and offline pods are needed: tests/conf/rollout/test_offline_on_a_cluster.py asks its queries"}
MAY_BE_ZERO = {
    "gateway: Retries given up (A), view 1": "this load leaves Istio's gateway another endpoint each time",
    "gateway: Retries given up (C), view 0": "needs more retries at once than a service has connections",
    "gateway: Retries given up (C), view 1": "needs more retries at once than a service has connections",
    "service: Longest batch that runs (A), view 0": "the model of the digits ends before a scrape sees it run",
}
HERE = [query for query in EVERY if query.dashboard not in ELSEWHERE]
# Where a dashboard is asked more than once: which choices are made.
Choices = Mapping[str, str]


@pytest.fixture(scope="module")
def hk() -> Cluster:
    return clusters(["hk"])["hk"]


@pytest.fixture(scope="module")
def under_load(hk: Cluster, needs: Callable[[str, str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Two services under load, one behind each gateway."""
    needs("buildah", "buildah")
    made = pushed()
    with reloading_promptly(hk), seen(hk, tmp_path_factory.mktemp("seen")) as found:
        yield found
    if made:
        remove_local()


def views(found: Seen) -> dict[str, list[Choices]]:
    """Return the choices with which each dashboard is looked at."""
    first, *_ = found.users.values()
    release = {"left_track": "prod", "left_version": SECOND, "right_track": "grey", "right_version": FIRST}
    service = {"user": first, "service": SERVICE}
    gateways: list[Choices] = [{"destination_namespace": user, "service": SERVICE} for user in found.users.values()]
    return {"fleet": [{}], "service": [service], "release": [{**service, **release}], "gateway": gateways}


def test_every_query_returns_data(hk: Cluster, under_load: Seen) -> None:
    prometheus = PrometheusServer.of(hk, under_load.begin)
    lacking = {(str(query), number): query for query in HERE for number in range(len(views(under_load)[query.dashboard]))}
    lacking = {key: query for key, query in lacking.items() if key[0] not in NO_DATA}
    assert NO_DATA.keys() <= {str(query) for query in HERE}
    assert MAY_BE_ZERO.keys() <= {f"{name}, view {number}" for name, number in lacking}

    def all_pass() -> bool:
        for key, why in trouble(prometheus, under_load, lacking).items():
            if not why:
                del lacking[key]
        return not lacking

    try:
        until(all_pass, MAX_SECONDS, pause=10)
    except AssertionError:
        told = {key: why for key, why in trouble(prometheus, under_load, lacking).items() if why}
        assert not told, "\n".join(f"{name}, view {number}: {why}" for (name, number), why in told.items())
    if picture := os.environ.get("MONOPOD_DASHBOARD_PICTURE"):
        values = prometheus.chosen("service", views(under_load)["service"][0])
        Path(picture).write_text(drawn(prometheus, values), encoding="utf-8")


def trouble(prometheus: PrometheusServer, found: Seen, queries: Mapping[tuple[str, int], Asked]) -> dict[tuple[str, int], str]:
    """Return what each query lacks, "" for nothing, by its key."""
    made: dict[tuple[str, int], dict[str, str]] = {}
    told = {}
    for key, query in queries.items():
        view = query.dashboard, key[1]
        try:
            if view not in made:
                made[view] = prometheus.chosen(query.dashboard, views(found)[query.dashboard][key[1]])
        except AssertionError as error:
            told[key] = str(error)
            continue
        least = 1 if query.panel == RELEASES else POINTS  # a mark is one point
        told[key] = lack(query, prometheus.shown(query, made[view]), least, f"{query}, view {key[1]}" in MAY_BE_ZERO)
    return told


def lack(query: Asked, series: list[Series], least: int, may_be_zero: bool) -> str:
    """Return what the answer of a query lacks, "" for nothing. least: points of one of its series."""
    numbers = [[value for _, value in each["points"] if not math.isnan(value)] for each in series]
    most = max(map(len, numbers), default=0)
    if most < least:
        return f"{len(series)} series, at most {most} points: {query.expr}"
    if not any(value > 0 for each in numbers for value in each) and not may_be_zero:
        return f"nothing above 0: {query.expr}"
    return ""
