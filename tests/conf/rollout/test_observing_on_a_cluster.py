"""`top`, `health` and `report` of a service under load, from Prometheus through the API server.

One deployment and one load serve all tests. Its ServiceMonitor has the label by which the cluster's Prometheus finds it.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conf.base.object_references import path
from conf.clusters.regions import load
from conf.clusters.rights import READ, query_rights, rules
from conf.observe.prometheus import NoFigures, PrometheusClient
from tests.conf import kubeconfigs
from tests.conf.accounts import allowed, token
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.load import loaded
from tests.conf.rollout.service_state import status_row
from tests.prerequisites import kubectl, missing
from tests.waiting import until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images", "prompt_reload")]
RELEASE = {"release": "prometheus"}  # by which the Prometheus beside the node finds monitors
ACCOUNT = "observer"


@pytest.fixture(scope="module")
def serving(
    user: str, servers: dict[str, Cluster], gateway: Any, images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Checkout]:
    hk = servers["hk"]
    if hk.find("/api/v1/namespaces/monitoring/services/prometheus") is None:
        missing("the cluster has no Service prometheus in the namespace monitoring: install the Prometheus operator")
    mine = Checkout(tmp_path_factory.mktemp("observed") / "service", user, {"hk": hk.context}, gateway=gateway)
    change(mine, labels=RELEASE)
    mine.run("deploy", tag="1")
    with loaded(f"{gateway.url}/api/{user}/digits", 20):
        yield mine


@pytest.fixture(scope="module")
def full(serving: Checkout, hk: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    """A service whose pod has filled its /tmp, and that pod. The node looks about once a minute, while other tests run."""
    mine = Checkout(tmp_path_factory.mktemp("full") / "service", serving.user, serving.contexts, "demo", serving.gateway)
    mine.run("deploy", tag="demo")
    (pod,) = hk.ask("get", path("Pod", mine.user), labelSelector=f"app.kubernetes.io/name={mine.name}")["items"]
    (limit,) = (each["emptyDir"]["sizeLimit"] for each in pod["spec"]["volumes"] if "emptyDir" in each)
    fill = f"import os; os.posix_fallocate(os.open('/tmp/full', os.O_CREAT | os.O_RDWR), 0, {int(limit) + 2**20})"
    name = pod["metadata"]["name"]
    command = [kubectl(), "--context", hk.context, "-n", mine.user, "exec", name, "--", "python3", "-c", fill]
    subprocess.run(command, check=True, timeout=60)
    return mine, name


def change(mine: Checkout, **fields: Any) -> None:
    """Write other fields of Prometheus into regions.yaml."""
    found = json.loads(mine.regions_file.read_text())
    found["regions"]["hk"]["prometheus"] |= fields
    mine.regions_file.write_text(json.dumps(found))


def track(mine: Checkout, **more: Any) -> dict[str, Any]:
    (found,) = json.loads(mine.run("top", "--json", "--track", "prod", **more).out)
    return dict(found)


def has_figures(found: dict[str, Any]) -> bool:
    (pod,) = found["pods"]
    if found["trouble"]:
        return False
    numbers = (pod["rate"], pod["p50"], pod["p95"], pod["memory"], pod["cores"], found["p50"], found["p95"])
    assert pod["ready"] == 1
    assert not pod["errors"]  # None until two scrapes tell a rate
    assert pod["memory_limit"] == 512 * 2**20
    return all(number is not None and number > 0 for number in numbers) and pod["rate"] > 10


@pytest.mark.usefixtures("full")
def test_where_prometheus_is_away_it_is_named_and_the_pods_that_are_ready_are_known(serving: Checkout) -> None:
    change(serving, url="http://nowhere.monitoring:9090")
    try:
        found = track(serving)
        done = serving.run("health", status=42)
    finally:
        change(serving, url="http://prometheus.monitoring:9090")
    assert found["trouble"].startswith(
        "namespace monitoring has no Service nowhere:9090: prometheus.url of regions.yaml names it"
    )
    assert [(pod["ready"], pod["rate"]) for pod in found["pods"]] == [(1, None)]
    assert done.out.startswith("hk, prod: unknown: namespace monitoring has no Service nowhere:9090")
    assert done.out.count("\n") == 1


def test_an_account_without_rights_is_told_which_it_lacks_and_with_the_roles_it_needs_no_other(
    serving: Checkout, hk: Cluster, tmp_path: Path
) -> None:
    named = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}}
    with hk.having(f"/api/v1/namespaces/{serving.user}/serviceaccounts", named):
        file = kubeconfigs.written(tmp_path / "observer", hk.context, token=token(hk, serving.user, ACCOUNT))
        done = serving.run("health", status=42, more={"KUBECONFIG": file})
        assert "unknown: no right to get services/proxy" in done.out
        assert "in monitoring: the Role monopod-query" in done.out
        assert f"no right to list pods in {serving.user}: the Role monopod-read" in done.err
        query = rules(query_rights("prometheus", "9090"))
        with allowed(hk, serving.user, ACCOUNT, rules(READ)), allowed(hk, "monitoring", ACCOUNT, query, home=serving.user):
            until(lambda: has_figures(track(serving, more={"KUBECONFIG": file})), seconds=400, pause=1)
            assert serving.run("health", more={"KUBECONFIG": file}).err == ""


def test_prometheus_is_asked_through_the_api_server_with_the_right_to_query_alone(
    serving: Checkout, hk: Cluster, tmp_path: Path
) -> None:
    named = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": serving.user}}
    with hk.having("/api/v1/namespaces/monitoring/serviceaccounts", named):
        file = kubeconfigs.written(tmp_path / "query", hk.context, token=token(hk, "monitoring", serving.user))
        with allowed(hk, "monitoring", serving.user, rules(query_rights("prometheus", "9090"))):
            asked = PrometheusClient(load(serving.regions_file).regions["hk"])
            with pytest.raises(NoFigures, match="answers bad_data: .*parse error"):
                asked.now("sum(")

            def is_scraped() -> bool:
                found = track(serving, more={"KUBECONFIG": file}) if asked.now(ready(serving)) else None
                return bool(found and has_figures(found))

            until(is_scraped, seconds=400, pause=1)
            done = serving.run("health", more={"KUBECONFIG": file})
    assert re.fullmatch(r"hk, prod: well: 1 pod, \S+ requests a second, 95 % of them within \S+ ms\n", done.out)
    assert done.err.startswith(
        f"hk: pods that are new, wait or were lost are not known: no right to list pods in {serving.user}"
    )
    (found,) = json.loads(serving.run("report", "--days", "1", "--json").out)
    assert sum(each["requests"] or 0 for each in found["hours"][-2:]) > 100  # the load may have begun in the hour before
    assert [(each["version"], each["words"]) for each in found["releases"]] == [("1", "by ann, good")]


def test_a_pod_that_was_evicted_for_its_tmp_and_replaced_is_told(full: tuple[Checkout, str]) -> None:
    mine, name = full
    evicted = f"{name} was evicted: Usage of EmptyDir volume"

    def is_told() -> bool:
        row = status_row(mine, status=None)
        is_lost = any(words.startswith(evicted) for words in row["troubles"])
        assert not is_lost or row["state"] != "good"
        return is_lost and row["ready"] == 1

    until(is_told, seconds=240, pause=1)
    done = mine.run("health", status=None)
    assert f"hk, prod: warning: {evicted}" in done.out
    assert done.status in (40, 42)  # the pod in its place may be too new to judge


def ready(mine: Checkout) -> str:
    return f'monopod_ready{{namespace="{mine.user}"}}'
