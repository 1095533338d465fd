"""A real Prometheus that scrapes a real service gives its figures, and each of its failures is told with its cure."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.clusters.regions_file import load
from conf.observe import prometheus as asked
from conf.observe.figure_queries import selector
from conf.observe.metrics_page import figures_between, parsed
from conf.observe.prometheus import NoFigures, PrometheusClient, proxied
from conf.observe.region_figures import ObservedTrack, Sources
from serving.settings import Settings
from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.conf.observe.folders import write_regions
from tests.conf.observe.prometheus_server import prometheus
from tests.running import Running, post_json
from tests.waiting import until

SETTINGS = Settings(service_name="small", username="like", cpu=1.0, memory="2Gi")
SCRAPED = {"namespace": "like", "service": "small", "pod": "small-1"}
DIGIT = {"data": [[[[0.5] * 8] * 8]]}


def watched(folder: Path, url: str) -> ObservedTrack:
    region = load(write_regions(folder, {"hk": url})).regions["hk"]
    return ObservedTrack(region, "prod", "like", SETTINGS, 1)


@pytest.fixture(scope="module")
def scraping(digits: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus(tmp_path_factory.mktemp("prometheus"), [(digits.admin_port, SCRAPED)]) as url:
        yield url


def test_prometheus_and_a_pods_own_page_give_the_same_figures(digits: Running, scraping: str, tmp_path: Path) -> None:
    before = parsed(digits.metrics(), 0.0)
    mine = watched(tmp_path, scraping)
    sources = Sources([mine.region], 120)

    def are_there() -> bool:
        for _ in range(20):
            assert post_json(f"{digits.url}/api/small", DIGIT)[0] == 200
            assert post_json(f"{digits.url}/api/small", {"data": "none"})[0] == 400
        track = sources.ask([mine])[0]
        (pod,) = track.pods or [None]
        return bool(pod and pod.valid and pod.rate and pod.valid < 0.8 * pod.rate and track.p95)

    until(are_there, pause=0.3)
    track = sources.ask([mine])[0]
    assert (track.note, track.trouble, track.ready) == ("", "", 1)
    pod = track.pods[0]
    assert pod.pod == "small-1"
    page = figures_between("small-1", before, parsed(digits.metrics(), 10.0), 0.0)
    for found in (pod, page):
        assert found.rate
        assert found.valid
        assert found.valid < 0.8 * found.rate  # malformed requests do not count
        assert found.errors == 0
        assert found.refused == 0
        assert found.p50
        assert found.p95
        assert 0 < found.p50 <= found.p95 < 1
        assert found.memory
        assert found.memory > 20e6
        assert found.cores
        assert found.queue_rows in (0, 1)  # requests come one at a time, and a scrape may meet one
        assert found.restarts == 0
    assert pod.memory_limit == 2**31


def test_a_service_that_is_not_scraped_is_told_with_the_labels_to_look_at(scraping: str, tmp_path: Path) -> None:
    mine = watched(tmp_path, scraping)
    track = Sources([mine.region], 120).ask([ObservedTrack(mine.region, "prod", "ann", SETTINGS, 1)])[0]
    assert "has no series of ann/small: has its ServiceMonitor the labels that prometheus.labels names?" in track.trouble
    assert "context 'no-context-of-hk' cannot be used" in track.trouble  # the pods' own pages cannot be read either


@pytest.mark.parametrize("name", ["a.c", "like|grey", "x\\", 'x"}', ".*"])
def test_a_name_like_a_regular_expression_matches_itself_alone(scraping: str, tmp_path: Path, name: str) -> None:
    region = watched(tmp_path, scraping).region
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


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (200, "<html>log in</html>", "answers 200 and something else than Prometheus does"),
        (200, json.dumps({"status": "success"}), "something else than Prometheus"),
        (401, "who are you", "answers 401: it asks for a password"),
        (503, json.dumps({"status": "error", "errorType": "timeout", "error": "query timed out"}), "timeout: query timed out"),
        (422, json.dumps({"status": "error", "errorType": "execution", "error": "too many"}), "execution: too many"),
        (502, "bad gateway", "answers 502 and something else"),
    ],
)
def test_what_is_no_answer_of_prometheus_is_told(tmp_path: Path, status: int, text: str, words: str) -> None:
    handler = type("Handler", (Answering,), {"status": status, "text": text})
    with running_server(LocalServer(handler)) as server:
        region = load(write_regions(tmp_path, {"hk": f"http://127.0.0.1:{server.server_port}"})).regions["hk"]
        with pytest.raises(NoFigures, match=words):
            PrometheusClient(region).now("up")


def test_a_prometheus_that_is_slow_is_given_up_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asked, "ANSWER_SECONDS", 0.5)
    with running_server(LocalServer(Answering)) as server:
        server.slow = True
        region = load(write_regions(tmp_path, {"hk": f"http://127.0.0.1:{server.server_port}"})).regions["hk"]
        with pytest.raises(NoFigures, match="has not answered in 0.5 s; is it up"):
            PrometheusClient(region).now("up")


def test_a_prometheus_that_is_away_is_named(tmp_path: Path) -> None:
    region = load(write_regions(tmp_path, {"hk": "http://127.0.0.1:1"})).regions["hk"]
    with pytest.raises(NoFigures, match="http://127.0.0.1:1 does not answer: .*refused; is it up"):
        PrometheusClient(region).now("up")


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
    found = proxied(load(file).regions["hk"])
    assert (found.namespace, found.name, found.prefix) == (namespace, name, prefix)


def test_an_address_that_is_none_of_the_cluster_asks_for_outside(tmp_path: Path) -> None:
    file = write_regions(tmp_path, {"hk": ""})
    file.write_text(file.read_text().replace("prometheus.monitoring:9090", "metrics.example.com"))
    with pytest.raises(NoFigures, match="add prometheus.outside"):
        proxied(load(file).regions["hk"])
