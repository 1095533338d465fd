"""A pod is placed on the kinds of nodes that it fits, and priced on the cheapest of them."""

from dataclasses import replace

import pytest

from conf.clusters.regions import NodeKind, Region, Reserved
from conf.plan.own_pod import Amounts, InitContainer, OwnPod, Resources
from conf.plan.placement import Need, monthly_price, need, placement, pod_total, share
from serving.settings import Settings
from tests.conf.golden import regions

NODE = NodeKind("n", 16, "64Gi", 480, labels={"pool": "a"}, taints=("dedicated=ml:NoSchedule",))


def settings(**changed: object) -> Settings:
    return replace(Settings(service_name="demo", username="like"), **changed)  # type: ignore[arg-type]


def of_nodes(*nodes: NodeKind) -> Region:
    """Return the region eu, whose mesh adds nothing to a pod, with these kinds of nodes."""
    return replace(regions().regions["eu"], nodes=nodes)


def lacking(asked: Settings, *nodes: NodeKind) -> dict[str, list[str]]:
    """Return for each kind of node, by its name, the first words of what it lacks. The nearest to fit is first."""
    found = placement(asked, of_nodes(*nodes)).lacking
    return {node.name: [lack.words.partition(",")[0] for lack in lacks] for node, lacks in found}


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
    assert bool(placement(settings(tolerations=tolerations, node_labels=labels), of_nodes(NODE)).fitting) is let_in


def test_a_taint_that_only_prefers_keeps_no_one_out() -> None:
    assert placement(settings(), of_nodes(replace(NODE, taints=("a:PreferNoSchedule",)))).fitting


def test_a_node_that_takes_the_pod_lacks_nothing() -> None:
    free = replace(NODE, name="free", labels={}, taints=())
    found = placement(settings(), of_nodes(NODE, free))
    assert [node.name for node in found.fitting] == ["free"]
    assert [node.name for node, _ in found.lacking] == ["n"]


def test_what_each_kind_of_node_lacks_is_named() -> None:
    cards = replace(NODE, name="cards", cards=2, card_memory=15, labels={}, taints=())
    asked = settings(gpu_memory=20.0, cpu=15.6, memory="63.5Gi", node_labels={"pool": "a"})
    assert lacking(asked, NODE, cards) == {
        "cards": ["has no label pool=a", "has cards of 15 GiB", "has 64Gi", "has 16 cores"],
        "n": ["has no GPU", "has 64Gi", "has 16 cores", "has the taint dedicated=ml:NoSchedule"],
    }


def test_a_card_a_size_and_a_taint_on_three_kinds_of_nodes_make_no_place() -> None:
    """Each of the three has what the two others lack."""
    tainted = replace(NODE, name="tainted", cards=1, card_memory=24)
    small_card = replace(NODE, name="small-card", cards=1, card_memory=8, taints=())
    few_cores = replace(NODE, name="few-cores", cards=1, card_memory=24, cpu=2, taints=())
    asked = settings(gpu_memory=16.0, cpu=4)
    assert lacking(asked, tainted, small_card, few_cores) == {
        "tainted": ["has the taint dedicated=ml:NoSchedule"],
        "few-cores": ["has 2 cores"],
        "small-card": ["has cards of 8 GiB"],
    }
    assert monthly_price(asked, of_nodes(tainted, small_card, few_cores)) is None


def test_what_is_just_left_beside_the_system_is_enough() -> None:
    free = replace(NODE, taints=())
    assert placement(settings(cpu=15.5, memory="63Gi"), of_nodes(free)).fitting
    hk = replace(regions().regions["hk"], nodes=(free,))
    assert placement(settings(cpu=15.4, memory="64384Mi"), hk).fitting
    for asked, cure in ((settings(cpu=15.5), "cpu = 15.4 or less"), (settings(memory="63Gi"), 'memory = "64384Mi" or less')):
        ((_, (lack,)),) = placement(asked, hk).lacking
        assert lack.cure == f"ask for {cure}"


@pytest.mark.parametrize("asked", [settings(gpu_memory=8.0), settings(gpu_num=1)])
def test_a_pod_that_asks_for_a_gpu_fits_no_node_without_one(asked: Settings) -> None:
    assert lacking(asked, replace(NODE, taints=())) == {"n": ["has no GPU"]}


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


def own(*containers: tuple[str, str, str]) -> OwnPod:
    """Return the additions of a pod.yaml. containers: the cores, the memory and the restart policy of each."""
    sizes = [(Amounts(cpu, memory), policy) for cpu, memory, policy in containers]
    return OwnPod(
        init_containers=tuple(InitContainer("x", "i", Resources(size, size), policy, line=7) for size, policy in sizes)
    )


@pytest.mark.parametrize(
    ("first", "total"),
    [
        ([], 3),
        ([(2, True)], 5),
        ([(2, False)], 3),
        ([(9, False), (2, True)], 9),
        ([(2, True), (9, False)], 11),
        ([(9, False), (8, False)], 9),
        ([(1, True), (4, False), (1, True), (2, False)], 5),
        ([(1, True), (1, True), (4, False)], 6),
    ],
)
def test_an_init_container_runs_beside_the_sidecars_before_it_and_the_model_beside_all_sidecars(
    first: list[tuple[float, bool]], total: float
) -> None:
    inits = [({"cpu": amount}, stays) for amount, stays in first]
    assert pod_total([{"cpu": 1, "memory": 7}, {"cpu": 2}], inits) == {"cpu": total, "memory": 7}


def test_the_containers_of_a_service_count_in_its_need_and_its_price() -> None:
    eu = regions().regions["eu"]
    plain, beside = settings(cpu=4, memory="4Gi"), own(("2", "8Gi", ""), ("500m", "1Gi", "Always"))
    assert need(plain, eu, beside) == replace(need(plain, eu), cpu=4.5, memory=8 * 2**30)
    assert monthly_price(plain, eu, beside) == pytest.approx(560 * 4.5 / 16)
    hk = regions().regions["hk"]
    assert need(plain, hk, own(("9", "1Gi", ""))).cpu == pytest.approx(9.1)


@pytest.mark.parametrize(
    ("added", "where", "cure"),
    [
        (("8", "1Gi", "Always"), "cpu", "ask for cpu = 8 or less"),
        (("1", "60Gi", "Always"), "memory", 'ask for memory = "4096Mi" or less'),
        (("17", "1Gi", "Always"), "pod.yaml:7", "have its initContainers request less cpu"),
        (("1", "65Gi", ""), "pod.yaml:7", "have its initContainers request less memory"),
    ],
)
def test_a_pod_that_its_own_containers_make_too_large_is_told_where_to_ask_for_less(
    added: tuple[str, str, str], where: str, cure: str
) -> None:
    free = replace(of_nodes(replace(NODE, taints=())), reserved=Reserved(0, "0"))
    asked = settings(cpu=10, memory="6Gi")
    assert placement(asked, free).fitting
    ((_, (lack,)),) = placement(asked, free, own(added)).lacking
    assert (lack.settings[0], lack.cure) == (where, cure)
    assert "the pod with the containers of pod.yaml takes" in lack.words
