"""docs/cluster.md from its first command to its last on a real cluster, and what becomes of a service when the chart goes.

The tests stand in the order of a cluster's life, and each needs those before it: one installation and one service serve all.
"""

import base64
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from conf.base.object_references import path
from conf.base.yaml_nodes import documents
from tests import waiting
from tests.charts import helm
from tests.charts.manual import Desk, commands
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.gateways import ENVOY_GATEWAY
from tests.conf.rollout.images import image
from tests.prerequisites import program
from tests.running import ROOT, get, post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]

ACCOUNTS, USER, OTHER, AB = "monopod", "charts-a", "charts-b", "charts-ab"
NAMESPACES = (ACCOUNTS, USER, OTHER, AB)
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
RELEASE = ("--namespace", ACCOUNTS)
BLANK_DIGIT = {"data": [[[[0.0] * 8] * 8]]}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, hk: Cluster, eu: Cluster) -> Iterator[Desk]:
    """A checkout of a service beside the charts. No namespace of the chart is there but one, which was made by hand."""
    program("kubectl", "kubernetes-client")
    folder = tmp_path_factory.mktemp("desk") / "service"
    mine = Checkout(folder, USER, {"hk": hk.context, "eu": eu.context}, "digits")
    (folder / "charts").symlink_to(ROOT / "charts")
    write_users(folder, USER, OTHER)
    words = {
        "http://hk.example.com": mine.gateway.url,
        "registry.example.com/like/demo:1": image("1"),
        "like/demo": f"{USER}/digits",
        "~/.kube": str(folder / "private"),
        "-context hk": f"-context {hk.context}",
    }
    made = Desk(folder, words)
    made.monopod_is(mine.regions_file, f"sed 's/name: ab-test/name: {AB}/'")
    left = [f"/api/v1/namespaces/{name}" for name in forget(hk)]  # by a run that was killed
    waiting.until(lambda: not any(map(hk.find, left)), 300, pause=0.2)
    hk.by_hand("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}})
    yield made
    forget(hk)


def write_users(folder: Path, *users: str) -> None:
    """Write regions.yaml anew with some users. The last of them may open ports of the nodes."""
    found = json.loads((folder / "regions.yaml").read_text())
    found["users"] = {name: {"use_srv": name == OTHER} for name in users}
    found["regions"]["hk"]["gateway"].pop("buffer_limit", None)  # the gateway is that of other tests too
    found["regions"]["hk"]["quota"] = {"pods": 20, "cpu": 4}
    (folder / "regions.yaml").write_text(json.dumps(found))


def forget(cluster: Cluster) -> list[str]:
    """Begin to delete everything that the chart and its services left, and return the namespaces that were there."""
    helm.run("uninstall", "cluster", *RELEASE, context=cluster.context)
    with suppress(ApiException, DynamicApiError):
        cluster.ask("delete", f"{RBAC}/monitoring/roles/monopod-query")
    there = [name for name in NAMESPACES if cluster.find(f"/api/v1/namespaces/{name}")]
    for name in there:
        cluster.ask("delete", f"/api/v1/namespaces/{name}")
    return there


def labels(cluster: Cluster, namespace: str) -> dict[str, str]:
    found: dict[str, str] = cluster.ask("get", f"/api/v1/namespaces/{namespace}")["metadata"]["labels"]
    return found


def claims(kubeconfig: Path) -> dict[str, Any]:
    """Return what the token of a kubeconfig says of itself: whose it is, and from when to when it holds."""
    (found,) = documents(kubeconfig.read_text())
    payload = found["users"][0]["user"]["token"].split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said


def pods(cluster: Cluster) -> list[str]:
    return [pod["metadata"]["uid"] for pod in cluster.ask("get", path("Pod", USER))["items"]]


def serves() -> bool:
    return post_json(f"{ENVOY_GATEWAY.url}/api/{USER}/digits", BLANK_DIGIT)[0] == 200


def test_the_values_are_shown_before_anything_is_changed(desk: Desk, hk: Cluster) -> None:
    (show,) = commands("## 2.")
    assert f"name: {USER}" in desk.type(show)
    assert hk.find(f"/api/v1/namespaces/{USER}") is None


def test_a_namespace_that_was_made_by_hand_stops_the_installation_in_words(desk: Desk, hk: Cluster) -> None:
    install = commands("## 3.")[0]
    said = desk.type(install, status=1)
    assert f'Namespace "{OTHER}"' in said
    assert "exists and cannot be imported into the current release" in said
    assert hk.find(f"/api/v1/namespaces/{USER}") is None


def test_it_is_taken_in_when_that_is_asked_for(desk: Desk, hk: Cluster) -> None:
    _, adopt, namespaces, history = commands("## 3.")
    desk.type(adopt)
    assert all(name in desk.type(namespaces) for name in (USER, OTHER, AB))
    assert "deployed" in desk.type(history)
    enforced = "pod-security.kubernetes.io/enforce"
    assert [labels(hk, name)[enforced] for name in (USER, OTHER, AB)] == ["restricted", "privileged", "restricted"]


def test_the_kubeconfigs_work_for_as_long_as_they_say(desk: Desk) -> None:
    private, *asking = commands("## 4.")
    for command, who, hours in zip(asking, ("deploy", "ab", "people"), (720, 720, 24), strict=True):
        said = desk.type(f"{private}; {command}")
        granted = claims(desk.folder / f"private/hk-{who}.yaml")
        assert granted["sub"] == f"system:serviceaccount:{ACCOUNTS}:{who}"
        assert granted["exp"] - granted["iat"] == hours * 3600
        assert f"the token of {who} holds until {datetime.fromtimestamp(granted['exp'], UTC):%Y-%m-%d %H:%M} UTC" in said
        assert "limit of its own" not in said
    written = list((desk.folder / "private").iterdir())
    assert {file.stat().st_mode & 0o077 for file in written} == {0}
    assert all(file.read_text().startswith("apiVersion: v1") for file in written)


def test_users_grey_and_ab_are_apart_and_people_evict_a_pod_at_most(desk: Desk) -> None:
    def may(who: str, *words: str) -> bool:
        asked = f"KUBECONFIG=~/.kube/hk-{who}.yaml kubectl auth can-i {' '.join(words)}"
        said = desk.type(f"{asked} || [ $? = 1 ]").strip()  # kubectl ends with 1 for a no, and for failures too
        assert re.fullmatch("yes|no( - .*)?", said), said
        return said == "yes"

    assert [may(who, "patch deployments.apps -n", USER) for who in ("deploy", "ab", "people")] == [True, False, False]
    assert [may(who, "patch deployments.apps -n", AB) for who in ("deploy", "ab", "people")] == [False, True, False]
    assert [may(who, "get pods/log -n", USER) for who in ("deploy", "ab", "people")] == [True, False, True]
    assert [may(who, "create pods --subresource=eviction -n", USER) for who in ("deploy", "ab", "people")] == [
        False,
        False,
        True,
    ]
    assert [may("people", f"get pods --subresource={part} -n", USER) for part in ("proxy", "exec")] == [False, False]
    assert may("people", "get services/http:prometheus:9090 --subresource=proxy -n monitoring")
    assert not may("people", "get services/alertmanager:9093 --subresource=proxy -n monitoring")
    for who in ("deploy", "ab", "people"):
        assert not any(may(who, "get secrets -n", name) for name in NAMESPACES)
        assert not may(who, "create serviceaccounts --subresource=token -n", ACCOUNTS)
        assert not may(who, "create pods -n", ACCOUNTS)


def test_whoever_may_not_make_a_token_is_told_which_right_it_takes(desk: Desk) -> None:
    said = desk.type("KUBECONFIG=~/.kube/hk-people.yaml monopod kubeconfig --region hk --for deploy", status=12)
    assert "the right to create serviceaccounts/token in the namespace monopod" in said


def test_the_first_service_is_deployed_with_the_jobs_kubeconfig_and_answers(desk: Desk) -> None:
    assert commands("## 6.")[0].endswith("git push")
    _, deploy, ask, status = commands("## 6.")
    assert "hk, prod: deployed 1" in desk.type(deploy)
    assert '"version":"1"' in desk.type(ask).replace(" ", "")
    assert "good" in desk.type(status)
    assert serves()


def test_the_doctor_says_that_all_is_well(desk: Desk) -> None:
    for command in commands("## 7."):
        said = desk.type(command)
        assert "WRONG" not in said
        assert "rights: all" in said


def test_a_user_who_leaves_the_list_keeps_namespace_roles_and_policy_and_loses_the_job(desk: Desk, hk: Cluster) -> None:
    before = pods(hk)
    write_users(desk.folder, OTHER)
    desk.type(commands("## 3.")[0])
    assert pods(hk) == before
    assert serves()
    assert labels(hk, USER)["app.kubernetes.io/managed-by"] == "Helm"
    assert hk.find(f"{RBAC}/{USER}/roles/monopod-deploy")
    assert hk.find(path("NetworkPolicy", USER, "default-deny-ingress"))
    assert hk.find(f"{RBAC}/{USER}/rolebindings/monopod-deploy") is None
    deploy = f"KUBECONFIG=~/.kube/hk-deploy.yaml monopod deploy --region hk --image {image('2')}"
    assert "is not one of the users" in desk.type(deploy, status=1)


def test_a_rollback_takes_the_user_back(desk: Desk, hk: Cluster) -> None:
    before = pods(hk)
    helm.done("rollback", "cluster", *RELEASE, context=hk.context)
    assert hk.find(f"{RBAC}/{USER}/rolebindings/monopod-deploy")
    desk.type("KUBECONFIG=~/.kube/hk-deploy.yaml monopod doctor --region hk --track prod")
    assert pods(hk) == before


def test_an_uninstallation_leaves_the_services_and_an_installation_takes_them_back(desk: Desk, hk: Cluster) -> None:
    before = pods(hk)
    helm.done("uninstall", "cluster", *RELEASE, context=hk.context)
    assert pods(hk) == before
    assert serves()
    assert all(hk.find(f"{RBAC}/{name}/roles/monopod-read") for name in (USER, OTHER, AB))
    assert hk.find(path("ServiceAccount", ACCOUNTS, "deploy")) is None
    assert "install charts/cluster" in desk.type("monopod kubeconfig --region hk --for deploy", status=14)
    write_users(desk.folder, USER, OTHER)
    desk.type(commands("## 3.")[0])
    desk.type(commands("## 4.")[1])
    desk.type(commands("## 7.")[0])
    assert pods(hk) == before
    assert get(f"{ENVOY_GATEWAY.url}/api/{USER}/digits/v2")[0] == 200
