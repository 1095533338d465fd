"""Which machines take a pod, and what it costs there."""

from dataclasses import replace

import pytest

from conf.clusters import NodeKind
from conf.placement import Need, admits, holds, monthly_price, need, share
from serving.schema import Settings
from tests.conf.golden import regions

NODE = NodeKind("n", 16, "64Gi", 480, labels={"pool": "a"}, taints=("dedicated=ml:NoSchedule",))


def settings(**changed: object) -> Settings:
    return replace(Settings(service_name="demo", username="like"), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tolerations", "labels", "let_in"),
    [
        ((), {}, False),
        (("dedicated=ml:NoSchedule",), {}, True),
        (("dedicated=ml",), {}, True),
        (("dedicated",), {}, True),
        (("dedicated=other:NoSchedule",), {}, False),
        (("dedicated=ml:NoExecute",), {}, False),
        (("dedicated",), {"pool": "a"}, True),
        (("dedicated",), {"pool": "b"}, False),
    ],
)
def test_a_node_lets_in_who_tolerates_its_taints_and_asks_for_its_labels(
    tolerations: tuple[str, ...], labels: dict[str, str], let_in: bool
) -> None:
    assert admits(NODE, settings(tolerations=tolerations, node_labels=labels)) is let_in


def test_a_taint_that_only_prefers_keeps_no_one_out() -> None:
    assert admits(replace(NODE, taints=("a:PreferNoSchedule",)), settings())


def test_the_share_is_the_largest_of_cpu_memory_and_gpu() -> None:
    assert share(NODE, Need(4, 2**30, 0, False)) == 0.25
    assert share(NODE, Need(1, 32 * 2**30, 0, False)) == 0.5
    card = replace(NODE, cards=2, card_memory=20)
    assert share(card, Need(1, 2**30, 10, False)) == 0.25
    assert share(card, Need(1, 2**30, 10, True)) == 0.5


def test_a_pod_needs_what_its_proxy_needs_too() -> None:
    with_proxy, without = (need(settings(cpu=1), regions().regions[name]) for name in ("hk", "eu"))
    assert with_proxy.cpu == pytest.approx(without.cpu + 0.1)
    assert with_proxy.memory == without.memory + 128 * 2**20


def test_the_cheapest_node_that_takes_the_pod_sets_the_price() -> None:
    eu = regions().regions["eu"]
    assert monthly_price(settings(cpu=4, memory="4Gi"), eu) == pytest.approx(560 / 4)
    assert monthly_price(settings(cpu=400), eu) is None


def test_a_pod_that_asks_for_a_gpu_fits_no_node_without_one() -> None:
    assert not holds(NODE, Need(1, 2**30, 1, False))
