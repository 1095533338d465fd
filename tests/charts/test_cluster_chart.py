"""charts/cluster: what it makes of its values, what stays for ever, and the values that its schema refuses."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from conf.base.yaml_nodes import documents
from conf.clusters.rights import DEPLOY, READ, rules
from conf.plan.routes import gateway_plan
from conf.render.chart_values import cluster_values
from conf.render.templates import render_gateway
from tests.charts import helm
from tests.conf import golden
from tests.conf.cluster import Cluster
from tests.running import ROOT

pytestmark = pytest.mark.cluster  # helm comes with the cluster's tools

CHART = ROOT / "charts/cluster"
KEPT = {"Namespace", "Role", "NetworkPolicy", "Gateway", "EnvoyFilter", "ClientTrafficPolicy"}
REGIONS = golden.regions()
BY_REGION = pytest.mark.parametrize("region", REGIONS.regions)


def values(region: str) -> dict[str, Any]:
    return copy.deepcopy(cluster_values(REGIONS, REGIONS.regions[region]))


def objects(region: str) -> list[dict[str, Any]]:
    return helm.rendered(CHART, values(region))


@BY_REGION
def test_whatever_a_service_stands_on_is_kept_and_nothing_else(region: str) -> None:
    for item in objects(region):
        policy = item["metadata"].get("annotations", {}).get("helm.sh/resource-policy")
        assert (policy == "keep") is (item["kind"] in KEPT), item


@BY_REGION
def test_every_namespace_has_the_rights_of_the_one_list_bound_to_its_own_job(region: str) -> None:
    found = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each for each in objects(region)}
    for each in values(region)["namespaces"]:
        place = each["name"]
        assert found["Role", place, "monopod-deploy"]["rules"] == rules(DEPLOY)
        assert found["Role", place, "monopod-read"]["rules"] == rules(READ)
        (subject,) = found["RoleBinding", place, "monopod-deploy"]["subjects"]
        assert subject == {"kind": "ServiceAccount", "name": each["account"], "namespace": "monopod"}
        assert ("ServiceAccount", "monopod", each["account"]) in found


def test_the_job_that_judges_canaries_may_ask_prometheus_and_the_jobs_of_other_tracks_may_not() -> None:
    (binding,) = [
        each for each in objects("hk") if each["kind"] == "RoleBinding" and each["metadata"]["name"] == "monopod-query"
    ]
    accounts = {each["name"] for each in binding["subjects"] if each["kind"] == "ServiceAccount"}
    assert accounts == {"people", "deploy"}


def test_groups_of_readers_get_the_reading_rights_alone() -> None:
    group = {"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "oidc:ml-team"}
    bound = [each for each in objects("na") if group in each.get("subjects", [])]
    assert {each["roleRef"]["name"] for each in bound} == {"monopod-read", "monopod-query"}


@BY_REGION
def test_only_what_comes_in_is_denied(region: str) -> None:
    policies = [each["spec"] for each in objects(region) if each["kind"] == "NetworkPolicy"]
    assert policies == [{"podSelector": {}, "policyTypes": ["Ingress"]}] * len(values(region)["namespaces"])


def test_a_gateway_is_made_where_regions_yaml_says_so() -> None:
    found = {name: [each for each in objects(name) if each["kind"] == "Gateway"] for name in REGIONS.regions}
    assert found["hk"] == []
    (eu,), (na,) = found["eu"], found["na"]
    (listener,) = eu["spec"]["listeners"]
    assert (eu["spec"]["gatewayClassName"], listener["port"], listener.get("hostname")) == ("envoy", 80, None)
    (server,) = na["spec"]["servers"]
    assert (na["spec"]["selector"], server["hosts"]) == ({"istio": "ingress"}, ["na.example.com"])
    assert (server["port"]["number"], server["tls"]) == (443, {"mode": "SIMPLE", "credentialName": "public-tls"})


def test_a_gateway_of_the_gateway_api_with_a_certificate_answers_https_alone() -> None:
    given = values("eu")
    given["gateway"] |= {"certificate": "public-tls", "host": "eu.example.com"}
    (gateway,) = [each for each in helm.rendered(CHART, given) if each["kind"] == "Gateway"]
    (listener,) = gateway["spec"]["listeners"]
    assert (listener["protocol"], listener["port"], listener["hostname"]) == ("HTTPS", 443, "eu.example.com")
    assert listener["tls"]["certificateRefs"] == [{"kind": "Secret", "name": "public-tls"}]


def test_the_buffers_are_those_that_monopod_gateway_prints() -> None:
    for name in ("hk", "eu"):
        planned = gateway_plan(REGIONS.regions[name])
        assert planned is not None
        (printed,) = documents(render_gateway(planned))
        (made,) = [each for each in objects(name) if each["kind"] == printed["kind"]]
        assert made["spec"] == printed["spec"]
        assert printed["metadata"].items() <= made["metadata"].items()


def test_a_release_in_another_namespace_than_its_accounts_is_refused() -> None:
    ended = helm.run("template", "cluster", CHART, "--kube-version", helm.KUBERNETES, "-n", "default", values=values("hk"))
    assert "give helm --namespace monopod --create-namespace" in ended.stderr


def _set(*path: Any) -> Callable[[dict[str, Any]], None]:
    *parents, last, value = path

    def change(found: Any) -> None:
        for part in parents:
            found = found[part]
        found[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("namespaces", 0, "name", "Like"), "does not match pattern"),
        (_set("namespaces", 0, "podSecurity", "baseline"), "/namespaces/0/podSecurity"),
        (_set("namespaces", 0, "account", "admin"), "/namespaces/0/account"),
        (_set("namespaces", 0, "owner", "ann"), "owner"),
        (_set("quota", "limits.everything", "1"), "limits.everything"),
        (_set("quota", "pods", 200), "/quota/pods"),
        (_set("quota", "requests.memory", "much"), "/quota/requests.memory"),
        (_set("rights", "deploy", 0, "verbs", ["*"]), "/rights/deploy/0/verbs/0"),
        (_set("rights", "deploy", 0, "resources", ["*"]), "/rights/deploy/0/resources/0"),
        (_set("rights", "admin", []), "admin"),
        (_set("accounts", "names", ["root"]), "/accounts/names/0"),
        (_set("gateway", "routing", "nginx"), "/gateway/routing"),
        (_set("gateway", "class", ""), "/gateway/class"),
        (_set("gateway", "host", "a host"), "/gateway/host"),
        (_set("gateway", "buffers", 0, "kind", "Secret"), "/gateway/buffers/0/kind"),
        (_set("gateway", "buffers", 0, "apiVersion", "v1"), "/gateway/buffers/0/apiVersion"),
        (_set("gateway", "buffers", 0, "spec", "connection", "bufferLimit", "16Mi"), "/spec/connection/bufferLimit"),
        (_set("gateway", "buffers", 0, "spec", "targetRefs", 0, "kind", "Service"), "/spec/targetRefs/0/kind"),
        (_set("namespaces", 0, "labels", {"a label": "x"}), "a label"),
        (_set("gateway", "selector", {"istio": "two words"}), "/gateway/selector/istio"),
        (_set("prometheus", "namespace", "*"), "/prometheus/namespace"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place(change: Callable[[dict[str, Any]], None], told: str) -> None:
    given = values("eu")
    change(given)
    said = helm.refusal(CHART, given)
    assert told in said


@pytest.mark.parametrize("region", ["hk", "eu", "na"])
def test_an_api_server_takes_every_object(region: str, eu: Cluster) -> None:
    """The simulated region knows all kinds, and runs no gateway. Each object is sent as a dry run, in its own namespace."""
    given = values(region)
    given["gateway"] |= {"create": True, "class": "envoy", "selector": {"istio": "ingress"}}
    found = [each for each in helm.rendered(CHART, given) if each["kind"] != "Namespace"]
    assert {each["kind"] for each in found} >= {"Role", "RoleBinding", "ServiceAccount", "NetworkPolicy", "Gateway"}
    for each in found:
        each["metadata"]["namespace"] = "default"
    assert [words for each in found if (words := eu.refusal(each))] == []
