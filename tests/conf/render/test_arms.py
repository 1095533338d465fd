"""A canary's arms: pods of their own beside a service's, made from a release's objects, and the shares of a route."""

import copy
import json
import re
import time
from pathlib import Path

import pytest

from conf.base.object_references import SCALERS, Item
from conf.base.yaml_nodes import documents
from conf.plan.platform_alerts import CANARY_NOT_DRIVEN as NOT_DRIVEN
from conf.render.arms import (
    BASELINE,
    CANARY,
    arm_items,
    arm_name,
    arm_names,
    arm_pods,
    arm_shares,
    canary_watch,
    is_arm,
    kept_from_scaling_in,
    weighted,
)
from conf.rules.rendered_objects import RULES, violations
from serving.settings.exported_metrics import SCRAPE_LABELS
from tests.conf.golden import renders
from tests.conf.observe.prometheus_server import prometheus
from tests.conf.rule_files import written
from tests.promtool import alerts, annotations
from tests.running import get
from tests.waiting import until

RENDERS = {path: text for path, text in renders() if "-prod-" in path.name}
DRIVEN = 600  # promtool's histories begin at 0


def service_of(path: Path) -> str:
    return path.parent.name


def items_of(path: Path) -> list[Item]:
    return documents(RENDERS[path])


def found(service: str, name: str) -> tuple[list[Item], str]:
    path = next(path for path in RENDERS if service_of(path) == service and path.stem == name)
    return items_of(path), service


def of_kind(items: list[Item], kind: str) -> Item:
    return next(item for item in items if item["kind"] == kind)


def both_arms(items: list[Item], service: str, pods: int = 3) -> list[Item]:
    return [item for suffix in (CANARY, BASELINE) for item in arm_items(items, service, suffix, pods)]


@pytest.fixture(params=RENDERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def release(request: pytest.FixtureRequest) -> tuple[list[Item], str]:
    return items_of(request.param), service_of(request.param)


def test_an_arm_has_pods_and_all_by_which_they_are_called_and_watched(release: tuple[list[Item], str]) -> None:
    items, service = release
    kinds = [item["kind"] for item in arm_items(items, service, CANARY, 1)]
    istio = ["DestinationRule"] * any(item["kind"] == "VirtualService" for item in items)
    assert kinds == ["ServiceAccount", "NetworkPolicy", "Service", "Deployment", *istio, "ServiceMonitor"]


def test_the_schemas_take_everything_that_a_canary_applies(release: tuple[list[Item], str]) -> None:
    items, service = release
    made = [
        *both_arms(items, service),
        *weighted(items, arm_shares(service, 25, has_baseline=True)),
        *kept_from_scaling_in(items, service, 4),
        canary_watch(items, service, DRIVEN, "25 %"),
    ]
    assert [words for item in made for words in violations(item)] == []


def test_the_policies_hold_for_a_release_with_both_arms_so_that_no_selector_finds_anothers_pods(
    release: tuple[list[Item], str],
) -> None:
    items, service = release
    assert [words for rule in RULES for words in rule([*items, *both_arms(items, service)])] == []


def test_a_monitor_finds_its_own_service_alone(release: tuple[list[Item], str]) -> None:
    items, service = release
    together = [*items, *both_arms(items, service)]
    services = {item["metadata"]["name"]: item["metadata"]["labels"] for item in together if item["kind"] == "Service"}
    for monitor in (item for item in together if item["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert [name for name, labels in services.items() if wanted <= labels.items()] == [monitor["metadata"]["name"]]


def _container(deployment: Item) -> Item:
    found: Item = deployment["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("suffix", [CANARY, BASELINE])
def test_an_arms_pods_are_those_of_its_release_but_for_their_name_and_the_ports_of_nodes(
    release: tuple[list[Item], str], suffix: str
) -> None:
    items, service = release
    before = copy.deepcopy(items)
    arm = of_kind(arm_items(items, service, suffix, 3), "Deployment")
    own = copy.deepcopy(of_kind(items, "Deployment"))
    assert arm["spec"].pop("replicas") == 3
    assert arm["metadata"]["labels"].pop("monopod/arm-of") == service
    own["spec"].pop("replicas", None)
    container = _container(arm)
    assert container["env"].pop() == {"name": "MONOPOD_ARM", "value": suffix[1:]}
    assert container["name"] == service
    for port in own["spec"]["template"]["spec"]["containers"][0]["ports"]:
        port.pop("hostPort", None)
    assert json.loads(json.dumps(arm).replace(arm_name(service, suffix), service)) == own
    names = {item["name"]: item.get("value") for item in arm["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert (names["MONOPOD_SERVICE"], names["MONOPOD_TRACK"]) == (service, "prod")  # paths in the pod stay the same
    assert items == before


def test_an_arm_keeps_what_pods_need_from_their_namespace() -> None:
    items, service = found("every-setting", "hk-prod-istio")
    arm = arm_items(items, service, CANARY, 1)
    container = of_kind(arm, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert of_kind(arm, "ServiceAccount")["imagePullSecrets"] == [{"name": "registry"}]
    assert container["envFrom"] == [{"secretRef": {"name": "same-keys"}}]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in container["volumeMounts"]


def test_an_arm_runs_on_the_nodes_of_its_service_whatever_their_labels_say() -> None:
    items, service = found("every-setting", "hk-prod-istio")
    of_kind(items, "Deployment")["spec"]["template"]["spec"]["nodeSelector"] = {"app": service}
    arm = of_kind(arm_items(items, service, CANARY, 1), "Deployment")
    assert arm["spec"]["template"]["spec"]["nodeSelector"] == {"app": service}


def test_the_gateway_and_prometheus_may_call_an_arm_and_networks_outside_the_cluster_may_not() -> None:
    items, service = found("every-setting", "hk-prod-istio")
    rules = of_kind(arm_items(items, service, CANARY, 1), "NetworkPolicy")["spec"]["ingress"]
    callers = {
        (rule["ports"][0]["port"], *peer["namespaceSelector"]["matchLabels"].values())
        for rule in rules
        for peer in rule["from"]
    }
    assert {(8080, "istio-ingress"), (8081, "monitoring")} <= callers
    assert any("ipBlock" in peer for rule in of_kind(items, "NetworkPolicy")["spec"]["ingress"] for peer in rule["from"])


def test_an_arm_has_a_disruption_budget_from_two_pods_on() -> None:
    items, service = found("every-setting", "eu-prod-gateway-api")
    assert of_kind(arm_items(items, service, CANARY, 2), "PodDisruptionBudget")["metadata"]["name"] == "every-setting-canary"
    assert [item for item in arm_items(items, service, CANARY, 1) if item["kind"] == "PodDisruptionBudget"] == []


def test_offline_pods_alone_have_no_arm() -> None:
    items, service = found("every-setting", "eu-prod-gateway-api")
    offline = [item for item in items if item["metadata"]["name"] == "every-setting-offline"]
    assert offline
    assert arm_items(offline, service, CANARY, 1) == []


def test_an_arms_objects_are_told_from_a_service_that_has_its_name(release: tuple[list[Item], str]) -> None:
    items, service = release
    watch = canary_watch(items, service, DRIVEN, "5 %")
    assert [item for item in (*both_arms(items, service), watch) if not is_arm(item, service)] == []
    assert [item for item in items if is_arm(item, service)] == []
    assert not is_arm(watch, "another")


@pytest.mark.parametrize("suffix", [CANARY, BASELINE])
def test_the_series_of_an_arm_are_its_services_and_say_which_arm_it_is(release: tuple[list[Item], str], suffix: str) -> None:
    items, service = release
    arm = arm_items(items, service, suffix, 1)
    (endpoint,) = of_kind(arm, "ServiceMonitor")["spec"]["endpoints"]
    labelled = {each["targetLabel"]: each["replacement"] for each in endpoint["relabelings"]}
    assert labelled == {"service": service, "arm": suffix.removeprefix("-"), "arm_of": service}
    assert labelled.keys() <= SCRAPE_LABELS.keys()


def test_the_longest_names_of_arms_are_names_that_a_service_may_have() -> None:
    assert max(len(name) for name in arm_names("x" * 40)) <= 63


@pytest.mark.parametrize(("pods", "share", "wanted"), [(1, 5, 1), (20, 5, 1), (21, 5, 2), (3, 25, 1), (3, 50, 2), (3, 100, 3)])
def test_an_arm_has_its_share_of_the_pods_rounded_up(pods: int, share: int, wanted: int) -> None:
    assert arm_pods(pods, share) == wanted


@pytest.mark.parametrize(
    ("share", "has_baseline", "wanted"),
    [
        (0, True, {"cats": 100}),
        (5, True, {"cats": 90, "cats-canary": 5, "cats-baseline": 5}),
        (50, True, {"cats-canary": 50, "cats-baseline": 50}),
        (50, False, {"cats": 50, "cats-canary": 50}),
        (100, True, {"cats-canary": 100}),
        (100, False, {"cats-canary": 100}),
    ],
)
def test_the_baseline_gets_as_much_as_the_canary_and_the_service_the_rest(
    share: int, has_baseline: bool, wanted: dict[str, int]
) -> None:
    assert arm_shares("cats", share, has_baseline=has_baseline) == wanted


def backends(route: Item) -> list[dict[str, int]]:
    """Return the weights of each rule's backends."""
    if route["kind"] == "HTTPRoute":
        return [{each["name"]: each["weight"] for each in rule["backendRefs"]} for rule in route["spec"]["rules"]]
    namespace = route["metadata"]["namespace"]
    return [
        {each["destination"]["host"].removesuffix(f".{namespace}.svc.cluster.local"): each["weight"] for each in rule["route"]}
        for rule in route["spec"]["http"]
    ]


def without_backends(route: Item) -> Item:
    made = copy.deepcopy(route)
    for rule in made["spec"].get("rules") or made["spec"]["http"]:
        rule.pop("backendRefs", None) or rule.pop("route")
    return made


def test_each_rule_of_a_route_has_the_shares_and_stays_otherwise_as_it_was(release: tuple[list[Item], str]) -> None:
    items, service = release
    shares = arm_shares(service, 25, has_baseline=True)
    (own,) = weighted(items, {service: 100})
    (route,) = weighted(items, shares)
    rules = own["spec"].get("rules") or own["spec"]["http"]
    assert backends(route) == [shares] * len(rules)
    assert len(rules) == 2
    assert without_backends(route) == without_backends(own)


def test_a_service_that_gets_all_has_the_very_route_of_its_release(release: tuple[list[Item], str]) -> None:
    """A stored route of an older platform has no weight, and gets none."""
    items, service = release
    (route,) = weighted(items, {service: 100})
    assert route in items
    older = json.loads(re.sub(r', "weight": 100', "", json.dumps(route)))
    assert older != route
    assert weighted([older], {service: 100}) == [older]


def test_shares_are_set_anew_over_shares_that_were_set(release: tuple[list[Item], str]) -> None:
    items, service = release
    for before in ({service: 100}, {arm_name(service, CANARY): 100}, arm_shares(service, 5, has_baseline=True)):
        for after in ({service: 100}, {arm_name(service, CANARY): 100}, arm_shares(service, 50, has_baseline=True)):
            (route,) = weighted(weighted(items, before), after)
            assert backends(route)[0] == after


@pytest.mark.parametrize("shares", [{"demo": 99}, {"demo": 60, "demo-canary": 50}, {"demo": 110, "demo-canary": -10}])
def test_shares_that_are_not_the_whole_are_refused(shares: dict[str, int]) -> None:
    items, _ = found("every-setting", "eu-prod-gateway-api")
    with pytest.raises(ValueError, match="together they must be 100"):
        weighted(items, shares)


def test_an_autoscaler_by_cpu_keeps_the_pods_that_there_are() -> None:
    items, service = found("every-setting", "eu-prod-gateway-api")
    (kept,) = kept_from_scaling_in(items, service, 4)
    assert (kept["kind"], kept["spec"]["minReplicas"], kept["spec"]["maxReplicas"]) == ("HorizontalPodAutoscaler", 4, 6)
    assert kept_from_scaling_in(items, service, 1)[0]["spec"]["minReplicas"] == 2
    assert kept_from_scaling_in(items, service, 9)[0]["spec"]["minReplicas"] == 6  # the API server takes no minimum above


def test_kedas_autoscaler_is_told_to_take_no_pod_away_and_one_that_does_not_know_it_has_the_minimum() -> None:
    items, service = found("every-setting", "hk-prod-istio")
    (kept,) = kept_from_scaling_in(items, service, 4)
    own = of_kind(items, "ScaledObject")["metadata"]["annotations"]
    assert kept["metadata"]["annotations"] == {**own, "autoscaling.keda.sh/paused-scale-in": "true"}
    assert (kept["kind"], kept["spec"]["minReplicaCount"]) == ("ScaledObject", 4)
    assert "autoscaling.keda.sh/paused-scale-in" not in own


def test_a_service_without_an_autoscaler_has_none_to_keep() -> None:
    items, service = found("gpu", "eu-prod-gateway-api")
    assert kept_from_scaling_in(items, service, 4)
    assert kept_from_scaling_in([item for item in items if item["kind"] not in SCALERS], service, 4) == []


def rules_beside_a_canary(tmp_path: Path) -> Path:
    items, service = found("every-setting", "hk-prod-istio")
    rule = canary_watch(items, service, DRIVEN, "step 2 of 3, 25 %, held")
    own = of_kind(items, "PrometheusRule")
    return written([*rule["spec"]["groups"], *own["spec"]["groups"]], tmp_path / "rules.json")


def told_as_not_driven(tmp_path: Path, at: str) -> list[dict[str, str]]:
    found = alerts(rules_beside_a_canary(tmp_path), {}, at, tmp_path)
    return [each for each in found if each["alertname"] == "CanaryNotDriven"]


def test_a_canary_that_nobody_has_driven_for_a_quarter_of_an_hour_is_named(tmp_path: Path) -> None:
    assert NOT_DRIVEN == 15 * 60
    (alert,) = told_as_not_driven(tmp_path, f"{DRIVEN + NOT_DRIVEN + 60}s")
    assert (alert["namespace"], alert["service"], alert["severity"]) == ("test-team", "every-setting", "warning")


@pytest.mark.parametrize("at", [DRIVEN, DRIVEN + NOT_DRIVEN])
def test_a_canary_that_a_command_drives_is_not_named(tmp_path: Path, at: int) -> None:
    assert told_as_not_driven(tmp_path, f"{at}s") == []


def test_the_alert_says_how_far_the_canary_is_and_what_to_do(tmp_path: Path) -> None:
    at = f"{DRIVEN + NOT_DRIVEN + 60}s"
    (told,) = annotations(rules_beside_a_canary(tmp_path), "CanaryNotDriven", {}, at, tmp_path)
    summary = "test-team/every-setting: no command has driven its canary for 16m 0s: step 2 of 3, 25 %, held"
    assert told["summary"] == summary
    assert told["runbook_url"] == "docs/runbook.md#canarynotdriven"


def test_the_record_is_found_by_the_labels_of_the_services_own_rules() -> None:
    items, service = found("every-setting", "hk-prod-istio")
    own, rule = of_kind(items, "PrometheusRule"), canary_watch(items, service, DRIVEN, "step 2 of 3, 25 %, held")
    name = "every-setting-canary"
    arms = {"app": name, "app.kubernetes.io/name": name, "monopod/arm-of": "every-setting"}
    assert rule["metadata"]["name"] == name
    assert rule["metadata"]["labels"] == {**own["metadata"]["labels"], **arms}


def test_an_alert_about_a_canary_ends_soon_after_its_record_is_removed(tmp_path: Path) -> None:
    """Prometheus forgets an alert whose rule it does not have any more, and tells nobody that it is over."""
    items, service = found("every-setting", "hk-prod-istio")
    (canary,) = canary_watch(items, service, time.time() - NOT_DRIVEN - 60, "held")["spec"]["groups"]
    own = [
        {**group, "interval": "1s", "rules": [rule for rule in group["rules"] if rule.get("alert") == "CanaryNotDriven"]}
        for group in of_kind(items, "PrometheusRule")["spec"]["groups"]
    ]
    written(own, tmp_path / "own.rules")
    record = written([{**canary, "interval": "1s"}], tmp_path / "canary.rules")
    with prometheus(tmp_path) as url:

        def firing() -> bool:
            status, answer = get(f"{url}/api/v1/alerts")
            assert status == 200
            return [each["state"] for each in json.loads(answer)["data"]["alerts"]] == ["firing"]

        until(firing, pause=0.1)
        record.unlink()
        assert get(f"{url}/-/reload", b"")[0] == 200
        until(lambda: not firing(), pause=0.1)
