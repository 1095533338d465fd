"""A service that KEDA scales: by its queue, and by the hours of the week.

Its pods stay without a series. Only KEDA takes off the finalizer. From the cores to the queue and back is one deploy. No test
waits for an hour: a deploy moves them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from conf.base.object_references import Item, Ref, path
from conf.remote.cluster import Cluster as Asking
from conf.render.arms import kept_from_scaling_in
from conf.rollout import history as histories
from serving.settings.weekly_hours import DAYS
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, lowest, pods, status_row, until
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
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
    """The conditions of a service's ScaledObject, by their types."""
    found = hk.find(path("ScaledObject", checkout.user, checkout.name)) or {}
    return {each["type"]: each for each in found.get("status", {}).get("conditions", [])}


@contextmanager
def without_its_operator(hk: Cluster) -> Iterator[None]:
    hk.by_hand(OPERATOR, {"spec": {"replicas": 0}})
    until(lambda: not hk.ask("get", OPERATOR)["status"].get("replicas"))
    try:
        yield
    finally:
        hk.by_hand(OPERATOR, {"spec": {"replicas": 1}})
        until(lambda: bool(hk.ask("get", OPERATOR)["status"].get("readyReplicas")), 300)


def test_without_a_series_the_number_of_pods_stays_as_it_is(scaled: Checkout, hk: Cluster) -> None:
    where = path("Deployment", scaled.user, scaled.name)
    hk.by_hand(where, {"spec": {"replicas": 2}})
    until(lambda: autoscaler(hk, scaled).get("Fallback", {}).get("status") == "True", 300)  # no value is not 0 rows
    assert hk.ask("get", where)["spec"]["replicas"] == 2
    scaled.run("deploy", tag="2")
    assert len(pods(hk, scaled)) == 2
    done = scaled.run("stop", "--yes")
    thing = f"ScaledObject {scaled.user}/{scaled.name}"
    assert f"hk: removed {thing}\n" in done.out


def test_keda_takes_no_pod_away_while_a_canary_is_driven_and_may_again_after_it(scaled: Checkout, hk: Cluster) -> None:
    asking, where = Asking(hk.context), path("HorizontalPodAutoscaler", scaled.user, scaled.name)
    kept = histories.read(asking.get(Ref("ConfigMap", scaled.user, histories.object_name(scaled.name))))
    items = kept.objects[kept.releases[-1].number]

    def limits() -> tuple[int, str]:
        """The fewest pods of KEDA's autoscaler, and how it chooses among what would take pods away."""
        spec = (hk.find(where) or {}).get("spec", {})
        return spec.get("minReplicas", 0), spec.get("behavior", {}).get("scaleDown", {}).get("selectPolicy", "Max")

    until(lambda: limits() == (1, "Max"))
    for item in kept_from_scaling_in(items, scaled.name, 2):
        asking.apply(item)
    until(lambda: limits() == (2, "Disabled"))
    for item in (each for each in items if each["kind"] == "ScaledObject"):  # the release's own, which ends a canary
        asking.apply(item)
    until(lambda: limits() == (1, "Max"))
    scaled.run("stop", "--yes")


def test_a_stop_waits_for_keda_to_let_the_scaled_object_go_and_says_so_while_it_is_away(scaled: Checkout, hk: Cluster) -> None:
    thing = f"ScaledObject {scaled.user}/{scaled.name}"
    until(lambda: bool(hk.ask("get", path("ScaledObject", scaled.user, scaled.name))["metadata"].get("finalizers")))
    with without_its_operator(hk):
        done = scaled.run("stop", "--yes", "--timeout", "5", status=19)
        assert f"{thing} is deleted and still there after 5 s" in done.err
        assert "finalizer.keda.sh (taken off by KEDA's" in done.err
        assert f"removed {thing}" not in done.out
        assert kinds(hk, scaled.user, scaled.name) == {"ScaledObject", "HorizontalPodAutoscaler"}  # which it owns
    assert "hk, prod: removed" in scaled.run("stop", "--yes").out
    until(lambda: kinds(hk, scaled.user, scaled.name) == set())


def scaler(hk: Cluster, checkout: Checkout) -> tuple[str, list[str]]:
    """Return the uid of a service's HorizontalPodAutoscaler, and the kinds of its owners and of its metrics."""
    found = hk.ask("get", path("HorizontalPodAutoscaler", checkout.user, checkout.name))
    owners = [each["kind"] for each in found["metadata"].get("ownerReferences", [])]
    return found["metadata"]["uid"], owners + [each["type"] for each in found["spec"]["metrics"]]


def wanted(hk: Cluster, checkout: Checkout) -> int:
    """Return how many pods a service's HorizontalPodAutoscaler wants, 0 before its measures have answered."""
    found = hk.ask("get", path("HorizontalPodAutoscaler", checkout.user, checkout.name))
    return int(found.get("status", {}).get("desiredReplicas", 0))


def test_from_cores_to_the_queue_and_back_is_one_deploy_and_capacity_never_falls(scaled: Checkout, hk: Cluster) -> None:
    def scales(autoscale_by: str) -> None:
        scaled.write_value(replicas=1, max_replicas=3, autoscale_by=autoscale_by)

    by_queue, by_cores = ["ScaledObject", "External", "External"], ["ContainerResource"]
    until(lambda: hk.find(path("HorizontalPodAutoscaler", scaled.user, scaled.name)) is not None)
    hk.by_hand(path("Deployment", scaled.user, scaled.name), {"spec": {"replicas": 2}})
    until(lambda: wanted(hk, scaled) == 2, 300)
    as_many_as_there_are = {"queue": 2, "busy": 2}
    until(lambda: status_row(scaled, status=None)["autoscaler"]["answers"] == as_many_as_there_are)  # once both are asked again
    uid, kind = scaler(hk, scaled)
    assert kind == by_queue
    with lowest(hk, scaled) as seen:
        scales("cpu")
        assert f"removed ScaledObject {scaled.user}/{scaled.name}" in scaled.run("deploy", tag="2").out
        assert scaler(hk, scaled) == (uid, by_cores)
        assert hk.find(path("ScaledObject", scaled.user, scaled.name)) is None
        scales("queue")
        told = f"HorizontalPodAutoscaler {scaled.user}/{scaled.name} is KEDA's from now on"
        assert told in scaled.run("deploy", tag="2").out
        assert scaler(hk, scaled) == (uid, by_queue)

        scales("cpu")
        scaled.run("deploy", "--timeout", "40", tag="crash", status=21)  # the change is undone
        until(lambda: scaler(hk, scaled) == (uid, by_queue))
        assert "ScaledObject" in kinds(hk, scaled.user, scaled.name)
        scaled.run("deploy", tag="2")
        assert scaler(hk, scaled) == (uid, by_cores)
        scaled.run("rollback")
        until(lambda: scaler(hk, scaled) == (uid, by_queue))
    assert min(seen) == 2
    assert "ScaledObject" in kinds(hk, scaled.user, scaled.name)
    scaled.run("stop", "--yes")
    until(lambda: kinds(hk, scaled.user, scaled.name) == set())


def days(*from_today: int) -> str:
    """Return days of the week in UTC, by their distance from today."""
    return ",".join(DAYS[(datetime.now(UTC).weekday() + each) % 7] for each in from_today)


@pytest.fixture
def service(make_checkout: MakeCheckout, hk: Cluster) -> Checkout:
    if hk.find(OPERATOR) is None:
        missing("KEDA is not on this cluster: install its operator in the namespace keda")
    return make_checkout("hk")


@pytest.mark.parametrize("more", [{}, {"max_replicas": 4, "autoscale_by": "cpu"}], ids=["alone", "beside cores"])
def test_the_hours_of_now_have_their_pods_and_the_others_have_replicas(
    service: Checkout, hk: Cluster, more: dict[str, object]
) -> None:
    settings = {"replicas": 1, "scale_down_after_second": 0, **more}
    service.write_value(**settings, scale_hours=[f"{days(0, 1)} 00:00-24:00 3"])
    service.run("deploy", tag="1")
    assert kinds(hk, service.user, service.name) >= {"ScaledObject"}
    until(lambda: len(pods(hk, service)) == 3, 300)
    service.write_value(**settings, scale_hours=[f"{days(3, 4)} 00:00-24:00 3"])
    service.run("deploy", tag="1")
    until(lambda: len(pods(hk, service)) == 1, 300)
    assert "hk, prod: removed" in service.run("stop", "--yes").out
