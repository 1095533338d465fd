"""From a service that fails to the message in a chat, and back: Prometheus, Alertmanager, the relay in its image, a robot.

Only a storm of alerts is sent by hand. The robot listens on this machine, at the address by which pods reach the node.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from conf.base.object_references import Item, path
from tests.charts import helm
from tests.conf.cluster import Cluster
from tests.conf.local_servers import running_server
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.service_state import until
from tests.conf.webhook import Webhook
from tests.image.pods import RESTRICTED, Pod
from tests.locks import alone
from tests.prerequisites import missing
from tests.relay.relay_image import pushed
from tests.running import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.usefixtures("images", "prompt_reload")]

NAMESPACE = "rollout-test-relay"
ALERTMANAGER = "/api/v1/namespaces/monitoring/services/alertmanager:9093/proxy/api/v2"
CONFIGURATION = "/api/v1/namespaces/monitoring/secrets/alertmanager-alertmanager"
OWN_RULE = """
groups:
  - name: own
    rules:
      - alert: NobodyIsThere
        expr: (sum(monopod_ready{namespace="USER",service="digits"}) or vector(0)) < 1
        labels: {severity: warning}
        annotations: {summary: "所有副本都不可用"}
"""
STORM = f"storm-{uuid.uuid4().hex[:8]}"  # a service that an Alertmanager which outlives the test never heard of
ALERTS = 500
ALWAYS = {"alertname": "Watchdog", "severity": "none", "platform": "monopod"}  # as charts/monitoring fires it


@pytest.fixture
def robot() -> Iterator[Webhook]:
    """A robot that pods can reach."""
    with running_server(Webhook("0.0.0.0")) as server:
        yield server


@pytest.fixture
def switch() -> Iterator[Webhook]:
    """A dead man's switch that pods can reach."""
    with running_server(Webhook("0.0.0.0")) as server:
        yield server


@pytest.fixture
def relay(hk: Cluster, robot: Webhook, switch: Webhook, needs: Callable[[str, str], str]) -> Iterator[Pod]:
    """The relay's pod and Alertmanager's routes, by helm, in a namespace that enforces the restricted standard."""
    if hk.find(path("Service", "monitoring", "alertmanager")) is None:
        missing("Alertmanager is not on this cluster: have the Prometheus operator run one, at alertmanager.monitoring:9093")
    needs("buildah", "buildah")
    image = pushed()
    with alone("alertmanager"), hk.own_namespaces(NAMESPACE):
        if hk.find(CONFIGURATION):
            missing("Alertmanager has a configuration already: the test would replace it")
        hk.by_hand(f"/api/v1/namespaces/{NAMESPACE}", {"metadata": {"labels": RESTRICTED}})
        node = hk.ask("get", "/api/v1/nodes")["items"][0]
        address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        hosts = {"robot": f"{address}:{robot.server_port}", "watchdog": f"{address}:{switch.server_port}"}
        secret: Item = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "monopod-relay"},
            "stringData": {name: f"http://{host}/send?key=hidden" for name, host in hosts.items()},
        }
        with hk.having(f"/api/v1/namespaces/{NAMESPACE}/secrets", secret), installed(hk, image, hosts):
            yield ready_pod(hk)


@contextmanager
def installed(hk: Cluster, image: str, hosts: Mapping[str, str]) -> Iterator[None]:
    """Install the chart's relay and routes for the length of a block. Prometheus finds none of its other objects.

    hosts: by the relay's receivers.
    """
    values = {
        "region": "hk", "routing": "gateway-api", "gateway": {"pods": "envoy-gateway-system"},
        "prometheus": {"labels": {"release": "nobody"}}, "monitors": {"create": False, "sizes": False},
        "dashboards": {"create": False}, "recording": {"create": False},
        "alertmanager": {"create": True, "groupWait": "5s", "groupInterval": "10s"},
        "relay": {"create": True, "image": image, "receivers": [*hosts], "plainHosts": [*hosts.values()]},
    }  # fmt: skip
    release = ("relay", "--namespace", NAMESPACE)
    helm.done("upgrade", "--install", *release, ROOT / "charts/monitoring", values=values, context=hk.context)
    try:
        yield
    finally:
        helm.done("uninstall", *release, context=hk.context)


def ready_pod(hk: Cluster) -> Pod:
    def ready() -> bool:
        return bool(hk.ask("get", path("Deployment", NAMESPACE, "monopod-relay"))["status"].get("readyReplicas"))

    until(ready, 180)
    (pod,) = hk.ask("get", path("Pod", NAMESPACE), labelSelector="app.kubernetes.io/name=monopod-relay")["items"]
    return Pod.of(hk.context, NAMESPACE, pod["metadata"]["name"])


def messages(robot: Webhook, *words: str) -> list[str]:
    """Return the messages that hold all of some words."""
    texts = [each["markdown"]["content"] for each in robot.received]
    return [text for text in texts if all(word in text for word in words)]


def answers(relay: Pod, service: str) -> list[int]:
    """Return the relay's answers to notifications about a service, the first one first."""
    lines = [json.loads(line) for line in relay.log().splitlines()]
    return [line["status"] for line in lines if line.get("group", {}).get("service") == service]


def send_storm(hk: Cluster, **times: str) -> None:
    """Give Alertmanager many alerts of one service at once, and one that says that it is none.

    times: startsAt or endsAt, as RFC 3339.
    """
    common = {"namespace": NAMESPACE, "service": STORM, "track": "prod"}
    alerts = [{"labels": {**common, "alertname": "Storm", "pod": f"storm-{number}"}} for number in range(ALERTS)]
    alerts.append({"labels": {**common, "alertname": "Watchdog", "severity": "none"}})
    hk.ask("post", f"{ALERTMANAGER}/alerts", [{**each, **times} for each in alerts])


def test_a_service_fails_and_heals_and_a_chat_is_told_both(
    hk: Cluster, relay: Pod, robot: Webhook, switch: Webhook, make_checkout: MakeCheckout
) -> None:
    mine = make_checkout("hk")
    regions = json.loads(mine.regions_file.read_text())
    regions["regions"]["hk"]["prometheus"]["labels"] = {"release": "prometheus"}
    mine.regions_file.write_text(json.dumps(regions))
    (mine.folder / "alerts.yaml").write_text(OWN_RULE.replace("USER", mine.user))
    mine.write_value(replicas=1)
    mine.run("deploy", tag="1")
    pods = path("Deployment", mine.user, mine.name)
    hk.by_hand(pods, {"spec": {"replicas": 0}})  # from here on no pod answers

    assert relay.run("id", "-u") == (0, "65532\n")
    assert relay.run("touch", "/app/x")[0] != 0
    until(lambda: "nobody" in hk.ask("get", f"{ALERTMANAGER}/status")["config"]["original"], 300)
    hk.ask("post", f"{ALERTMANAGER}/alerts", [{"labels": ALWAYS}])
    robot.answer = (200, b'{"errcode": 45009, "errmsg": "api freq out of limit"}')
    begin = datetime.now(UTC)
    # Without an end that is far away, Alertmanager would take the alerts for resolved after five minutes.
    send_storm(hk, startsAt=begin.isoformat(), endsAt=(begin + timedelta(hours=1)).isoformat())
    until(lambda: bool(answers(relay, STORM)), 180)
    robot.answer = (200, b'{"errcode": 0}')  # Alertmanager tries again until a robot takes the message
    until(lambda: 200 in answers(relay, STORM), 300)  # refused attempts count among the 20 of a minute
    service = f"{mine.user}/{mine.name}"
    until(lambda: bool(messages(robot, service, "firing**", "NobodyIsThere", "所有副本都不可用")), 300)
    until(lambda: bool(messages(robot, service, "firing**", "NoPodAnswers")), 400)
    assert (set(answers(relay, STORM)), answers(relay, STORM).count(200)) == ({200, 503}, 1)
    for text in messages(robot, STORM, "firing**"):
        assert f"**{ALERTS} firing**</font> {NAMESPACE}/{STORM} in hk" in text
        assert len(text.encode()) <= 4096
    assert messages(robot, "Watchdog") == []
    assert switch.received
    assert all("Watchdog" in each["text"] and STORM not in each["text"] for each in switch.received)

    send_storm(hk, endsAt=datetime.now(UTC).isoformat())
    hk.by_hand(pods, {"spec": {"replicas": 1}})
    until(lambda: bool(messages(robot, service, "resolved**", "NoPodAnswers is over", "it fired from")), 400)
    until(lambda: bool(messages(robot, f"**{ALERTS} resolved**", STORM)), 180)
    assert "hidden" not in relay.log()
