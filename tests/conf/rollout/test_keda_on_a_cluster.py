"""A service that KEDA scales by its queue: its pods stay without a series, and only KEDA takes off the finalizer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from conf.base.object_references import Item, path
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, pods, until
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400), pytest.mark.usefixtures("images")]
PROMETHEUS = path("Service", "monitoring", "prometheus")
OPERATOR = path("Deployment", "keda", "keda-operator")


@pytest.fixture
def scaled(make_checkout: MakeCheckout, hk: Cluster) -> Checkout:
    """A service of one to three pods. No Prometheus reads its metrics, because its region names no label of one."""
    if hk.find(OPERATOR) is None or hk.find(path("Deployment", "keda", "keda-metrics-apiserver")) is None:
        missing("KEDA is not on this cluster: install its operator and its metrics API server in the namespace keda")
    if hk.find(PROMETHEUS) is None:  # without a Prometheus the pods would stay in any case
        missing("Prometheus is not on this cluster: have it answer at prometheus.monitoring:9090")
    mine = make_checkout("hk")
    mine.write_value(replicas=1, max_replicas=3, autoscale_by="queue")
    mine.run("deploy", tag="1")
    return mine


def autoscaler(hk: Cluster, checkout: Checkout) -> Item:
    """The conditions of the HorizontalPodAutoscaler that KEDA makes, by their types."""
    found = hk.find(path("HorizontalPodAutoscaler", checkout.user, f"keda-hpa-{checkout.name}")) or {}
    return {each["type"]: each for each in found.get("status", {}).get("conditions", [])}


@contextmanager
def without_its_operator(hk: Cluster) -> Iterator[None]:
    hk.by_hand(OPERATOR, {"spec": {"replicas": 0}})
    until(lambda: not hk.ask("get", OPERATOR)["status"].get("replicas"), 60)
    try:
        yield
    finally:
        hk.by_hand(OPERATOR, {"spec": {"replicas": 1}})
        until(lambda: bool(hk.ask("get", OPERATOR)["status"].get("readyReplicas")), 120)


def test_without_a_series_the_number_of_pods_stays_as_it_is(scaled: Checkout, hk: Cluster) -> None:
    where = path("Deployment", scaled.user, scaled.name)
    hk.by_hand(where, {"spec": {"replicas": 2}})
    until(lambda: autoscaler(hk, scaled).get("ScalingActive", {}).get("status") == "False", 90)
    assert autoscaler(hk, scaled)["ScalingActive"]["reason"] == "FailedGetExternalMetric"  # no value is not 0 rows
    assert hk.ask("get", where)["spec"]["replicas"] == 2
    scaled.run("deploy", tag="2")
    assert len(pods(hk, scaled)) == 2
    done = scaled.run("stop", "--yes")
    thing = f"ScaledObject {scaled.user}/{scaled.name}"
    assert f"hk: removed {thing}\n" in done.out


def test_a_stop_waits_for_keda_to_let_the_scaled_object_go_and_says_so_while_it_is_away(scaled: Checkout, hk: Cluster) -> None:
    thing = f"ScaledObject {scaled.user}/{scaled.name}"
    until(lambda: bool(hk.ask("get", path("ScaledObject", scaled.user, scaled.name))["metadata"].get("finalizers")), 30)
    with without_its_operator(hk):
        done = scaled.run("stop", "--yes", "--timeout", "5", status=19)
        words = f"{thing} is deleted and still there after 5 s, held by its finalizer finalizer.keda.sh (taken off by KEDA's"
        assert words in done.err
        assert f"removed {thing}" not in done.out
        assert kinds(hk, scaled.user, scaled.name) == {"ScaledObject"}
    assert "hk, prod: removed" in scaled.run("stop", "--yes").out
    assert kinds(hk, scaled.user, scaled.name) == set()
