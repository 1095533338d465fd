"""A real Prometheus operator loads the rules of services, canaries and the fleet, and Prometheus evaluates each one well."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conf.base.yaml_nodes import documents
from conf.plan.plan import TRACKS
from conf.plan.platform_alerts import CANARY_NOT_DRIVEN
from conf.render.arms import canary_watch
from tests.conf.cluster import Cluster, clusters
from tests.conf.golden import SERVICES
from tests.conf.prompt_reload import reloading_promptly
from tests.conf.rule_files import prometheus_rules
from tests.running import ROOT
from tests.waiting import until

pytestmark = pytest.mark.cluster

NAMESPACE = "monopod-test-rules"
RULES = f"/apis/monitoring.coreos.com/v1/namespaces/{NAMESPACE}/prometheusrules"
ASKED = "/api/v1/namespaces/monitoring/services/prometheus:9090/proxy/api/v1/rules"
LABELS = {"release": "prometheus"}
SECONDS = 600  # at most, until Prometheus has read the rules and evaluated them

Item = dict[str, Any]


def prometheus_rule(name: str, spec: Item) -> Item:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": LABELS}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": spec}


def given() -> list[Item]:
    """Return the rules of a service's tracks, of the fleet and of a canary, and one that Prometheus refuses."""
    tracks = prometheus_rules(SERVICES["every-setting"], TRACKS)
    left = canary_watch(tracks, "every-setting", time.time() - CANARY_NOT_DRIVEN - 60, "step 2 of 3")
    files = [
        documents(path.read_text(encoding="utf-8"))[0] for path in sorted((ROOT / "charts/monitoring/rules").glob("*.yaml"))
    ]
    wrong = {
        "groups": [{"name": "wrong", "rules": [{"alert": "Wrong", "expr": "up", "annotations": {"summary": "{{ $pod }}"}}]}]
    }
    specs = {
        "wrong": wrong,
        **{f"service-{number}": item["spec"] for number, item in enumerate(tracks)},
        **{f"fleet-{number}": file for number, file in enumerate(files)},
        "canary-left": left["spec"],
    }
    return [prometheus_rule(name, spec) for name, spec in specs.items()]


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, list[Item]]]:
    """Yield the groups that Prometheus has evaluated, by their PrometheusRule's name."""
    cluster = clusters(["hk"])["hk"]
    with cluster.own_namespaces(NAMESPACE), reloading_promptly(cluster):
        for item in given():
            assert cluster.refusal(item) == ""
            cluster.by_hand(RULES, item)
        yield evaluated(cluster, {item["metadata"]["name"] for item in given()} - {"wrong"})


def evaluated(cluster: Cluster, names: set[str]) -> dict[str, list[Item]]:
    """Return the groups of the test's namespace as soon as all of them have been evaluated."""
    end = time.monotonic() + SECONDS
    found: dict[str, list[Item]] = {}
    while time.monotonic() < end:
        found = {}
        for group in json.loads(cluster.text(ASKED))["data"]["groups"]:
            _, _, name = group["file"].rpartition("/")[2].partition(f"{NAMESPACE}-")
            if name:
                found.setdefault(next((each for each in names if name.startswith(f"{each}-")), name), []).append(group)
        rules = [rule for groups in found.values() for group in groups for rule in group["rules"]]
        if found.keys() >= names and all(rule["health"] != "unknown" for rule in rules):
            return found
        time.sleep(1)
    raise TimeoutError(f"after {SECONDS} s Prometheus has only {sorted(found)} of {sorted(names)}")


def test_prometheus_evaluates_every_rule_without_an_error(loaded: dict[str, list[Item]]) -> None:
    rules = [rule for groups in loaded.values() for group in groups for rule in group["rules"]]
    assert [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"] == []
    expected = [rule for item in given()[1:] for group in item["spec"]["groups"] for rule in group["rules"]]
    assert len(rules) == len(expected)


def test_the_operator_loads_no_rule_of_a_file_that_prometheus_refuses(loaded: dict[str, list[Item]]) -> None:
    assert not [name for name in loaded if "wrong" in name]


def test_the_alert_on_a_service_without_pods_fires_by_itself(loaded: dict[str, list[Item]]) -> None:
    names = {rule["name"] for rule in loaded["service-0"][0]["rules"] if rule["state"] in ("pending", "firing")}
    assert {"NoPodAnswers", "NothingScraped"} <= names


def test_a_canary_that_nobody_drives_is_named_until_it_is_taken_away(loaded: dict[str, list[Item]]) -> None:
    def states() -> set[str]:
        groups = json.loads(cluster.text(ASKED))["data"]["groups"]
        ours = [group for group in groups if f"{NAMESPACE}-service-0-" in group["file"]]
        return {rule["state"] for group in ours for rule in group["rules"] if rule["name"] == "CanaryNotDriven"}

    cluster = clusters(["hk"])["hk"]
    until(lambda: states() == {"firing"}, 120)
    cluster.ask("delete", f"{RULES}/canary-left")
    until(lambda: states() == {"inactive"}, 240)
