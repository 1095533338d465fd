"""The pods' own pages, behind an API server of this machine.

Readiness is of all pods, and other figures are of those whose page was read.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.clusters.regions_file import load
from conf.observe import pod_pages
from conf.observe.judgement import TOO_NEW, WARNING, limits_of, reasons
from conf.observe.pod_figures import PAGES, TrackFigures
from conf.observe.pod_pages import PodPages
from conf.observe.prometheus import NoFigures
from conf.observe.region_figures import ObservedTrack, Sources
from serving.settings import Settings
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import running_server
from tests.conf.observe.api_server import ApiServer, pod
from tests.conf.observe.folders import write_regions

SETTINGS = Settings(service_name="small", username="like", cpu=1.0, memory="2Gi")
MANY = 60


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


def test_pods_that_have_just_come_and_answered_little_are_too_new_to_judge(api_server: ApiServer, tmp_path: Path) -> None:
    api_server.pods = [pod(0, age=20.0), pod(1, age=5.0)]
    (found,) = reasons(asked(tmp_path, 2), limits_of(SETTINGS))
    assert found.level == TOO_NEW
    assert re.match(r"version 7 has been ready for 2\d s, and \d of its answers are counted", found.words)


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
