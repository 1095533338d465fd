"""KEDA runs the pods of the hours, and those of `replicas` outside them. No test waits for an hour: a deploy moves them."""

from datetime import UTC, datetime

import pytest

from conf.base.object_references import path
from serving.settings.weekly_hours import DAYS
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, pods, until
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
OPERATOR = path("Deployment", "keda", "keda-operator")


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
