"""Two served versions, which a real Prometheus scrapes, get a verdict by their own counters."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.clusters.regions import Region, load
from conf.observe.prometheus import NoFigures
from conf.rollout.canary.counters import REQUESTS, SCRAPE_SECONDS, SCRAPED_WITHIN, Counters
from conf.rollout.canary.counting import READ
from conf.rollout.canary.judge import Finding, Judge
from conf.rollout.canary.state import Canary
from serving.settings import Settings
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus
from tests.running import ROOT, Running, make_service, post_json, running
from tests.waiting import until

WORSE = (ROOT / "tests/services/worse/src/server.py").read_text()
DIGIT = {"data": [[[[0.5] * 8] * 8]]}
SETTINGS = Settings(
    service_name="small",
    username="like",
    canary_margin=0.2,
    canary_tolerance=3.0,
    canary_latency_margins=(1.0, 1.0, 1.0),
)
SOON, LATER = 40.0, 50.0  # seconds after the step began: scrapes are 15 s apart at most, and the tolerance is 3
ARMS = ("small", "small-canary", "small-baseline")
_sent = Counter[int]()  # requests so far, by the port of the pod


def served(folder: Path, failing: float) -> Path:
    settings = 'model_path = "model/digits.onnx"'
    text = WORSE.replace("FAILING = 0.0", f"FAILING = {failing}")
    return make_service(folder / "small", settings, text, ("tests/models/digits.onnx",))


@pytest.fixture(scope="module")
def pods(digits: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    """A pod of each arm: the canary's fails four of ten requests."""
    with (
        running(served(tmp_path_factory.mktemp("canary"), 0.4)) as bad,
        running(served(tmp_path_factory.mktemp("baseline"), 0.0)) as good,
    ):
        yield dict(zip(ARMS, (digits, bad, good), strict=True))


@pytest.fixture(scope="module")
def region(pods: dict[str, Running], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    """A region whose Prometheus scrapes all of them."""
    labels = {name: {"namespace": "like", "service": name, "pod": f"{name}-1"} for name in ARMS}
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, [(pods[name].admin_port, labels[name]) for name in ARMS]) as url:
        yield load(write_regions(folder, {"hk": url})).regions["hk"]


def send(pod: Running, requests: int) -> None:
    for _ in range(requests):
        assert post_json(f"{pod.url}/api/small", DIGIT)[0] in (200, 500)
    _sent[pod.port] += requests


def all_are_scraped(judge: Judge, pods: dict[str, Running]) -> bool:
    """Return whether Prometheus knows of all requests that were sent to both arms. Later ones alone count from then on."""
    begin = judge.begin(Canary((25,), 1))
    return {name: begin.get(f"{name}-1", {}).get("counted") for name in ARMS[1:]} == {
        name: float(_sent[pods[name].port]) for name in ARMS[1:]
    }


def is_scraped(judge: Judge) -> bool:
    """Return whether Prometheus has answers of the old pods. Until then it is asked as if pods were new."""
    return "small-1" in judge.begin(Canary((25,), 1, baseline=False)) and judge.edges()[0] != ()


def test_a_step_is_judged_by_what_its_arms_answered_since_it_began(pods: dict[str, Running], region: Region) -> None:
    judge = Judge(region, "like", "small", SETTINGS)
    send(pods["small"], 50)
    until(lambda: is_scraped(judge), pause=0.2)
    edges, source = judge.edges()
    assert source.startswith("Prometheus (http://127.0.0.1:")
    canary = Canary((25,), 1, edges=edges)
    outlook = judge.outlook(canary)
    assert outlook.rate >= 0
    assert (len(outlook.found), len(outlook.good)) == (1, 1)
    send(pods["small-canary"], 40)
    until(lambda: all_are_scraped(judge, pods), pause=0.2)
    begun = Canary((25,), 1, edges=edges, begin=judge.begin(canary))
    assert judge.look(begun, {}, SOON).state == "unknown"
    for _ in range(20):
        for name in ARMS[1:]:
            send(pods[name], 10)
    found: list[Finding] = []

    def is_worse() -> bool:
        found.append(judge.look(begun, {}, SOON))
        assert found[-1].trouble == ""
        return found[-1].state == "worse"

    until(is_worse, pause=0.5)
    assert found[-1].words[0].startswith("errors: worse: ")
    assert "(0 %) in the baseline" in found[-1].words[0]
    assert judge.look(begun, {"small-canary": 1}, SOON).trouble == "restarts: 1 of the canary's containers, 0 of the baseline's"


def test_requests_that_route_around_the_shares_are_an_error_and_no_verdict(pods: dict[str, Running], region: Region) -> None:
    judge = Judge(region, "like", "small", SETTINGS)
    canary = Canary((25,), 1)
    until(lambda: all_are_scraped(judge, pods), pause=0.2)
    begun = Canary((25,), 1, begin=judge.begin(canary))
    send(pods["small-baseline"], 150)
    until(lambda: "routing does not give the shares" in judge.look(begun, {}, LATER).trouble, pause=0.5)
    assert judge.look(begun, {}, SOON).trouble == ""  # the other arm may just not have been scraped yet


def test_the_present_rate_is_that_of_the_last_minute(tmp_path: Path) -> None:
    counts = [0.0] * 37 + [25.0 * 15 * number for number in range(1, 5)]  # each 15 s: nine quiet minutes, then 25 a second
    series = f'{REQUESTS}{{namespace="like",service="small",pod="small-1",route="service",code="200",reason=""}}'
    fill(tmp_path, {series: ("counter", counts)}, SCRAPE_SECONDS)
    with prometheus(tmp_path) as url:
        counters = Counters(load(write_regions(tmp_path, {"hk": url})).regions["hk"], "like", READ)
        assert counters.rate("small") == pytest.approx(25, rel=0.3)


def test_where_prometheus_lacks_an_arm_for_long_the_pages_are_read(region: Region) -> None:
    now = [0.0]
    counters = Counters(region, "like", READ, lambda: now[0])
    assert counters.standing(["small", "unscraped"]).pods["unscraped"] == {}
    now[0] = SCRAPED_WITHIN
    assert counters.standing(["small", "unscraped"]).source.startswith("Prometheus")
    now[0] += 1
    with pytest.raises(NoFigures, match="context 'no-context-of-hk' cannot be used"):  # where the pages would be read
        counters.standing(["small", "unscraped"])


def test_where_prometheus_is_away_the_pages_are_read_at_once(tmp_path: Path) -> None:
    away = load(write_regions(tmp_path, {"hk": "http://127.0.0.1:9"})).regions["hk"]
    with pytest.raises(NoFigures, match="context 'no-context-of-hk' cannot be used"):
        Counters(away, "like", READ).standing(["small"])


def test_where_prometheus_has_not_scraped_the_old_pods_the_pages_are_read_at_once(region: Region) -> None:
    with pytest.raises(NoFigures, match="context 'no-context-of-hk' cannot be used"):
        Counters(region, "like", READ).standing(["unscraped"], new=False)
