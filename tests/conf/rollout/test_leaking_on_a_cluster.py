"""Pods that leak, on a real node under load: they end for their memory one after the other, and no request is lost."""

import pytest

from conf.base.object_references import path
from conf.rollout.diagnosis import RECYCLED
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.images import LEAKING_SETTINGS
from tests.conf.rollout.load import loaded
from tests.conf.rollout.service_state import pods, status_row, until, url

pytestmark = [pytest.mark.cluster, pytest.mark.soak, pytest.mark.usefixtures("images", "buffers")]
ENDS = 10


@pytest.mark.timeout(7200)
def test_ten_ends_of_three_leaking_pods_lose_no_request(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk")
    mine.write_value(**LEAKING_SETTINGS)
    mine.run("deploy", tag="leaking")
    before = pods(hk, mine)
    with loaded(url(mine), 40.0) as load:
        until(lambda: sum(pods(hk, mine).values()) >= ENDS, seconds=6000)
    assert load.lost() == []
    assert pods(hk, mine).keys() == before.keys()
    found = hk.ask("get", path("Pod", mine.user), labelSelector=f"app.kubernetes.io/name={mine.name}")["items"]
    ended = [each["lastState"]["terminated"] for pod in found for each in pod["status"]["containerStatuses"]]
    assert {each["exitCode"] for each in ended} == {RECYCLED}
    assert all(each["message"].startswith("recycled: ") for each in ended)
    until(lambda: status_row(mine, status=None)["troubles"] == [])  # the last one starts again
