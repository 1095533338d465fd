"""The judge of a canary: by a real Prometheus that scrapes two served versions, and by counters that a test says."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from conf.clusters.regions import Region, load
from conf.observe.prometheus import NoFigures
from conf.rollout.canary import judge
from conf.rollout.canary.counting import READ, REQUESTS
from conf.rollout.canary.judge import SCRAPE_SECONDS, Counters, CountsReader, Finding, Judge, NotScraped, Outlook
from conf.rollout.canary.state import Canary
from serving.settings import Settings
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus
from tests.conf.rollout.canary.scripted import BASELINE, NEW, OLD, ScriptedJudge, answered, scripted
from tests.running import ROOT, Running, make_service, post_json, running
from tests.waiting import until

WORSE = (ROOT / "tests/services/worse/src/server.py").read_text()
DIGIT = {"data": [[[[0.5] * 8] * 8]]}
SETTINGS = Settings(
    service_name="small", username="like", canary_margin=0.2, canary_tolerance=3.0, canary_latency_margins=(1.0, 1.0, 1.0)
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
    """A region whose Prometheus scrapes all of them. An earlier release of the platform made the baseline, not the canary."""
    labels = {name: {"namespace": "like", "service": name, "pod": f"{name}-1"} for name in ARMS}
    labels["small-canary"] |= {"service": "small", "arm": "canary", "arm_of": "small"}
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
    """Return whether Prometheus has answers of the old pods."""
    return "small-1" in judge.begin(Canary((25,), 1, baseline=False)) and judge.edges() != ()


def test_a_step_is_judged_by_what_its_arms_answered_since_it_began(pods: dict[str, Running], region: Region) -> None:
    judge = Judge(region, "like", "small", SETTINGS)
    send(pods["small"], 50)
    until(lambda: is_scraped(judge), pause=0.2)
    edges = judge.edges()
    assert judge.source.startswith("Prometheus (http://127.0.0.1:")
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
    assert judge.look(begun, {"small-canary": 1}, SOON).trouble.startswith("restarts: 1 of the canary's")


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
    series = f'{REQUESTS}{{namespace="like",service="small",pod="small-1",route="service",code="200",reason=""%s}}'
    fill(tmp_path, {series % arm: ("counter", counts) for arm in ("", ',arm="canary"')}, SCRAPE_SECONDS)
    with prometheus(tmp_path) as url:
        counters = Counters(load(write_regions(tmp_path, {"hk": url})).regions["hk"], "like", "small", READ)
        assert counters.rate("small") == pytest.approx(25, rel=0.3)


def test_a_pod_whose_arm_was_just_given_its_new_labels_is_counted_once(tmp_path: Path) -> None:
    series = f'{REQUESTS}{{namespace="like",%s,pod="small-canary-1",route="service",code="200",reason=""}}'
    earlier, now = series % 'service="small-canary"', series % 'service="small",arm="canary"'
    fill(tmp_path, {earlier: ("counter", [40.0] * 41), now: ("counter", [41.0] * 41)}, SCRAPE_SECONDS)
    with prometheus(tmp_path) as url:
        counters = Counters(load(write_regions(tmp_path, {"hk": url})).regions["hk"], "like", "small", READ)
        (pod,) = counters.pods(["small-canary", "small"])["small-canary"].values()
        assert pod.sum(REQUESTS) == 41.0


def test_pods_that_prometheus_does_not_know_are_told_with_the_labels_that_they_may_lack(region: Region) -> None:
    judge = Judge(region, "like", "unscraped", SETTINGS)
    with pytest.raises(NotScraped, match=r"unscraped yet: .*prometheus\.labels"):
        judge.edges()
    found = judge.look(Canary((25,), 1), {}, LATE)
    assert (found.state, found.trouble) == ("unknown", "")
    assert "unscraped-canary and unscraped-baseline" in found.summary


def test_while_prometheus_is_away_nothing_is_known_yet(tmp_path: Path) -> None:
    judge = Judge(load(write_regions(tmp_path, {"hk": "http://127.0.0.1:9"})).regions["hk"], "like", "small", SETTINGS)
    with pytest.raises(NoFigures):
        judge.edges()
    found = judge.look(Canary((25,), 1), {}, LATE)
    assert (found.state, found.trouble, found.begin) == ("unknown", "", {})
    assert "counts cannot be read" in found.summary


BESIDE_OLD_PODS = Canary((50, 25), 2, baseline=False)
LATE = 1000.0  # seconds after a step began: skew between two pods' counters explains no difference any more
Answered = Mapping[str, Mapping[str, int]]  # Service -> pod -> requests


class Judged:
    """A canary whose pods have answered as many requests as a test says."""

    def __init__(self, folder: Path):
        self.judge, self.counters = scripted(folder)

    def read(self, found: Answered) -> None:
        """Let these counts be read from now on. Without counts, Prometheus is away."""
        self.counters.is_away = not found
        self.counters.pages = {
            service: {pod: answered(count) for pod, count in pods.items()} for service, pods in found.items()
        }

    def begun(self, canary: Canary, found: Answered) -> Canary:
        self.read(found)
        try:
            return replace(canary, begin=self.judge.begin(canary))
        except NoFigures:
            return canary

    def look(self, canary: Canary, found: Answered) -> Finding:
        self.read(found)
        return self.judge.look(canary, {}, LATE)


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    return Judged(tmp_path)


def compared(found: Finding) -> tuple[int, int]:
    """Return the requests of both arms that a finding is about."""
    assert found.verdict is not None, found.trouble
    errors = found.verdict.metrics[0]
    return errors.canary.requests, errors.baseline.requests


def test_an_old_pod_that_could_not_be_read_at_a_steps_begin_does_not_count_its_life(judged: Judged) -> None:
    canary = judged.begun(BESIDE_OLD_PODS, {NEW: {"n": 0}, OLD: {"a": 9_000}})
    first = judged.look(canary, {NEW: {"n": 20}, OLD: {"a": 9_010, "b": 80_010}})
    assert (first.trouble, compared(first)) == ("", (20, 10))
    assert compared(judged.look(canary, {NEW: {"n": 400}, OLD: {"a": 9_200, "b": 80_200}})) == (400, 390)


def test_where_it_began_is_told_so_that_another_judge_goes_on_from_there(judged: Judged, tmp_path: Path) -> None:
    canary = judged.begun(BESIDE_OLD_PODS, {NEW: {"n": 0}, OLD: {}})
    assert "b" not in canary.begin
    kept = replace(canary, begin=judged.look(canary, {NEW: {"n": 0}, OLD: {"b": 80_000}}).begin)
    assert kept.begin.keys() == {"n", "b"}
    assert compared(Judged(tmp_path).look(kept, {NEW: {"n": 300}, OLD: {"b": 80_300}})) == (300, 300)


def test_a_new_pod_that_was_not_scraped_yet_at_a_steps_begin_loses_nothing(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {NEW: {}, BASELINE: {"old": 0}})
    assert compared(judged.look(canary, {NEW: {"n": 40}, BASELINE: {"old": 45}})) == (40, 45)


def test_an_arms_pod_of_the_step_before_that_could_not_be_read_counts_from_the_next_reading(judged: Judged) -> None:
    """The new pod beside it counts from its start."""
    canary = judged.begun(Canary((25, 50), 4), {NEW: {"n": 0}, BASELINE: {"o": 0}})
    judged.look(canary, {NEW: {"n": 5_000}, BASELINE: {"o": 5_000}})
    canary = judged.begun(canary.next_step(), {NEW: {"n": 5_100}, BASELINE: {}})
    assert compared(judged.look(canary, {NEW: {"n": 5_200, "m": 90}, BASELINE: {"o": 5_190, "p": 180}})) == (190, 180)


def test_a_pod_that_restarts_within_a_step_keeps_what_it_had_counted_in_it(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {NEW: {"n": 100}, BASELINE: {"o": 100}})
    assert compared(judged.look(canary, {NEW: {"n": 900}, BASELINE: {"o": 890}})) == (800, 790)
    assert compared(judged.look(canary, {NEW: {"n": 950}, BASELINE: {"o": 40}})) == (850, 830)
    assert compared(judged.look(canary, {NEW: {"n": 1_100}, BASELINE: {"o": 200}})) == (1_000, 990)
    assert compared(judged.look(canary, {NEW: {"n": 1_200}, BASELINE: {"o": 90}})) == (1_100, 1_080)


def test_a_first_step_that_began_while_prometheus_was_away_loses_no_request_of_the_arms(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {})
    assert judged.look(canary, {}).state == "unknown"
    assert compared(judged.look(canary, {NEW: {"n": 40}, BASELINE: {"o": 45}})) == (40, 45)


def test_an_outage_within_a_step_loses_no_request(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {NEW: {"n": 0}, BASELINE: {"o": 0}})
    judged.look(canary, {NEW: {"n": 40}, BASELINE: {"o": 45}})
    away = judged.look(canary, {})
    assert (away.state, away.trouble) == ("unknown", "")
    assert compared(judged.look(canary, {NEW: {"n": 400}, BASELINE: {"o": 410}})) == (400, 410)


def test_a_later_step_that_began_while_prometheus_was_away_counts_no_request_of_the_step_before(
    judged: Judged, tmp_path: Path
) -> None:
    """Another command may go on with it, which has not seen the step before."""
    second = Canary((25, 50), 4, step=1)
    for here in (judged, Judged(tmp_path)):
        canary = here.begun(second, {})
        first = here.look(canary, {NEW: {"n": 5_100}, BASELINE: {"o": 5_000}})
        assert compared(first) == (0, 0)
        kept = replace(canary, begin=first.begin)
        assert compared(here.look(kept, {NEW: {"n": 5_300}, BASELINE: {"o": 5_190}})) == (200, 190)


def test_an_arm_that_is_not_scraped_yet_does_not_look_like_wrong_routing(judged: Judged) -> None:
    canary = judged.begun(Canary((50,), 2), {BASELINE: {"o": 0}})
    found = judged.look(canary, {BASELINE: {"o": 900}})
    assert (found.state, found.trouble) == ("unknown", "")
    assert found.summary.startswith(f"a script has no series of {NEW} yet")


@pytest.mark.parametrize("apart", [45.0, float("inf")])
def test_nothing_is_judged_while_only_one_arm_has_a_recent_scrape(judged: Judged, apart: float) -> None:
    """A canary of minutes ago may have left pods of the other arm, whose counters stand still."""
    canary = judged.begun(Canary((50,), 2), {NEW: {"gone": 90}, BASELINE: {"gone": 80}})
    judged.counters.apart = apart
    counted = {NEW: {"n": 567}, BASELINE: {"gone": 80}}
    found = judged.look(canary, counted)
    assert (found.state, found.trouble, found.verdict) == ("unknown", "", None)
    assert f"only one of {NEW} and {BASELINE}" in found.summary
    judged.counters.apart = 14.0
    assert "routing does not give the shares" in judged.look(canary, counted).trouble


def test_the_latest_scrapes_of_arms_lie_as_far_apart_as_their_newest_samples(tmp_path: Path) -> None:
    counts: dict[tuple[str, str], list[float | None]] = {
        (NEW, "n"): [1.0, 2.0, 3.0],
        (BASELINE, "gone"): [1.0, None, None],
        (BASELINE, "o"): [1.0, 2.0, None],
    }
    labels = {NEW: f'service="{OLD}",arm="canary"', BASELINE: f'service="{BASELINE}"'}  # the baseline's arm has no label yet
    series = {
        f'{REQUESTS}{{namespace="like",{labels[arm]},pod="{pod}",route="service",code="200",reason=""}}': ("counter", found)
        for (arm, pod), found in counts.items()
    }
    fill(tmp_path, series, SCRAPE_SECONDS)
    with prometheus(tmp_path) as url:
        counters = Counters(load(write_regions(tmp_path, {"hk": url})).regions["hk"], "like", OLD, READ)
        pods, skew = counters.read((NEW, BASELINE))
        assert ({name: set(found) for name, found in pods.items()}, skew) == (
            {NEW: {"n"}, BASELINE: {"gone", "o"}},
            SCRAPE_SECONDS,
        )
        assert counters.read((NEW, OLD))[1] == float("inf")


BATCHES_OF_EIGHT = """
monopod_batch_rows_bucket{model="m",le="4"} 0
monopod_batch_rows_bucket{model="m",le="8"} 1000
monopod_batch_rows_bucket{model="m",le="+Inf"} 1000
monopod_batch_rows_sum{model="m"} 8000
"""


def outlook(folder: Path, *lines: str) -> Outlook:
    judge, counters = scripted(folder)
    counters.pages = {OLD: {"a": "\n".join(lines)}}
    return judge.outlook(Canary((5, 50), 2))


def test_where_requests_are_batched_a_step_takes_longer_since_a_batch_fails_as_a_whole(tmp_path: Path) -> None:
    alone, together = outlook(tmp_path, answered(8_000)), outlook(tmp_path, answered(8_000), BATCHES_OF_EIGHT)
    assert together.found == pytest.approx([8 * each for each in alone.found], rel=0.01)
    assert together.good == pytest.approx([8 * each for each in alone.good], rel=0.01)


def test_failed_batches_count_as_large_as_they_were(tmp_path: Path) -> None:
    failed = answered(80, 500, "model_failed")
    alone = outlook(tmp_path, answered(8_000), failed, 'monopod_batch_failures_total{model="m"} 80')
    together = outlook(tmp_path, answered(8_000), failed, 'monopod_batch_failures_total{model="m"} 10')
    assert together.found == pytest.approx([8 * each for each in alone.found], rel=0.01)


def test_a_larger_share_takes_less_time_and_no_requests_take_for_ever(tmp_path: Path) -> None:
    found = outlook(tmp_path, answered(8_000))
    assert found.rate == 100.0
    assert found.found[0] == pytest.approx(10 * found.found[1])
    assert found.good[0] == pytest.approx(10 * found.good[1])
    assert outlook(tmp_path).good == (float("inf"), float("inf"))


BEGUN = {"small-canary-1": {"counted": 7.0}}


class FailingJudge(ScriptedJudge):
    """Cannot read counts for a number of times."""

    def __init__(self, failures: int):
        super().__init__("unknown")
        self.failures, self.asked = failures, 0

    def begin(self, canary: Canary) -> dict[str, Mapping[str, float]]:
        self.asked += 1
        if self.asked <= self.failures:
            raise NoFigures("the API server does not answer")
        return dict(BEGUN)


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(judge, "BEGIN_SECONDS", 0.5)


@pytest.mark.usefixtures("_short_waits")
def test_a_step_begins_when_counts_can_be_read_again() -> None:
    failing, kept = FailingJudge(2), list[int]()
    reader = CountsReader(failing, 5.0)
    assert reader.begin(Canary((25,), 1), lambda: kept.append(1)) == BEGUN
    assert failing.asked == 3
    assert len(kept) >= 2
    reader.end()


@pytest.mark.usefixtures("_short_waits")
def test_a_step_whose_counts_stay_unreadable_ends_with_the_reason() -> None:
    failing = FailingJudge(10**9)
    reader = CountsReader(failing, 5.0)
    with pytest.raises(NoFigures, match="does not answer"):
        reader.begin(Canary((25,), 1), lambda: None)
    assert failing.asked > 1
    reader.end()
