"""The pods' own pages, behind an API server of this machine.

Readiness is of all pods, and other figures are of those whose page was read.
"""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.clusters.regions_file import load
from conf.observe import pod_pages
from conf.observe.judgement import WARNING, limits_of, reasons
from conf.observe.pod_figures import PAGES, TrackFigures
from conf.observe.pod_pages import PodPages
from conf.observe.prometheus import NoFigures
from conf.observe.region_figures import ObservedTrack, Sources
from serving.settings import Settings
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.conf.observe.folders import write_regions

SETTINGS = Settings(service_name="small", username="like", cpu=1.0, memory="2Gi")
MANY = 60

MISSING = json.dumps({"kind": "Status", "reason": "NotFound", "code": 404, "message": "pods not found"})


def pod(number: int, *, is_ready: bool = True, runs: bool = True) -> dict[str, Any]:
    """Return a pod as the API server lists it."""
    name = f"small-{number:02}"
    state: dict[str, Any] = {"running": {}} if runs else {"waiting": {}}
    return {
        "metadata": {"name": name, "uid": name, "namespace": "like", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "conditions": [{"type": "Ready", "status": str(is_ready)}],
            "containerStatuses": [{"state": state, "restartCount": 0}],
        },
    }


class ApiServer(LocalServer):
    """Lists pods, and passes on to their pages. Each reading counts one more request. Pages of `silent` do not answer.

    Pods of `gone` ended after they were listed. Pods of `pageless` answer, and have no such page.
    """

    def __init__(self) -> None:
        super().__init__(Handler)
        self.pods: list[dict[str, Any]] = []
        self.silent: set[str] = set()
        self.gone: set[str] = set()
        self.pageless: set[str] = set()
        self.read: list[str] = []
        self.lock = threading.Lock()

    def page(self, name: str) -> str:
        with self.lock:
            self.read.append(name)
            count = self.read.count(name)
        return f'monopod_ready 1\nmonopod_requests_total{{route="service",code="200",reason=""}} {count}\n'


class Handler(QuietHandler):
    """Answers as an API server does."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, ApiServer)
        name = self.path.partition("/pods/")[2].partition(":")[0]
        self.send_response(404 if name in server.gone | server.pageless else 502 if name in server.silent else 200)
        self.end_headers()
        page = "not found" if name in server.pageless else MISSING if name in server.gone else server.page(name) if name else ""
        self.wfile.write((page or json.dumps({"items": server.pods})).encode())


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    monkeypatch.setattr(pod_pages, "PAUSE", 0.05)
    with running_server(ApiServer()) as server:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "no-context-of-hk", f"http://127.0.0.1:{server.server_port}")
        yield server


def asked(folder: Path, wanted: int) -> TrackFigures:
    """Return the figures of the track prod where Prometheus does not answer."""
    region = load(write_regions(folder, {"hk": "http://127.0.0.1:1"})).regions["hk"]
    return Sources([region], 120).ask([ObservedTrack(region, "prod", "like", SETTINGS, wanted)])[0]


def test_pods_beyond_those_that_are_read_are_ready_as_the_api_server_says(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods = [pod(number) for number in range(MANY)]
    track = asked(tmp_path, MANY)
    assert (track.source, track.trouble, track.ready) == (PAGES, "", MANY)
    assert reasons(track, limits_of(SETTINGS)) == []
    assert len(set(api_server.read)) == sum(1 for each in track.pods if each.rate) == 50
    assert track.note.endswith("; rates, memory and queues are of 50 of 60 pods")


def test_a_pod_that_is_not_read_and_not_ready_is_missed(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods = [pod(number, is_ready=number < MANY - 1) for number in range(MANY)]
    found = reasons(asked(tmp_path, MANY), limits_of(SETTINGS))
    assert [(each.level, each.words) for each in found] == [
        (WARNING, "59 of 60 pods are ready: `monopod status` says why"),
    ]


def test_a_page_that_does_not_answer_is_told_and_hides_no_readiness(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods, api_server.silent = [pod(0), pod(1)], {"small-01"}
    track = asked(tmp_path, 2)
    assert track.ready == 2
    assert track.note.endswith("; rates, memory and queues are of 1 of 2 pods")


def test_where_all_pages_are_read_only_prometheus_is_told_about(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods = [pod(0), pod(1, is_ready=False, runs=False)]
    track = asked(tmp_path, 2)
    assert track.ready == 1
    assert "rates" not in track.note


def pages(folder: Path) -> set[str]:
    """Return the pods whose page is read."""
    region = load(write_regions(folder, {"hk": "http://127.0.0.1:1"})).regions["hk"]
    return set(PodPages(region).pages("like", "small"))


def test_pods_that_ended_after_they_were_listed_have_no_page_and_hide_no_other(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods, api_server.gone = [pod(0), pod(1)], {"small-01"}
    assert pages(tmp_path) == {"small-00"}
    api_server.gone = {"small-00", "small-01"}
    assert pages(tmp_path) == set()


def test_a_pod_that_answers_and_has_no_metrics_page_has_not_ended(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods, api_server.pageless = [pod(0)], {"small-00"}
    with pytest.raises(NoFigures, match="no pod's page can be read"):
        pages(tmp_path)


def test_pods_whose_pages_do_not_answer_are_no_pods_without_figures(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods, api_server.gone, api_server.silent = [pod(0), pod(1)], {"small-00"}, {"small-01"}
    with pytest.raises(NoFigures, match="no pod's page can be read"):
        pages(tmp_path)
