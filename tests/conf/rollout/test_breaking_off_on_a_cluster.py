"""Releases that break off: killed, interrupted, without an API server, or beside another. The next release goes on."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest

from conf.base.object_references import path
from conf.remote.cluster import Cluster as Asking
from conf.rollout import preflight, release
from conf.rollout.targets import GatewayAddress, Target
from tests.conf import kubeconfigs
from tests.conf.cluster import Cluster
from tests.conf.rollout import ready_pods
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout, Started
from tests.conf.rollout.service_state import kinds, pods, status_row, until
from tests.conf.rollout.tcp_proxy import TcpProxy
from tests.serving.http_server import http_server

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


@pytest.fixture
def serving(make_checkout: MakeCheckout) -> Checkout:
    """A service whose first version serves, set so that the next has more objects and waits for a node that no cluster has.

    It goes away with its namespace.
    """
    mine = make_checkout("eu", name=f"digits-{uuid4().hex[:6]}")
    mine.run("deploy", tag="1")
    mine.write_value(node_labels=UNUSED_LABEL, max_replicas=2)
    return mine


def halfway(checkout: Checkout, *words: str, tag: str = "2", **more: str) -> Started:
    """Start a deploy that has applied everything and waits for its pods."""
    deploy = checkout.start("deploy", "--timeout", "240", *words, tag=tag, more=more)
    deploy.wait_for("no node takes it")
    return deploy


def forget_lease(cluster: Cluster, checkout: Checkout) -> None:
    """Delete a lease that would run out in 20 s. One other test waits for that."""
    cluster.ask("delete", path("Lease", checkout.user, f"monopod-{checkout.name}"))


def release_numbers(cluster: Cluster, checkout: Checkout) -> list[tuple[int, str, str]]:
    found = cluster.ask("get", path("ConfigMap", checkout.user, f"monopod-{checkout.name}"))
    return [(each["number"], each["version"], each["state"]) for each in json.loads(found["data"]["releases"])]


def test_after_a_killed_job_the_old_version_serves_and_the_next_deploy_goes_on(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    job = halfway(serving)
    job.process.kill()
    job.process.wait()
    assert "PodDisruptionBudget" in kinds(eu, serving.user, serving.name)
    row = status_row(serving, status=1)
    assert (row["runs"], row["state"].partition(" by ")[0]) == ({"1": 1}, "being changed to 2")
    assert before.items() <= pods(eu, serving).items()

    serving.write_value()
    begin = time.monotonic()
    done = serving.run("deploy", tag="3")
    assert "waiting: ann (" in done.out
    assert "the change to 2 was broken off" in done.out
    assert f"removed PodDisruptionBudget {serving.user}/{serving.name}" in done.out
    assert time.monotonic() - begin < 100  # the lease of the killed job lasts for 20 s
    assert "PodDisruptionBudget" not in kinds(eu, serving.user, serving.name)
    assert release_numbers(eu, serving) == [(1, "1", "good"), (2, "2", "begun"), (3, "3", "good")]
    assert status_row(serving)["runs"] == {"3": 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_deploy_says_what_goes_on_and_rollback_returns_at_once(
    serving: Checkout, eu: Cluster, number: int
) -> None:
    before = pods(eu, serving)
    job = halfway(serving)
    job.process.send_signal(number)
    text = job.wait_exit(130)
    assert "stopped in eu: Kubernetes goes on" in text
    assert "Traceback" not in text
    row = status_row(serving, status=1)
    assert (row["runs"], row["state"]) == ({"1": 1}, "the change to 2 was broken off")
    done = serving.run("rollback")
    assert "waiting: " not in done.out  # the lease of the deploy before was released
    assert "returning to 1, deployed at 20" in done.out
    assert pods(eu, serving) == before
    assert "PodDisruptionBudget" not in kinds(eu, serving.user, serving.name)


def test_a_deploy_that_was_killed_when_all_was_ready_counts_as_good(serving: Checkout, eu: Cluster) -> None:
    job = halfway(serving)
    job.process.kill()
    job.process.wait()
    forget_lease(eu, serving)
    with labelled_node(eu):
        until(lambda: status_row(serving, status=None)["runs"] == {"2": 1})
    serving.run("deploy", "--timeout", "6", tag="3", status=24)
    assert release_numbers(eu, serving)[1:] == [(2, "2", "good"), (3, "3", "undone")]
    assert status_row(serving)["runs"] == {"2": 1}
    assert "eu, prod: skipped: 3 was undone there" in serving.run("rollback").out
    serving.run("rollback", "--to", "1")
    assert status_row(serving)["runs"] == {"1": 1}


def test_a_release_that_was_broken_off_counts_as_good_only_where_all_of_it_is_proven(serving: Checkout, eu: Cluster) -> None:
    job = halfway(serving)
    job.process.kill()
    job.process.wait()
    forget_lease(eu, serving)

    def counts_as(url: str = "") -> str:
        there = Target(Asking(eu.context), serving.user, serving.name, gateway=GatewayAddress(url, "*") if url else None)
        last = preflight.settle_interrupted(there, preflight.load_history(there, "")).last
        return last.state if last else ""

    assert counts_as() == "begun"
    with labelled_node(eu):
        until(lambda: counts_as() == "good")
        assert counts_as("http://127.0.0.1:1") == "begun"
        for version, state in (("1", "begun"), ("2", "good")):
            with http_server(lambda *_, version=version: (200, json.dumps({"version": version}).encode())) as url:
                assert counts_as(url) == state
        eu.by_hand(path("HTTPRoute", serving.user, serving.name), {"spec": {"hostnames": ["example.com"]}})
        assert counts_as() == "good"  # a field that somebody added is not part of the release
        route = eu.ask("get", path("HTTPRoute", serving.user, serving.name))
        eu.by_hand(path("HTTPRoute", serving.user, serving.name), {"spec": {"rules": route["spec"]["rules"][:1]}})
        assert counts_as() == "begun"
    done = serving.run("deploy", "--timeout", "6", tag="3", status=24)
    assert "eu: returning to 1\n" in done.out
    assert release_numbers(eu, serving)[1:] == [(2, "2", "begun"), (3, "3", "undone")]
    assert status_row(serving)["runs"] == {"1": 1}


def test_a_short_loss_of_the_api_server_is_waited_out(
    serving: Checkout, eu: Cluster, proxy: TcpProxy, proxied_kubeconfig: str
) -> None:
    job = halfway(serving, KUBECONFIG=proxied_kubeconfig)
    proxy.cut()
    job.wait_for("cluster eu does not answer")
    time.sleep(3)
    proxy.restore()
    with labelled_node(eu):
        job.wait_exit(0)
    assert release_numbers(eu, serving) == [(1, "1", "good"), (2, "2", "good")]


def test_a_lost_api_server_ends_in_words_and_the_next_deploy_goes_on(
    serving: Checkout, eu: Cluster, proxy: TcpProxy, proxied_kubeconfig: str
) -> None:
    before = pods(eu, serving)
    job = halfway(serving, "--timeout", "8", KUBECONFIG=proxied_kubeconfig)
    proxy.cut()
    text = job.wait_exit(10)
    assert "failed: cluster eu does not answer" in text
    assert "is the network up, and the VPN?" in text
    assert "does not answer" in serving.run("deploy", tag="3", status=10, more={"KUBECONFIG": proxied_kubeconfig}).err
    assert "does not answer" in serving.run("status", status=1, more={"KUBECONFIG": proxied_kubeconfig}).out
    assert before.items() <= pods(eu, serving).items()
    forget_lease(eu, serving)
    serving.write_value()
    assert "going on from what it left" in serving.run("deploy", tag="3").out
    assert status_row(serving)["runs"] == {"3": 1}
    assert "PodDisruptionBudget" not in kinds(eu, serving.user, serving.name)


def test_a_release_whose_pods_are_ready_one_after_another_is_waited_for_however_many_there_are(
    make_checkout: MakeCheckout, eu: Cluster
) -> None:
    mine = make_checkout("eu", name="many")
    mine.write_value(replicas=3, cpu=20, node_labels=UNUSED_LABEL)  # a node takes one of these
    begin = time.monotonic()
    job = mine.start("deploy", "--timeout", "12", tag="1")
    with ExitStack() as nodes:
        for number in range(3):
            job.wait_for(f"{number} of 3 ready")
            time.sleep(5)
            nodes.enter_context(labelled_node(eu, number))
        assert "now version 1 in 3 pods" in job.wait_exit(0)
        assert time.monotonic() - begin > 12


def test_of_two_deploys_at_once_the_second_is_refused_or_waits(serving: Checkout, eu: Cluster) -> None:
    first = halfway(serving)
    second = serving.run("deploy", tag="3", status=16, more={"GITLAB_USER_LOGIN": "bob"})
    assert "has been deploying it since 20" in second.err
    assert "eu, prod: failed: ann (" in second.err
    assert "wait for its end (--wait 600 does)" in second.err
    waits = serving.start("deploy", "--wait", "60", tag="3", more={"GITLAB_USER_LOGIN": "bob"})
    waits.wait_for("waiting: ann (")
    with labelled_node(eu):
        first.wait_exit(0)
        waits.wait_exit(0)
    assert release_numbers(eu, serving) == [(1, "1", "good"), (2, "2", "good"), (3, "3", "good")]
    assert status_row(serving)["by"] == "bob"


def test_a_service_whose_history_was_deleted_is_found_and_can_still_be_restored(serving: Checkout, eu: Cluster) -> None:
    before = pods(eu, serving)
    eu.ask("delete", path("ConfigMap", serving.user, f"monopod-{serving.name}"))
    row = status_row(serving)
    assert (row["runs"], row["version"], row["state"]) == ({"1": 1}, "1", "good, found without a history")
    done = serving.run("deploy", "--timeout", "6", tag="2", status=24)
    assert "as before; now version 1 in 1 pod" in done.err
    assert pods(eu, serving) == before  # restored exactly: no pod was replaced
    serving.write_value()
    serving.run("deploy", tag="2")
    serving.run("rollback")
    assert status_row(serving)["runs"] == {"1": 1}


def test_a_history_that_is_deleted_while_a_deploy_works_is_written_anew(serving: Checkout, eu: Cluster) -> None:
    job = halfway(serving)
    eu.ask("delete", path("ConfigMap", serving.user, f"monopod-{serving.name}"))
    with labelled_node(eu):
        job.wait_exit(0)
    assert release_numbers(eu, serving) == [(1, "1", "good"), (2, "2", "good")]


def test_a_deploy_goes_on_when_nobody_reads_its_output_any_more(serving: Checkout, eu: Cluster) -> None:
    serving.write_value()
    with subprocess.Popen(
        serving.command("deploy", tag="2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=serving.command_environment({})
    ) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        job.stdout.readline()
        job.stdout.close()
        assert (job.wait(180), job.stderr.read()) == (0, b"")
    assert release_numbers(eu, serving) == [(1, "1", "good"), (2, "2", "good")]


def test_a_stop_waits_for_as_long_as_pods_may_drain(serving: Checkout, eu: Cluster) -> None:
    pod = path("Pod", serving.user, ready_pods.names(eu, serving)[0])
    eu.by_hand(pod, {"metadata": {"finalizers": ["example.com/drains"]}})
    end = threading.Timer(4, eu.by_hand, (pod, {"metadata": {"finalizers": None}}))
    waits = f"waiting until Deployment {serving.user}/{serving.name} is gone"
    there = Target(Asking(eu.context), serving.user, serving.name, pod_timeout=1)
    release.stop(there, lambda words: end.start() if words == waits else None)
    assert end.finished.is_set()
    assert kinds(eu, serving.user, serving.name) == set()


def test_a_deploy_after_a_broken_off_stop_waits_until_the_pods_have_drained(serving: Checkout, eu: Cluster) -> None:
    uid = next(iter(pods(eu, serving)))
    found = eu.ask("get", path("Pod", serving.user), labelSelector=f"app.kubernetes.io/name={serving.name}")["items"]
    pod = next(each["metadata"]["name"] for each in found if each["metadata"]["uid"] == uid)
    eu.by_hand(path("Pod", serving.user, pod), {"metadata": {"finalizers": ["example.com/drains"]}})
    stop = serving.start("stop", "--yes")
    stop.wait_for("waiting until Deployment")
    stop.process.send_signal(signal.SIGINT)
    stop.wait_exit(130)
    assert status_row(serving, status=1)["state"] == "the change to nothing was broken off"
    serving.write_value()
    deploy = serving.start("deploy", tag="2")
    deploy.wait_for("waiting until Deployment")
    eu.by_hand(path("Pod", serving.user, pod), {"metadata": {"finalizers": None}})
    assert "deployed 2" in deploy.wait_exit(0)
    assert release_numbers(eu, serving) == [(2, "", "begun"), (3, "2", "good")]
    assert "no earlier good release" in serving.run("rollback", status=17).err


@pytest.fixture
def proxy(eu: Cluster) -> Iterator[TcpProxy]:
    found = TcpProxy(*kubeconfigs.address(eu.context))
    yield found
    found.close()


@pytest.fixture
def proxied_kubeconfig(eu: Cluster, proxy: TcpProxy, serving: Checkout) -> str:
    """Return the path of a kubeconfig that leads through the proxy."""
    return kubeconfigs.written(serving.folder / "kubeconfig", eu.context, port=proxy.port)


class labelled_node:
    """Give UNUSED_LABEL to a node for the length of a block. number: the node's place in the cluster's list."""

    def __init__(self, cluster: Cluster, number: int = 0):
        nodes = cluster.ask("get", "/api/v1/nodes")["items"]
        self._cluster, self._node = cluster, f"/api/v1/nodes/{nodes[number]['metadata']['name']}"

    def __enter__(self) -> None:
        self._cluster.by_hand(self._node, {"metadata": {"labels": UNUSED_LABEL}})

    def __exit__(self, *_: object) -> None:
        self._cluster.by_hand(self._node, {"metadata": {"labels": dict.fromkeys(UNUSED_LABEL)}})
