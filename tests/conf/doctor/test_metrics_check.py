"""The doctor looks whether a cluster has what a service's autoscaler asks, and names what to install where it has not."""

from typing import Any, cast

import pytest

from conf.base.image_names import image
from conf.doctor.cluster_check import CHECKS
from conf.doctor.findings import CheckContext
from conf.plan.plan import plan
from conf.remote.cluster import Cluster
from serving.settings import read
from tests.conf.golden import regions

CORES, KEDA = "/apis/metrics.k8s.io/v1beta1", "/apis/external.metrics.k8s.io/v1beta1"
HOURS = 'max_replicas = 3\nscale_hours = ["mon-fri 08:00-19:00 2"]\n'  # KEDA follows the cores then
RESOURCES = {CORES: "pods", KEDA: "externalmetrics"}


class ApiServer:
    """An API server with some groups of metrics."""

    def __init__(self, *groups: str):
        self.groups = groups

    def found(self, where: str) -> dict[str, Any] | None:
        return {"resources": [{"name": RESOURCES[where]}]} if where in self.groups else None


@pytest.mark.parametrize(
    ("lines", "groups", "words", "cure"),
    [
        ("", (), "no autoscaler asks for any", ""),
        ("max_replicas = 3\n", (CORES,), "the autoscaler's metrics are there", ""),
        ("max_replicas = 3\n", (KEDA,), "the autoscaler cannot see cpu", "install metrics-server"),
        (HOURS, (CORES, KEDA), "the autoscaler's metrics are there", ""),
        (HOURS, (KEDA,), "the autoscaler cannot see cpu", "install metrics-server"),
        ('max_replicas = 3\nautoscale_by = "queue"\n', (KEDA,), "the autoscaler's metrics are there", ""),
        ('max_replicas = 3\nautoscale_by = "queue"\n', (CORES,), "cannot see waiting rows, busy time", "install KEDA"),
    ],
)
def test_metrics_that_an_autoscaler_lacks_are_told(lines: str, groups: tuple[str, ...], words: str, cure: str) -> None:
    known = regions()
    value = read(f'service_name = "demo"\nusername = "like"\n{lines}', "value.py", tuple(known.regions))
    (planned, *_) = plan(value, known, "prod", image("r.example.com/like/demo:1"))
    cluster = cast(Cluster, ApiServer(*groups))
    context = CheckContext(known.regions["hk"], planned, value.in_region("hk"), cluster)
    (found,) = next(check for check in CHECKS if check.__name__ == "_metrics")(context)
    assert words in found.words
    assert found.cure.startswith(cure) if cure else not found.cure
