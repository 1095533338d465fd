"""The plan's names, paths and numbers, for each track, each way to route, and the settings that change them."""

from collections.abc import Iterable
from dataclasses import asdict, replace

import pytest

from conf.base.image_names import image
from conf.plan.placement import monthly_price
from conf.plan.plan import OnlineWorkload, plan
from conf.plan.pods import ADMIN_PORT, PRE_STOP, READINESS_FAILURES, READINESS_PERIOD, gpu_resources, gpu_share, toleration
from conf.plan.routes import connections
from serving.settings import Settings, read
from serving.web.recycle import NOTICE_SECONDS
from tests.conf.golden import regions

BASE = 'service_name = "demo"\nusername = "like"\n'
KEEP_ALIVE = 120  # s after which the runtime closes an idle connection


def plans(lines: str = "", track: str = "prod", routing: str = "") -> dict[str, OnlineWorkload]:
    """Return the online pods of each region."""
    value = read(BASE + lines, "value.py", tuple(regions().regions))
    found = plan(value, regions(routing), track, image("r.example.com/like/demo:1.2"))
    return {each.region: each.online for each in found if each.online}


def settings(**changed: object) -> Settings:
    return replace(Settings(service_name="demo", username="like"), **changed)  # type: ignore[arg-type]


def paths(each: OnlineWorkload) -> list[str]:
    return [f"{path.exact} -> {path.pod_exact}, {path.below} -> {path.pod_below}" for path in each.route.paths]


def test_prod_runs_in_every_region_in_the_users_namespace() -> None:
    found = plans()
    assert [(region, each.namespace, each.name) for region, each in found.items()] == [
        ("hk", "like", "demo"),
        ("eu", "like", "demo"),
        ("na", "like", "demo"),
    ]
    assert paths(found["hk"]) == ["/api/like/demo -> /api/demo, /api/like/demo/ -> /api/demo/"]


def test_grey_runs_one_pod_in_its_region_and_namespace_and_never_scales() -> None:
    found = plans("replicas = 7\nmax_replicas = 9\n", "grey")
    assert [(region, each.namespace, each.replicas, each.sets_replicas) for region, each in found.items()] == [
        ("na", "grey", 1, True)
    ]
    assert paths(found["na"]) == [
        "/grey/demo -> /api/demo, /grey/demo/ -> /api/demo/",
        "/api/grey/demo -> /api/demo, /api/grey/demo/ -> /api/demo/",
    ]
    assert "poddisruptionbudget" not in found["na"].objects


def test_ab_runs_its_own_number_of_pods_on_its_own_path() -> None:
    found = plans("ab_replicas = 3\nhk_replicas = 0\n", "ab")
    assert [(region, each.namespace, each.replicas) for region, each in found.items()] == [("hk", "ab-test", 3)]
    assert paths(found["hk"]) == ["/api/ab-test/demo -> /api/demo, /api/ab-test/demo/ -> /api/demo/"]


@pytest.mark.parametrize(
    ("lines", "routing", "objects"),
    [
        (
            "",
            "istio",
            "serviceaccount networkpolicy service deployment destinationrule virtualservice servicemonitor prometheusrule",
        ),
        (
            "",
            "gateway-api",
            "serviceaccount networkpolicy service deployment backendtrafficpolicy httproute servicemonitor prometheusrule",
        ),
    ],
)
def test_the_routing_decides_which_objects_lead_to_the_pods(lines: str, routing: str, objects: str) -> None:
    assert plans(lines, routing=routing)["hk"].objects == tuple(objects.split())


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("replicas = 1\n", set[str]()),
        ("replicas = 2\n", {"poddisruptionbudget"}),
        ("max_replicas = 5\n", {"poddisruptionbudget", "horizontalpodautoscaler"}),
        ('max_replicas = 5\nautoscale_by = "queue"\n', {"poddisruptionbudget", "scaledobject"}),
    ],
)
def test_a_budget_stands_from_two_pods_on_and_a_scaler_when_asked_for(lines: str, wanted: set[str]) -> None:
    optional = {"poddisruptionbudget", "horizontalpodautoscaler", "scaledobject"}
    assert set(plans(lines)["hk"].objects) & optional == wanted


def test_an_autoscaler_owns_the_number_of_pods() -> None:
    each = plans('replicas = 2\nmax_replicas = 5\nautoscale_by = "queue"\n')["hk"]
    assert not each.sets_replicas
    assert (each.scaling.min_replicas, each.scaling.max_replicas, each.scaling.cpu_percent, each.scaling.scale_down_window) == (
        2,
        5,
        80,
        600,
    )
    assert [trigger.name for trigger in each.scaling.triggers] == ["queue", "busy"]
    metadata = [dict(trigger.metadata) for trigger in each.scaling.triggers]
    assert {(found["threshold"], found["ignoreNullValues"]) for found in metadata} == {("1", "false")}
    assert all('{namespace="like",service="demo",arm=""}' in trigger.query for trigger in each.scaling.triggers)


def test_another_number_of_replicas_replaces_no_pod() -> None:
    one, three = (plans(f"replicas = {replicas}\n")["hk"] for replicas in (1, 3))
    assert one.pod == three.pod


def test_one_wait_holds_for_every_autoscaler_on_the_way_down() -> None:
    lines = 'max_replicas = 5\nscale_down_after_second = 45\noffline_source = "kafka:a"\noffline_sinks = ["kafka:b"]\n'
    value = read(BASE + lines, "value.py", tuple(regions().regions))
    each = plan(value, regions(), "prod", image("demo:1"))[0]
    assert [pods.scaling.scale_down_window for pods in each.workloads] == [45, 45]


@pytest.mark.parametrize(
    ("region", "share", "asked"),
    [
        ("hk", 4.5, (("aliyun.com/gpu-mem", "5"),)),
        ("eu", 4.5, (("nvidia.com/gpumem", "4608"), ("nvidia.com/gpu", "1"))),
        ("na", 4.5, (("nvidia.com/gpu", "1"),)),
        ("hk", 0.0, ()),
    ],
)
def test_a_share_of_a_gpu_is_asked_for_in_the_regions_own_unit(
    region: str, share: float, asked: tuple[tuple[str, str], ...]
) -> None:
    assert gpu_resources(share, regions().regions[region].gpu) == asked


@pytest.mark.parametrize(("region", "whole"), [("hk", 15.0), ("eu", 24.0)])
def test_the_older_gpu_num_asks_for_a_whole_card_of_the_region(region: str, whole: float) -> None:
    assert gpu_share(settings(gpu_num=1), regions().regions[region]) == whole
    assert gpu_share(settings(gpu_num=1, gpu_memory=3.0), regions().regions[region]) == 3.0


@pytest.mark.parametrize(
    ("lines", "requests", "limits"),
    [
        ("cpu = 2\n", {"cpu": "2", "memory": "2Gi"}, {"memory": "2Gi"}),
        ("cpu = 0.25\ncpu_limit = 1.5\n", {"cpu": "250m", "memory": "2Gi"}, {"cpu": "1500m", "memory": "2Gi"}),
        ('memory = "1.5Gi"\n', {"cpu": "1", "memory": "1610612736"}, {"memory": "1610612736"}),
    ],
)
def test_cpu_is_asked_for_without_a_limit_and_memory_with_one(
    lines: str, requests: dict[str, str], limits: dict[str, str]
) -> None:
    pod = plans(lines)["hk"].pod
    assert (dict(pod.requests), dict(pod.limits)) == (requests, limits)


@pytest.mark.parametrize("delay", [1, 30, 31, 7200])
def test_the_startup_probe_allows_the_time_that_was_asked_for_and_asks_often(delay: int) -> None:
    probes = {probe.name: probe for probe in plans(f"init_delay_second = {delay}\n")["hk"].pod.probes}
    startup = probes["startupProbe"]
    assert delay <= startup.period * startup.failures <= delay + 12
    assert startup.period <= 2
    assert {probe.path for probe in probes.values()} == {"/api/ping", "/livez"}


@pytest.mark.parametrize("timeout", [0.05, 30, 45.5, 3600])
@pytest.mark.parametrize("drain", [0, 7.5, 600])
def test_times_agree_from_the_pod_outwards(timeout: float, drain: float) -> None:
    each = plans(f"timeout_second = {timeout}\ndrain_delay_second = {drain}\n")["hk"]
    assert each.pod.grace_period > each.pod.pre_stop + drain + timeout
    assert seconds(each.route.timeout) > timeout
    assert seconds(each.route.idle_timeout) < KEEP_ALIVE
    assert dict(each.pod.annotations)["proxy.istio.io/config"].endswith(
        f'"terminationDrainDuration": "{each.pod.grace_period}s"}}'
    )


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


@pytest.mark.parametrize(("pods", "queue", "batch"), [(1, 64, 8), (50, 64, 8), (1000, 65536, 4096)])
def test_connection_limits_are_above_what_the_pods_hold(pods: int, queue: int, batch: int) -> None:
    found = connections(settings(queue_limit=queue, max_batch_size=batch), pods)
    assert found >= 4 * pods * queue
    assert found < 2**31


def test_the_network_policy_names_the_gateway_the_mesh_and_prometheus_alone() -> None:
    found = plans()
    assert openings(found["hk"]) == [
        "8080 kubernetes.io/metadata.name=istio-ingress",
        "8080 istio-injection=enabled",
        "8081 kubernetes.io/metadata.name=monitoring",
    ]
    assert openings(found["eu"]) == [
        "8080 kubernetes.io/metadata.name=envoy-gateway-system",
        "8081 kubernetes.io/metadata.name=monitoring",
    ]


def openings(each: OnlineWorkload) -> list[str]:
    own = [f"{opening.port} {'='.join(opening.namespace_labels[0])}" for opening in each.namespace_access]
    return own + [f"{opening.port} {opening.cidr}" for opening in each.network_access]


def test_a_host_port_is_opened_for_prod_alone_and_let_in_from_its_networks() -> None:
    lines = "use_srv = True\nhost_port = 20001\n"
    prod, ab = plans(lines)["hk"], plans(lines, "ab")["hk"]
    assert [port.host_port for port in prod.pod.ports] == [20001, 0]
    assert openings(prod)[-2:] == ["8080 10.0.0.0/8", "8080 fd00::/8"]
    assert [port.host_port for port in ab.pod.ports] == [0, 0]
    assert ab.network_access == ()


def test_a_region_says_something_else_of_itself_alone() -> None:
    found = plans("hk_replicas = 4\neu_cpu = 3\n")
    assert [each.replicas for each in found.values()] == [4, 1, 1]
    assert [dict(each.pod.requests)["cpu"] for each in found.values()] == ["1", "3", "1"]


def test_the_pod_learns_its_region_its_version_and_what_its_metrics_show_of_the_plan() -> None:
    whose = (("MONOPOD_SERVICE", "demo"), ("MONOPOD_USER", "like"), ("MONOPOD_TRACK", "prod"))
    each = plans()["eu"]
    price = monthly_price(settings(), regions().regions["eu"])
    assert price is not None
    assert each.pod.env == (
        *whose,
        ("MONOPOD_REGION", "eu"),
        ("MONOPOD_REGIONS", "hk,eu,na"),
        ("MONOPOD_VERSION", "1.2"),
        ("MONOPOD_PRICE_PER_MONTH", f"{price:.2f}"),
        ("MONOPOD_CURRENCY", "USD"),
        ("MONOPOD_TMP_LIMIT_BYTES", each.pod.tmp_size),
    )


def test_a_pod_that_ends_for_its_memory_answers_until_probes_and_gateways_have_seen_it() -> None:
    assert NOTICE_SECONDS > READINESS_PERIOD * READINESS_FAILURES + PRE_STOP


def test_a_pod_that_no_node_takes_has_no_price() -> None:
    assert "MONOPOD_PRICE_PER_MONTH" not in dict(plans("eu_cpu = 256\n")["eu"].pod.env)


def test_the_admin_port_goes_round_the_mesh() -> None:
    assert dict(plans()["hk"].pod.annotations)["traffic.sidecar.istio.io/excludeInboundPorts"] == str(ADMIN_PORT)
    assert plans()["eu"].pod.annotations == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a=b:NoSchedule", ("a", "Equal", "b", "NoSchedule")),
        ("nvidia.com/gpu", ("nvidia.com/gpu", "Exists", "", "")),
        ("a:NoExecute", ("a", "Exists", "", "NoExecute")),
        ("a=", ("a", "Equal", "", "")),
    ],
)
def test_a_toleration_is_taken_apart(text: str, parts: Iterable[str]) -> None:
    assert tuple(asdict(toleration(text)).values()) == tuple(parts)


def test_a_plan_is_the_same_each_time_and_holds_no_mutable_list() -> None:
    assert plans() == plans()
    with pytest.raises(AttributeError):
        plans()["hk"].name = "other"  # type: ignore[misc]
