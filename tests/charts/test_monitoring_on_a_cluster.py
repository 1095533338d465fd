"""charts/monitoring through its life on an API server: what an installation, an upgrade and a rollback leave there.

The simulated region has all kinds of objects, and its pods run nothing. tests/conf/rollout has the alerts that reach people.
"""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from conf.render.chart_values import chart_values
from tests.charts import helm
from tests.conf import golden
from tests.conf.cluster import Cluster, Item
from tests.running import ROOT
from tests.waiting import until

pytestmark = pytest.mark.cluster

CHART = ROOT / "charts/monitoring"
RELEASE, NAMESPACE, PROXIES = "charts-watched", "charts-monitoring-release", "charts-monitoring-proxies"
KINDS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PodMonitor": ("apis/monitoring.coreos.com/v1", "podmonitors"),
    "PrometheusRule": ("apis/monitoring.coreos.com/v1", "prometheusrules"),
    "EnvoyFilter": ("apis/networking.istio.io/v1alpha3", "envoyfilters"),
}
Key = tuple[str, str, str]  # kind, namespace and name


@pytest.fixture(scope="module")
def cluster(eu: Cluster) -> Iterator[Cluster]:
    helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, context=eu.context)  # left by a run that was killed
    with eu.own_namespaces(NAMESPACE, PROXIES):
        yield eu


def values(routing: str, **more: Any) -> Item:
    """Return a region's values, with everything in namespaces of this test."""
    regions = golden.regions(routing)
    given = chart_values(regions, regions.regions["hk"], ("monitoring",))["monitoring"]
    alertmanager = {**given["alertmanager"], "namespace": NAMESPACE}
    return {**given, "gateway": {"pods": PROXIES}, "alertmanager": alertmanager, **more}


def first() -> Item:
    """Everything that the chart has, behind Istio."""
    return values("istio")


def second() -> Item:
    """Other objects: no dashboards, no records and no EnvoyFilter, Alertmanager's Secret of another name, another proxy."""
    given, off = values("gateway-api", dashboards={"create": False}), {"create": False}
    given["alertmanager"] |= {"secret": "alertmanager-other", "groupWait": "5s"}
    given["relay"] |= {"receivers": ["webhook", "watchdog"], "proxy": "http://proxy.lan:3128"}
    return {**given, "recording": off}


def made_of(given: Item) -> dict[Key, Item]:
    """Return the objects of the chart for some values, as helm renders them."""
    text = helm.rendered(CHART, given, RELEASE, NAMESPACE)
    return {(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]): each for each in text}


def live(cluster: Cluster) -> dict[Key, Item]:
    """Return the release's objects that the API server has and that nobody deletes."""
    found = {}
    for kind, (prefix, plural) in KINDS.items():
        listed = cluster.ask("get", f"/{prefix}/{plural}", labelSelector=f"app.kubernetes.io/instance={RELEASE}")
        for each in listed["items"]:
            if "deletionTimestamp" not in each["metadata"]:
                found[kind, each["metadata"]["namespace"], each["metadata"]["name"]] = each
    return found


def holds(found: Any, wanted: Any) -> bool:
    """Return whether an object has all that was rendered. The API server adds fields, and leaves out empty ones."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return False
        return all(holds(found.get(name, ""), each) for name, each in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(holds, found, wanted))
    return bool(found == wanted)


def stands(cluster: Cluster, given: Item) -> None:
    """Assert that the release has exactly the objects of some values, each as it was rendered."""
    wanted = made_of(given)
    until(lambda: live(cluster).keys() == wanted.keys(), pause=0.2)
    for key, found in live(cluster).items():
        if texts := wanted[key].pop("stringData", None):  # which an API server keeps as bytes
            assert {name: base64.b64decode(each).decode() for name, each in found["data"].items()} == texts
        assert holds(found, {name: wanted[key][name] for name in wanted[key].keys() & {"metadata", "spec", "data"}}), key


def test_an_upgrade_leaves_nothing_of_the_old_values_and_a_rollback_brings_the_first_objects_back(cluster: Cluster) -> None:
    def run(verb: str, *words: str, given: Item | None = None) -> None:
        helm.done(verb, RELEASE, *words, "--namespace", NAMESPACE, values=given, context=cluster.context)

    assert {kind for kind, _, _ in made_of(first())} == set(KINDS)
    gone, new = made_of(first()).keys() - made_of(second()).keys(), made_of(second()).keys() - made_of(first()).keys()
    assert {kind for kind, _, _ in gone} == {"ConfigMap", "EnvoyFilter", "PrometheusRule", "Secret"}
    assert {name for _, _, name in new} == {"alertmanager-other"}

    run("install", str(CHART), given=first())
    stands(cluster, first())
    run("upgrade", str(CHART), given=second())
    stands(cluster, second())
    run("rollback", "1")
    stands(cluster, first())
    run("uninstall")
    until(lambda: not live(cluster), pause=0.2)


def test_values_that_are_refused_change_nothing(cluster: Cluster) -> None:
    helm.done("install", RELEASE, CHART, "--namespace", NAMESPACE, values=first(), context=cluster.context)
    wrong = second()
    wrong["relay"] |= {"receivers": ["mail"]}
    refused = helm.run("upgrade", RELEASE, CHART, "--namespace", NAMESPACE, values=wrong, context=cluster.context)
    assert refused.returncode != 0
    assert "/relay/receivers/0" in refused.stderr
    stands(cluster, first())
    helm.done("uninstall", RELEASE, "--namespace", NAMESPACE, context=cluster.context)
