"""The pods' own pages, behind an API server of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.observe.pod_pages import PodPages
from conf.observe.prometheus import NoFigures
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import running_server
from tests.conf.observe.api_server import ApiServer, pod
from tests.conf.observe.folders import write_regions


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    with running_server(ApiServer()) as server:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "no-context-of-hk", f"http://127.0.0.1:{server.server_port}")
        yield server


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
