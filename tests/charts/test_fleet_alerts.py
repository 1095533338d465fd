"""The fleet's alerts: each fires on a history of its trouble, and none but the watchdog while all is well."""

from pathlib import Path

import pytest

from conf.base.yaml_nodes import documents
from tests.promtool import alerts, holds
from tests.running import ROOT

RULES = ROOT / "charts/monitoring/rules/fleet-alerts.yaml"
GIB = 2**30
LABELS = ("alertname", "severity", "namespace", "service", "track")

Histories = dict[str, str]  # series -> values, a minute apart


def answered(code: int, values: str, service: str = "demo", namespace: str = "like") -> Histories:
    labels = (
        f'destination_namespace="{namespace}",destination_service="{service}",envoy_response_code_class="{code}",pod="envoy"'
    )
    return {f"envoy_cluster_upstream_rq_xx{{{labels}}}": values}


def failed(code: int, reason: str, values: str, namespace: str = "like") -> Histories:
    """Return the series that pods count of their own answers."""
    labels = f'namespace="{namespace}",service="demo",job="demo",pod="a",route="service",code="{code}",reason="{reason}"'
    return {f"monopod_requests_total{{{labels}}}": values}


def arm_failed(values: str, names: str = 'service="demo",arm="canary"') -> Histories:
    """Return the series that the pods of a canary count of their own failures."""
    labels = f'namespace="like",{names},arm_of="demo",job="demo-canary",pod="c",route="service",code="500",reason="x"'
    return {f"monopod_requests_total{{{labels}}}": values}


def card(pod: str, used: int, declared: int, node: str = "gpu-1", card: str = "GPU-a") -> Histories:
    """Return the series of a pod on a card. used: GiB of the whole card. declared: GiB of the pod."""
    labels = f'{{namespace="like",service="{pod}",pod="{pod}",instance="{pod}"}}'
    return {
        f'monopod_gpu_device_used_bytes{labels[:-1]},card="{card}"}}': f"{used * GIB}x60",
        f"monopod_gpu_memory_declared_bytes{labels}": f"{declared * GIB}x60",
        f'kube_pod_info{{namespace="like",pod="{pod}",uid="{pod}",node="{node}"}}': "1x60",
    }


WELL: Histories = {
    'monopod_ready{namespace="like",service="demo",pod="a"}': "0x60",
    'kube_deployment_spec_replicas{namespace="like",deployment="demo"}': "1x60",
    'envoy_cluster_membership_total{destination_namespace="like",destination_service="demo"}': "1x60",
    **answered(2, "0+60x60"),
}
WATCHDOG = ("Watchdog", "none", "", "", "")  # fires whatever happens
NO_SERVICE: Histories = {name: "_x60" for name in WELL if not name.startswith("envoy_cluster_upstream")}
# A history beside WELL -> the alerts that fire after an hour of it: name, severity, namespace, service, track.
CASES: dict[str, tuple[Histories, set[tuple[str, ...]]]] = {
    "all is well": ({}, set()),
    "no service is read": (
        {name: "_x60" for name in WELL if "monopod_ready" in name},
        {("FleetNotScraped", "critical", "", "", "")},
    ),
    "nothing reads Kubernetes' state": (
        {name: "_x60" for name in WELL if "kube_" in name},
        {("ClusterStateMissing", "warning", "", "", "")},
    ),
    "no gateway is read": ({name: "_x60" for name in WELL if "envoy_" in name}, {("GatewayNotScraped", "warning", "", "", "")}),
    "no service is deployed yet": (
        {**NO_SERVICE, 'kube_deployment_spec_replicas{namespace="monitoring",deployment="monopod-relay"}': "1x60"},
        set(),
    ),
    "nothing is read at all": (
        NO_SERVICE,
        {
            ("FleetNotScraped", "critical", "", "", ""),
            ("ClusterStateMissing", "warning", "", "", ""),
            ("GatewayNotScraped", "warning", "", "", ""),
        },
    ),
    "a gateway answers a tenth with 503": (answered(5, "0+7x60"), {("GatewayErrors", "critical", "like", "demo", "prod")}),
    "a canary behind the service's route answers a tenth with 500": ({**answered(5, "0+7x60"), **arm_failed("0+7x60")}, set()),
    "a canary of an earlier release of the platform answers a tenth with 500": (
        {**answered(5, "0+7x60"), **arm_failed("0+7x60", 'service="demo-canary"')},
        set(),
    ),
    "a canary that Istio's gateway counts apart answers a tenth with 500": (
        {**answered(2, "0+60x60", "demo-canary"), **answered(5, "0+7x60", "demo-canary"), **arm_failed("0+7x60")},
        set(),
    ),
    "the gateway answers a tenth with 503 beside a canary's own 500, which Istio's gateway counts apart": (
        {
            **answered(5, "0+7x60"),
            **answered(2, "0+60x60", "demo-canary"),
            **answered(5, "0+7x60", "demo-canary"),
            **arm_failed("0+7x60"),
        },
        {("GatewayErrors", "critical", "like", "demo", "prod")},
    ),
    "a gateway answers a tenth with 503 in grey": (
        {**answered(2, "0+60x60", namespace="grey"), **answered(5, "0+7x60", namespace="grey")},
        {("GatewayErrors", "warning", "grey", "demo", "grey")},
    ),
    "a gateway answers a tenth with 503 in ab-test": (
        {**answered(2, "0+60x60", namespace="ab-test"), **answered(5, "0+7x60", namespace="ab-test")},
        {("GatewayErrors", "warning", "ab-test", "demo", "ab")},
    ),
    "clients give deadlines that are too short": (
        {**answered(5, "0+60x60"), **failed(504, "short_deadline", "0+60x60")},
        set(),
    ),
    "the pods answer half with 500, as their own metrics tell": (
        {**answered(5, "0+60x60"), **failed(500, "service_failed", "0+40x60"), **failed(504, "deadline", "0+20x60")},
        set(),
    ),
    "the pods answer more 500 than the gateway passes on": (
        {**answered(5, "0+10x60"), **failed(500, "service_failed", "0+40x60")},
        set(),
    ),
    "the gateway answers a tenth with 503 beside the pods' own 500": (
        {**answered(5, "0+27x60"), **failed(500, "service_failed", "0+20x60")},
        {("GatewayErrors", "critical", "like", "demo", "prod")},
    ),
    "the pods of another track answer 500 while the gateway fails": (
        {**answered(5, "0+7x60"), **failed(500, "service_failed", "0+7x60", "grey")},
        {("GatewayErrors", "critical", "like", "demo", "prod")},
    ),
    "three of thirty requests fail at the gateway": (
        {**answered(2, "0+5.4x60", "cats"), **answered(5, "0+0.6x60", "cats")},
        set(),
    ),
    "a gateway answers one in fifty with 503": (answered(5, "0+1.2x60"), set()),
    "one of two requests fails in a quiet night": (
        {**answered(2, "0x58 1x2", "cats"), **answered(5, "0x58 1x2", "cats")},
        set(),
    ),
    "two pods of a card use what they declare": ({**card("a", 6, 3), **card("b", 6, 4)}, set()),
    "two pods of a card use more than they declare": (
        {**card("a", 8, 3), **card("b", 8, 4)},
        {("NodeCardOverDeclared", "warning", "", "", "")},
    ),
    "another node declares less": ({**card("a", 6, 8), **card("b", 1, 2, "gpu-2", "GPU-b")}, set()),
    "two cards of a node hold what is declared on each": (
        {**card("a", 6, 3), **card("b", 6, 4), **card("c", 30, 40, card="GPU-b")},
        set(),
    ),
    "one of two cards of a node holds more, though all of the node declare enough": (
        {**card("a", 8, 3), **card("b", 8, 4), **card("c", 1, 40, card="GPU-b")},
        {("NodeCardOverDeclared", "warning", "", "", "")},
    ),
    "both cards of a node hold more": (
        {**card("a", 8, 7), **card("b", 8, 7, card="GPU-b")},
        {("NodeCardOverDeclared", "warning", "", "", "")},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_fleets_alert_fires_on_its_trouble_and_no_other_does(case: str, tmp_path: Path) -> None:
    histories, names = CASES[case]
    found = alerts(RULES, {**WELL, **histories}, "1h", tmp_path)
    assert {tuple(each.get(name, "") for name in LABELS) for each in found} == names | {WATCHDOG}


def test_the_alert_on_a_card_names_the_node_and_the_card(tmp_path: Path) -> None:
    histories = {**card("a", 8, 3), **card("b", 8, 4), **card("c", 1, 40, card="GPU-b")}
    (found,) = [
        each for each in alerts(RULES, {**WELL, **histories}, "1h", tmp_path) if each["alertname"] == "NodeCardOverDeclared"
    ]
    assert (found["node"], found["card"]) == ("gpu-1", "GPU-a")


@pytest.mark.parametrize("at", ["0m", "1m", "1h"])
def test_the_watchdog_fires_at_once_and_for_ever_and_says_of_itself_that_it_is_no_trouble(at: str, tmp_path: Path) -> None:
    (found,) = [each for each in alerts(RULES, WELL, at, tmp_path) if each["alertname"] == "Watchdog"]
    assert {name: found[name] for name in ("severity", "platform")} == {"severity": "none", "platform": "monopod"}


def test_the_fleets_records_count_a_canarys_arms_for_their_service(tmp_path: Path) -> None:
    own = 'monopod_requests_total{namespace="like",service="demo",pod="a",route="service",code="200",reason=""}'
    histories = {**arm_failed("0+60x60"), own: "0+60x60"}
    rate = "namespace_service:monopod_requests:rate5m"
    (group,) = documents((RULES.parent / "fleet-records.yaml").read_text(encoding="utf-8"))[0]["groups"]
    expr = next(rule["expr"] for rule in group["rules"] if rule["record"] == rate)
    assert holds(f"count({expr}) == 1", histories, "30m", tmp_path)
    assert holds(f"({expr}) == 2", histories, "30m", tmp_path)
