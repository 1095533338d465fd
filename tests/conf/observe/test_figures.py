"""A real Prometheus that scrapes a real service gives its figures, and each of its failures is reported with its cure."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.observe import prometheus as asked
from conf.observe.figures import ObservedTrack, Sources, selector
from conf.observe.health import UNKNOWN, WARNING, limits_of, reasons
from conf.observe.prometheus import NoFigures, PrometheusClient, cluster_service
from serving.settings import Settings
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.conf.observe.api_server import ApiServer, pod
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import fill, prometheus
from tests.running import Running, post_json
from tests.waiting import until

SETTINGS = Settings(service_name="small", username="like", cpu=1.0, memory="2Gi")
SCRAPED = {"namespace": "like", "service": "small", "pod": "small-1"}
DIGIT = {"data": [[[[0.5] * 8] * 8]]}


def observed(folder: Path, url: str) -> ObservedTrack:
    region = load(write_regions(folder, {"hk": url})).regions["hk"]
    return ObservedTrack(region, "prod", "like", SETTINGS, 1)


@pytest.fixture(scope="module")
def scraping(digits: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), [(digits.admin_port, SCRAPED)]) as url:
        yield url


def test_prometheus_has_the_figures_of_a_service_under_load(digits: Running, scraping: str, tmp_path: Path) -> None:
    mine = observed(tmp_path, scraping)
    sources = Sources([mine.region], 120)

    def are_there() -> bool:
        for _ in range(20):
            assert post_json(f"{digits.url}/api/small", DIGIT)[0] == 200
            assert post_json(f"{digits.url}/api/small", {"data": "none"})[0] == 400
        track = sources.ask([mine])[0]
        (pod,) = track.pods or [None]
        return bool(pod and pod.valid and pod.rate and pod.valid < 0.8 * pod.rate and track.p95)

    until(are_there, pause=0.3)  # malformed requests do not count as valid
    track = sources.ask([mine])[0]
    assert (track.source, track.note, track.trouble, track.ready) == ("Prometheus", "", "", 1)
    (pod,) = track.pods
    assert (pod.pod, pod.errors, pod.refused, pod.restarts, pod.memory_limit) == ("small-1", 0, 0, 0, 2**31)
    assert 0 < (pod.p50 or 0) <= (pod.p95 or 0) < 1
    assert (pod.memory or 0) > 20e6
    assert pod.cores
    assert pod.queue_rows in (0, 1)  # requests come one at a time, and a scrape may meet one


def test_a_pod_that_ended_for_its_memory_has_not_restarted_for_that(tmp_path: Path) -> None:
    def series(pod: str, name: str, *values: float) -> dict[str, tuple[str, list[float]]]:
        return {
            f'{name}{{namespace="like",service="small",pod="{pod}"}}': ("gauge", [each for each in values for _ in range(8)])
        }

    recycled = series("small-1", "process_start_time_seconds", 1, 2, 3, 4, 4) | series(
        "small-1", "monopod_recycles", 0, 0, 1, 2, 2
    )
    older = series("small-2", "process_start_time_seconds", 1, 1, 2, 2, 2)  # a release that counted no ends for its memory
    ready = series("small-1", "monopod_ready", *[1] * 5) | series("small-2", "monopod_ready", *[1] * 5)
    fill(tmp_path, recycled | older | ready, 15.0)
    with prometheus(tmp_path) as url:
        mine = observed(tmp_path, url)
        (track,) = Sources([mine.region], 120).ask([mine])
    assert {each.pod: each.restarts for each in track.pods} == {"small-1": 1, "small-2": 1}


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with running_server(ApiServer()) as server:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "no-context-of-hk", f"http://127.0.0.1:{server.server_port}")
        yield server


def test_where_prometheus_is_away_the_pods_are_told_as_kubernetes_knows_them(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods = [pod(0), pod(1), pod(2, is_ready=False)]
    mine = replace(observed(tmp_path, "http://127.0.0.1:1"), wanted=3)
    (track,) = Sources([mine.region], 120).ask([mine])
    assert (track.ready, [each.pod for each in track.pods]) == (2, ["small-00", "small-01"])
    assert "http://127.0.0.1:1 does not answer" in track.trouble
    assert [each.level for each in reasons(track, limits_of(SETTINGS))] == [UNKNOWN, WARNING]


def test_where_prometheus_is_away_a_track_that_has_no_pod_and_needs_none_is_left_out(
    api_server: ApiServer, tmp_path: Path
) -> None:
    mine = replace(observed(tmp_path, "http://127.0.0.1:1"), wanted=0)
    assert not Sources([mine.region], 120).ask([mine])[0].is_there


def test_pods_that_prometheus_does_not_know_are_told_with_the_cure(
    api_server: ApiServer, scraping: str, tmp_path: Path
) -> None:
    api_server.pods = [pod(0)]
    mine = replace(observed(tmp_path, scraping), settings=replace(SETTINGS, username="like"), arm="canary", wanted=0)
    api_server.name = mine.service
    (track,) = Sources([mine.region], 120).ask([mine])
    assert (track.ready, track.trouble.partition(" has no ")[2].partition(":")[0]) == (1, "series of like/small-canary")


def test_a_pod_that_prometheus_remembers_is_left_out_once_kubernetes_has_it_no_more(
    api_server: ApiServer, scraping: str, tmp_path: Path
) -> None:
    mine = replace(observed(tmp_path, scraping), wanted=0)
    assert not Sources([mine.region], 120).ask([mine])[0].is_there
    api_server.pods = [pod(0)]  # of the release after it, which is not scraped yet
    (track,) = Sources([mine.region], 120).ask([mine])
    assert (track.trouble, [each.pod for each in track.pods]) == ("", ["small-00"])
    api_server.pods = [pod(0, is_ready=False)]
    api_server.pods[0]["metadata"]["name"] = SCRAPED["pod"]
    (track,) = Sources([mine.region], 120).ask([mine])
    assert [each.pod for each in track.pods] == [SCRAPED["pod"]]


def test_a_service_that_is_not_scraped_is_told_with_the_labels_to_look_at(scraping: str, tmp_path: Path) -> None:
    mine = observed(tmp_path, scraping)
    track = Sources([mine.region], 120).ask([ObservedTrack(mine.region, "prod", "ann", SETTINGS, 1)])[0]
    assert "no series of ann/small: has its" in track.trouble
    assert track.trouble.endswith("wait two minutes")
    assert "context 'no-context-of-hk' cannot" in track.unseen


@pytest.mark.parametrize("name", ["a.c", "like|grey", "x\\", 'x"}', ".*"])
def test_a_name_like_a_regular_expression_matches_itself_alone(scraping: str, tmp_path: Path, name: str) -> None:
    region = observed(tmp_path, scraping).region
    assert PrometheusClient(region).now(f"monopod_ready{{{selector('small', [name])}}}") == []
    assert PrometheusClient(region).now(f"monopod_ready{{{selector('small', ['like'])}}}")


class Answering(QuietHandler):
    """Answers every request with the server's status and text."""

    status, text = 200, ""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, LocalServer)
        if server.slow:
            server.over.wait(30)
            return
        self.send_response(type(self).status)
        self.end_headers()
        self.wfile.write(type(self).text.encode())


def client_of(folder: Path, port: int) -> PrometheusClient:
    """Return the client of a Prometheus at a port of this machine. folder: of the regions.yaml that names it."""
    return PrometheusClient(load(write_regions(folder, {"hk": f"http://127.0.0.1:{port}"})).regions["hk"])


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (200, "<html>log in</html>", "answers 200 with something"),
        (200, json.dumps({"status": "success"}), "not Prometheus"),
        (401, "who are you", "answers 401: it asks for a password"),
        (503, json.dumps({"status": "error", "errorType": "timeout", "error": "query timed out"}), "timeout: query timed out"),
        (422, json.dumps({"status": "error", "errorType": "execution", "error": "too many"}), "execution: too many"),
        (502, "bad gateway", "answers 502 with something"),
    ],
)
def test_what_is_no_answer_of_prometheus_is_told(tmp_path: Path, status: int, text: str, words: str) -> None:
    handler = type("Handler", (Answering,), {"status": status, "text": text})
    with running_server(LocalServer(handler)) as server, pytest.raises(NoFigures, match=words):
        client_of(tmp_path, server.server_port).now("up")


def test_a_prometheus_that_is_slow_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "ANSWER_SECONDS", 0.5)
    with running_server(LocalServer(Answering)) as server:
        server.slow = True
        with pytest.raises(NoFigures, match="has not answered in 0.5 s"):
            client_of(tmp_path, server.server_port).now("up")


def test_a_prometheus_that_is_away_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoFigures, match="http://127.0.0.1:1 .*refused; is it up"):
        client_of(tmp_path, 1).now("up")


@pytest.mark.parametrize(
    ("url", "namespace", "name", "prefix"),
    [
        ("http://prometheus.monitoring:9090", "monitoring", "prometheus:9090", ""),
        ("http://prometheus:9090", "metrics", "prometheus:9090", ""),
        ("https://k8s.watch.svc.cluster.local/prometheus/", "watch", "https:k8s:443", "/prometheus"),
        ("http://prometheus.watch.svc", "watch", "prometheus:80", ""),
    ],
)
def test_the_service_behind_an_address_of_the_cluster_is_known(
    tmp_path: Path, url: str, namespace: str, name: str, prefix: str
) -> None:
    file = write_regions(tmp_path, {"hk": ""})
    text = file.read_text().replace("http://prometheus.monitoring:9090", url)
    file.write_text(text.replace('"namespace": "monitoring"', '"namespace": "metrics"'))
    found = cluster_service(load(file).regions["hk"])
    assert (found.namespace, found.proxy_name, found.prefix) == (namespace, name, prefix)


def test_an_address_that_is_none_of_the_cluster_asks_for_outside(tmp_path: Path) -> None:
    file = write_regions(tmp_path, {"hk": ""})
    file.write_text(file.read_text().replace("prometheus.monitoring:9090", "metrics.example.com"))
    with pytest.raises(NoFigures, match="add prometheus.outside"):
        cluster_service(load(file).regions["hk"])
