"""The relay and Alertmanager's routes as charts/monitoring writes them."""

import pytest

from conf.base.object_references import Item
from conf.base.yaml_nodes import documents
from conf.clusters.regions import load
from conf.render.chart_values import chart_values
from conf.rules.rendered_objects import (
    callers_are_named,
    memory_is_bounded,
    pods_are_restricted,
    selectors_find_the_pods,
    violations,
)
from relay.__main__ import settings
from tests.charts import helm
from tests.conf import golden
from tests.running import ROOT

pytestmark = pytest.mark.cluster  # helm comes with the cluster's tools

CHART = ROOT / "charts/monitoring"
IMAGE = "registry.example.com/monopod/relay:1"
REGIONS = load(ROOT / "conf/regions.yaml")
REGION = chart_values(REGIONS, REGIONS.regions["hk"], ("monitoring",))["monitoring"]
WATCHDOG = {"alertname": "Watchdog", "severity": "none", "platform": "monopod"}
OURS = {"Deployment", "Service", "NetworkPolicy", "Secret"}


def values(**relay: object) -> Item:
    given: Item = {
        "relay": {"create": True, "image": IMAGE, **relay},
        "alertmanager": {"create": True, "namespace": "elsewhere"},
    }
    return {**REGION, **given}


def objects(**relay: object) -> dict[str, Item]:
    found = helm.rendered(CHART, values(**relay))
    return {each["kind"]: each for each in found if each["kind"] in OURS}


def routes(**relay: object) -> Item:
    (found,) = documents(objects(**relay)["Secret"]["stringData"]["alertmanager.yaml"])
    return dict(found)


def test_its_pod_is_restricted_has_no_token_and_may_be_called_by_alertmanager_alone() -> None:
    found = list(objects().values())
    assert [words for item in found for words in violations(item)] == []
    rules = (pods_are_restricted, memory_is_bounded, callers_are_named, selectors_find_the_pods)
    assert [words for rule in rules for words in rule([each for each in found if each["kind"] != "Secret"])] == []
    policy = objects()["NetworkPolicy"]["spec"]
    (ingress,) = policy["ingress"]
    assert ingress["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "elsewhere"}
    assert [each["port"] for rule in policy["egress"] for each in rule["ports"]] == [53, 53, 443]


def test_two_relays_never_send_at_once() -> None:
    spec = objects()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_address_comes_from_a_secret_that_the_chart_does_not_hold() -> None:
    found = objects(secret="mine")
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert [each["secret"]["secretName"] for each in pod["volumes"]] == ["mine"]
    assert [each["name"] for each in pod["containers"][0]["env"] if "valueFrom" in each] == []
    assert list(found["Secret"]["stringData"]) == ["alertmanager.yaml"]


def test_the_relay_reads_the_settings_that_the_chart_writes() -> None:
    pod = objects(receivers=["robot", "webhook"], plainHosts=["10.0.0.5:80"])["Deployment"]["spec"]["template"]["spec"]
    found, port = settings({each["name"]: each["value"] for each in pod["containers"][0]["env"]})
    assert (found.region, list(found.receivers), port) == ("hk", ["robot", "webhook"], 8080)
    assert found.receivers["robot"].plain_hosts == ("10.0.0.5:80",)
    assert str(found.receivers["robot"].file.parent) == pod["containers"][0]["volumeMounts"][0]["mountPath"]


def test_one_group_of_alerts_is_that_of_a_services_track() -> None:
    found = routes(receivers=["robot", "webhook"])
    assert found["route"]["group_by"] == ["namespace", "service", "track"]
    (receiver,) = [each for each in found["receivers"] if each["name"] == found["route"]["receiver"]]
    assert [each["url"] for each in receiver["webhook_configs"]] == [
        "http://monopod-relay.monopod.svc:8080/robot",
        "http://monopod-relay.monopod.svc:8080/webhook",
    ]
    assert all(each["send_resolved"] and each["max_alerts"] for each in receiver["webhook_configs"])


def _taken(found: Item, **labels: str) -> Item:
    """Return the route that an alert takes: the first one whose matchers it has, else the root."""
    for route in found["route"]["routes"]:
        wanted = dict(each.replace('"', "").split("=") for each in route["matchers"])
        if wanted.items() <= labels.items():
            return dict(route)
    return dict(found["route"])


def test_a_critical_alert_waits_for_no_interval_of_a_warning_about_the_same_service() -> None:
    found = routes()
    critical, warning = (_taken(found, alertname="A", severity=severity) for severity in ("critical", "warning"))
    assert critical["receiver"] == warning["receiver"] == "relay"
    assert (critical["group_wait"], critical["group_interval"], critical["repeat_interval"]) == ("10s", "1m", "1h")
    assert (warning["group_wait"], warning["group_interval"], warning["repeat_interval"]) == ("30s", "5m", "4h")


def test_the_alert_that_always_fires_reaches_nobody_where_no_dead_mans_switch_is_named() -> None:
    found = routes()
    receivers = {each["name"]: each for each in found["receivers"]}
    assert receivers[_taken(found, **WATCHDOG)["receiver"]] == {"name": "nobody"}
    assert _taken(found, alertname="NoPodAnswers", severity="critical")["receiver"] == "relay"


def test_a_dead_mans_switch_hears_of_the_alert_that_always_fires_and_of_nothing_else() -> None:
    found = routes(receivers=["robot", "watchdog"])
    receivers = {each["name"]: each for each in found["receivers"]}
    route = _taken(found, **WATCHDOG)
    (switch,) = receivers[route["receiver"]]["webhook_configs"]
    assert switch == {"url": "http://monopod-relay.monopod.svc:8080/watchdog", "send_resolved": False}
    assert (route["repeat_interval"], route.get("continue", False)) == ("5m", False)
    assert receivers[_taken(found, alertname="Watchdog", severity="none")["receiver"]] == {"name": "nobody"}
    (people,) = receivers["relay"]["webhook_configs"]
    assert people["url"].endswith("/robot")
    assert _taken(found, alertname="NoPodAnswers", severity="critical")["receiver"] == "relay"


def test_the_rule_that_always_fires_has_the_labels_of_its_route() -> None:
    (group,) = documents((CHART / "rules/fleet-alerts.yaml").read_text(encoding="utf-8"))[0]["groups"]
    (rule,) = [each for each in group["rules"] if each["alert"] == "Watchdog"]
    assert {"alertname": rule["alert"], **rule["labels"]} == WATCHDOG


def test_a_proxy_is_told_to_the_relay_and_its_port_is_open() -> None:
    found = objects(proxy="http://proxy.lan:3128")
    pod = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "HTTPS_PROXY", "value": "http://proxy.lan:3128"} in pod["env"]
    assert [each["port"] for rule in found["NetworkPolicy"]["spec"]["egress"] for each in rule["ports"]] == [53, 53, 443, 3128]
    assert [words for item in found.values() for words in violations(item)] == []
    without = objects()["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert [each["name"] for each in without["env"] if "PROXY" in each["name"]] == []


def test_the_values_that_monopod_prints_for_a_region_with_alerting_keep_the_relay_and_the_routes() -> None:
    """Every page installs the chart with the same values, since helm takes away what they do not turn on."""
    regions = golden.regions()
    (given,) = chart_values(regions, regions.regions["hk"], ("monitoring",)).values()
    assert {each["kind"] for each in helm.rendered(CHART, given)} >= OURS
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs").glob("*.md")]
    assert [page for page in pages if "--set relay" in page or "--set alertmanager" in page] == []


def test_without_asking_for_them_there_is_neither_a_relay_nor_a_configuration_of_alertmanager() -> None:
    found = helm.rendered(CHART, REGION)
    assert OURS & {each["kind"] for each in found} == set()


@pytest.mark.parametrize(
    ("relay", "words"),
    [
        ({"image": ""}, "image"),
        ({"image": "relay"}, "image"),
        ({"receivers": []}, "receivers"),
        ({"receivers": ["mail"]}, "receivers"),
        ({"receivers": ["watchdog"]}, "receivers"),
        ({"proxy": "proxy.lan:3128"}, "proxy"),
        ({"proxy": "http://proxy.lan"}, "proxy"),
        ({"proxy": "http://user:word@proxy.lan:3128"}, "proxy"),
        ({"plainHosts": ["http://10.0.0.5"]}, "plainHosts"),
        ({"ports": [0]}, "ports"),
        ({"secret": "a b"}, "secret"),
        ({"address": "https://qyapi.example.com/send?key=hidden"}, "address"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(relay: Item, words: str) -> None:
    said = helm.refusal(CHART, values(**relay))
    assert words in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"region": "HK"}, "/region"),
        ({"routing": "nginx"}, "/routing"),
        ({"gateway": {"pods": "*"}}, "/gateway/pods"),
        ({"monitors": {"interval": "often"}}, "/monitors/interval"),
        ({"dashboards": {"labels": {"grafana_dashboard": None}}}, "/dashboards/labels"),
        ({"dashboards": {"labels": {"grafana_dashboard": "two words"}}}, "/dashboards/labels"),
        ({"prometheus": {"labels": {"-release": "prometheus"}}}, "-release"),
        ({"alerts": {"runbook": "a page"}}, "/alerts/runbook"),
        ({"alertmanager": {"watchdogInterval": "often"}}, "/alertmanager/watchdogInterval"),
        ({"alertmanager": {"groupWait": "soon"}}, "/alertmanager/groupWait"),
        ({"alertmanager": {"create": True}}, "/relay/create"),
    ],
    ids=str,
)
def test_a_value_of_the_chart_that_does_not_fit_is_refused_with_its_place(changes: Item, told: str) -> None:
    """Among them routes to a relay that is not there, and dashboards without a label by which Grafana finds them."""
    assert told in helm.refusal(CHART, {**REGION, **changes})
