"""Obstacles to a release: rights, credentials, quotas, policies, other people's objects and names.

Simulated nodes are enough.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from conf.base.object_references import APPLIED, path
from tests.conf import accounts, kubeconfigs
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, pods, status_row, until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@pytest.fixture
def serving(make_checkout: MakeCheckout) -> Checkout:
    """A service of forty letters, whose first version serves. It goes away with its namespace."""
    mine = make_checkout("eu", name=f"a-service-whose-name-has-forty-{uuid4().hex[:9]}")
    assert len(mine.name) == 40
    mine.run("deploy", tag="1")
    return mine


@pytest.fixture
def token(eu: Cluster, user: str) -> Callable[[str], str]:
    """Return a function that makes a token of a ServiceAccount."""

    return partial(accounts.token, eu, user)


def named(kind: str, name: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def serves_on(cluster: Cluster, checkout: Checkout, before: dict[str, int]) -> None:
    """Assert that the same pods as before are there, of version 1."""
    assert pods(cluster, checkout) == before
    row = status_row(checkout)
    assert (row["version"], row["runs"], row["state"].partition(",")[0]) == ("1", {"1": len(before)}, "good")


def test_a_namespace_that_is_missing_is_named_with_its_cure(serving: Checkout) -> None:
    serving.user = "rollout-test-nobody"
    serving.write_value()
    done = serving.run("deploy", tag="2", status=13)
    cure = f"kubectl --context {serving.contexts['eu']} create namespace rollout-test-nobody"
    assert f"eu, prod: failed: cluster {serving.contexts['eu']} has no namespace rollout-test-nobody: {cure}" in done.err
    assert "eu, prod: not there" in serving.run("stop", "--yes", status=17).text


def test_an_account_without_rights_is_told_which_and_changes_nothing(
    serving: Checkout, eu: Cluster, token: Callable[[str], str], tmp_path: Path
) -> None:
    before = pods(eu, serving)
    with eu.having(path("ServiceAccount", serving.user), named("ServiceAccount", "nobody")), ExitStack() as stack:
        config = kubeconfigs.written(tmp_path / "kubeconfig", eu.context, token=token("nobody"))
        done = serving.run("deploy", tag="2", status=12, more={"KUBECONFIG": config})
        assert 'cannot get resource "leases"' in done.err
        assert "ask who runs it for this right" in done.err

        half = {"apiGroups": ["", "coordination.k8s.io"], "resources": ["configmaps", "leases"], "verbs": ["*"]}
        stack.enter_context(accounts.allowed(eu, serving.user, "nobody", [half]))
        done = serving.run("deploy", tag="2", status=12, more={"KUBECONFIG": config})
        assert "cannot list resource" in done.err
        assert "eu, ab: cluster eu refuses" in serving.run("status", status=1, more={"KUBECONFIG": config}).out
    serves_on(eu, serving, before)


def test_the_rights_that_the_manual_names_are_enough_for_everything(
    make_checkout: MakeCheckout, eu: Cluster, token: Callable[[str], str], tmp_path: Path
) -> None:
    rules = accounts.of_the_manual()
    mine = make_checkout("eu", name="modest")
    with (
        eu.having(path("ServiceAccount", mine.user), named("ServiceAccount", "deployer")),
        accounts.allowed(eu, mine.user, "deployer", rules),
    ):
        mine.environment["KUBECONFIG"] = kubeconfigs.written(tmp_path / "kubeconfig", eu.context, token=token("deployer"))
        mine.write_value(replicas=2, max_replicas=3)
        mine.run("deploy", tag="1")
        mine.write_value(node_labels=UNUSED_LABEL)
        mine.run("deploy", "--timeout", "6", tag="2", status=24)
        mine.write_value()
        mine.run("diff", tag="2", status=3)
        mine.run("deploy", tag="2")
        mine.run("rollback")
        assert set(status_row(mine)["runs"]) == {"1"}
        mine.run("stop", "--yes")
    assert kinds(eu, mine.user, mine.name) == set()


def test_credentials_that_were_withdrawn_are_told_apart_from_missing_rights(
    serving: Checkout, eu: Cluster, token: Callable[[str], str], tmp_path: Path
) -> None:
    before = pods(eu, serving)
    with eu.having(path("ServiceAccount", serving.user), named("ServiceAccount", "former")):
        config = kubeconfigs.written(tmp_path / "kubeconfig", eu.context, token=token("former"))
    done = serving.run("deploy", tag="2", status=11, more={"KUBECONFIG": config})
    assert "eu does not know these credentials" in done.err
    assert "eu, prod: cluster" in serving.run("status", status=1, more={"KUBECONFIG": config}).out
    done = serving.run("deploy", tag="2", status=11, more={"KUBECONFIG": str(tmp_path / "nothing")})
    assert "context 'eu' cannot be used" in done.err
    serves_on(eu, serving, before)


def test_a_quota_that_is_spent_is_told_in_figures_before_anything_is_changed(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    count = len(_all_pods(eu, serving.user))
    quota = named("ResourceQuota", "tight", spec={"hard": {"pods": str(count)}})
    with eu.having(f"/api/v1/namespaces/{serving.user}/resourcequotas", quota):
        until(lambda: "used" in str(eu.ask("get", f"/api/v1/namespaces/{serving.user}/resourcequotas/tight").get("status")))
        done = serving.run("deploy", tag="2", status=19)
        serving.run("deploy", tag="1")  # no pod of it begins
    assert f"quota is spent: tight allows {count} pods, others use {count - len(before)} of it" in done.err
    assert "a roll-out needs room for one pod more" in done.err
    serves_on(eu, serving, before)


def test_a_secret_that_is_missing_is_told_with_the_line_that_makes_it_before_anything_is_changed(
    serving: Checkout, eu: Cluster
) -> None:
    before = pods(eu, serving)
    serving.write_value(env_secret="redis-login")
    line = f"create secret generic redis-login --namespace {serving.user} --from-literal=KEY=VALUE"
    done = serving.run("deploy", tag="2", status=19)
    assert f"namespace {serving.user} has no Secret redis-login" in done.err
    assert f"kubectl --context {serving.contexts['eu']} {line}" in done.err
    serves_on(eu, serving, before)
    secret = named("Secret", "redis-login", stringData={"KEY": "VALUE"})
    with eu.having(f"/api/v1/namespaces/{serving.user}/secrets", secret):
        serving.run("deploy", tag="2")


@pytest.mark.parametrize(
    ("kind", "volume", "cure"),
    [
        ("ConfigMap", "configMap: {name: nothing}", "create configmap nothing --namespace {}"),
        ("PersistentVolumeClaim", "persistentVolumeClaim: {claimName: nothing}", "create the claim there, or correct its name"),
    ],
)
def test_an_object_of_pod_yaml_that_is_missing_is_told_with_its_namespace_before_anything_is_changed(
    serving: Checkout, eu: Cluster, kind: str, volume: str, cure: str
) -> None:
    before, file = pods(eu, serving), serving.folder / "pod.yaml"
    mounts = "containers: [{name: model, volumeMounts: [{name: own, mountPath: /mnt/own}]}]"
    file.write_text(f"spec:\n  {mounts}\n  volumes: [{{name: own, {volume}}}]\n")
    try:
        done = serving.run("deploy", tag="2", status=19)
    finally:
        file.unlink()
    assert f"namespace {serving.user} has no {kind} nothing, without which no pod starts" in done.err
    assert cure.format(serving.user) in done.err
    serves_on(eu, serving, before)


def test_a_quota_that_cannot_be_foreseen_is_told_in_figures_and_undone(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    hard = {"pods": str(len(_all_pods(eu, serving.user)))}
    quota = named("ResourceQuota", "tight", spec={"hard": hard, "scopes": ["NotTerminating"]})
    with eu.having(f"/api/v1/namespaces/{serving.user}/resourcequotas", quota):
        until(lambda: "used" in str(eu.ask("get", f"/api/v1/namespaces/{serving.user}/resourcequotas/tight").get("status")))
        done = serving.run("deploy", "--timeout", "6", tag="2", status=25)
    assert "quota is spent: asked for pods=1" in done.err
    assert "a roll-out needs room for one pod more" in done.err
    assert status_row(serving)["state"] == "2 was undone"
    assert pods(eu, serving) == before


def test_a_pod_that_no_node_takes_is_told_within_ten_seconds_and_undone_in_time(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    serving.write_value(node_labels=UNUSED_LABEL)
    deploy = serving.start("deploy", "--timeout", "10", tag="2")
    deploy.wait_for("0 of 1 ready")  # from here on it waits for the pod
    assert deploy.wait_for("no node takes it: ") < 10
    text = deploy.wait_exit(24)
    assert "match Pod's node affinity/selector" in text
    assert "as before; now version 1 in 1 pod" in text
    assert pods(eu, serving) == before


def test_a_release_of_which_a_part_is_refused_halfway_is_undone_whole(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    serving.write_value(node_labels=UNUSED_LABEL)  # or a new pod could be ready, and an old one gone, before the refusal
    rule = "request.dryRun || object.metadata.labels.version != '2'"
    with _policy(eu, serving.user, ["httproutes"], rule, "no route of version 2"):
        done = serving.run("deploy", tag="2", status=14)
    assert "undone: cluster eu does not accept it" in done.err
    assert "no route of version 2" in done.err
    assert "as before; now version 1 in 1 pod" in done.err
    for kind in kinds(eu, serving.user, serving.name):
        found = eu.ask("get", path(kind, serving.user, serving.name))
        assert found["metadata"]["labels"]["version"] == "1", kind
    assert pods(eu, serving) == before


def test_an_older_release_that_is_no_longer_allowed_is_not_returned_to(serving: Checkout, eu: Cluster) -> None:
    serving.run("deploy", tag="2")
    before = pods(eu, serving)
    with _policy(eu, serving.user, ["networkpolicies"], "object.metadata.labels.version != '1'", "version 1 is recalled"):
        done = serving.run("rollback", status=14)
    assert "failed: cluster eu does not accept it" in done.err
    assert "version 1 is recalled" in done.err
    assert "now version 2 in 1 pod" in done.err
    assert (pods(eu, serving), status_row(serving)["state"]) == (before, "good")


def test_another_projects_name_is_refused_with_who_and_since_when_until_it_is_taken_over(
    serving: Checkout, eu: Cluster
) -> None:
    before = pods(eu, serving)
    theirs = {"CI_PROJECT_PATH": "zoo/animals", "CI_COMMIT_REF_NAME": "dogs"}
    for command in ("deploy", "rollback", "stop --yes"):
        done = serving.run(*command.split(), tag="2" if command == "deploy" else "", status=15, more=theirs)
        assert "to branch cats of like/models since 20" in done.err
        assert "this is branch dogs of zoo/animals" in done.err
    serves_on(eu, serving, before)
    serving.run("deploy", "--take-over", tag="2", more=theirs)
    assert status_row(serving)["holder"] == "branch dogs of zoo/animals"
    assert "belongs to branch dogs" in serving.run("deploy", tag="3", status=15).err
    serving.run("deploy", "--take-over", tag="3")


def test_a_first_release_that_failed_leaves_its_name_to_others(make_checkout: MakeCheckout) -> None:
    mine = make_checkout("eu", name="failing")
    mine.write_value(node_labels=UNUSED_LABEL)
    mine.run("deploy", "--timeout", "6", tag="1", status=24)
    assert status_row(mine)["holder"] == ""
    mine.write_value()
    theirs = {"CI_PROJECT_PATH": "zoo/animals", "CI_COMMIT_REF_NAME": "dogs"}
    mine.run("deploy", tag="1", more=theirs)
    assert status_row(mine)["holder"] == "branch dogs of zoo/animals"


def test_an_object_that_others_made_is_neither_taken_nor_touched(make_checkout: MakeCheckout, eu: Cluster) -> None:
    mine = make_checkout("eu", name="theirs")
    ports = {"ports": [{"port": 80}], "selector": {"app": "theirs"}}
    with eu.having(path("Service", mine.user), named("Service", "theirs", spec=ports)) as made:
        for words in ((), ("--take-over",)):
            done = mine.run("deploy", *words, tag="1", status=19)
            assert f"Service {mine.user}/theirs is there already" in done.err
            assert "made by kubectl-create since 20" in done.err
        found = eu.ask("get", path("Service", mine.user, "theirs"))
        assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        assert kinds(eu, mine.user, "theirs") == {"Service"}


def test_a_deployment_that_somebody_paused_is_left_until_it_is_resumed(serving: Checkout, eu: Cluster) -> None:
    where = path("Deployment", serving.user, serving.name)
    eu.by_hand(where, {"spec": {"paused": True}})
    done = serving.run("deploy", tag="2", status=19)
    cure = f"kubectl --context {eu.context} rollout resume -n {serving.user} deployment/{serving.name}"
    assert f"is paused by hand: {cure}" in done.err
    eu.by_hand(where, {"spec": {"paused": None}})
    serving.run("deploy", tag="2")


def test_what_somebody_edited_is_set_right_and_what_they_added_is_named_and_left(serving: Checkout, eu: Cluster) -> None:
    where = path("Deployment", serving.user, serving.name)
    extra = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}
    eu.by_hand(where, {"spec": {"replicas": 3, "template": extra}})
    done = serving.run("deploy", tag="1")
    assert "kubectl-edit has set what this release" in done.out
    assert ": spec.template.metadata.annotations." in done.out
    found = eu.ask("get", where)["spec"]
    assert found["replicas"] == 1
    assert found["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] == "now"


def _policy(cluster: Cluster, namespace: str, resources: list[str], rule: str, words: str) -> ExitStack:
    """Let the API server refuse objects that break a rule, in one namespace, for the length of a block."""
    version, name = "admissionregistration.k8s.io/v1", f"monopod-test-{namespace}-{resources[0]}"
    every = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": resources}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    matched = {"resourceRules": [every], "namespaceSelector": where}
    check = {"expression": rule, "message": words}
    policy = named("ValidatingAdmissionPolicy", name, version, spec={"matchConstraints": matched, "validations": [check]})
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": where}}
    stack = ExitStack()
    stack.enter_context(cluster.having(POLICIES, policy))
    stack.enter_context(cluster.having(BINDINGS, named("ValidatingAdmissionPolicyBinding", name, version, spec=bound)))
    labels = {"labels": {"version": "2" if "'2'" in rule else "1"}}
    until(lambda: words in _refusal(cluster, resources[0], namespace, labels, dry="request.dryRun" not in rule))
    return stack


def _refusal(cluster: Cluster, plural: str, namespace: str, labels: dict[str, Any], dry: bool) -> str:
    """Return why an object with these labels is refused, "" where it is not. Policies come into force after a moment."""
    kind = next(kind for kind in APPLIED if path(kind, namespace).endswith(f"/{plural}"))
    version = path(kind, namespace).partition("/namespaces/")[0].removeprefix("/apis/")
    spec: dict[str, Any] = {"podSelector": {}} if kind == "NetworkPolicy" else {"parentRefs": [{"name": "x"}]}
    item = {"apiVersion": version, "kind": kind, "metadata": {"name": "probe", "namespace": namespace, **labels}, "spec": spec}
    if dry:
        return cluster.refusal(item)
    try:
        cluster.by_hand(path(kind, namespace), item)
    except Exception as error:
        return str(error)
    cluster.ask("delete", path(kind, namespace, "probe"))
    return ""


def _all_pods(cluster: Cluster, namespace: str) -> list[Any]:
    """Return the pods of a namespace, once none of them is being deleted."""
    found: list[Any] = []

    def settled() -> bool:
        found[:] = cluster.ask("get", path("Pod", namespace))["items"]
        return not any("deletionTimestamp" in pod["metadata"] for pod in found)

    until(settled)
    return found


def test_an_autoscaler_that_somebody_made_is_not_handed_to_keda(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": serving.name}
    spec = {"scaleTargetRef": target, "maxReplicas": 2}
    theirs = named("HorizontalPodAutoscaler", serving.name, "autoscaling/v2", spec=spec)
    with eu.having(path("HorizontalPodAutoscaler", serving.user), theirs):
        serving.write_value(max_replicas=3, autoscale_by="queue")
        done = serving.run("deploy", tag="2", status=19)
        assert f"HorizontalPodAutoscaler {serving.user}/{serving.name} is there already and is not ours" in done.err
        serves_on(eu, serving, before)
