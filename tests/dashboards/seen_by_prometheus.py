"""Two services, one behind each gateway, with all that charts/monitoring gives Prometheus to read them by."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from conf.base.object_references import Item
from conf.clusters.regions import read
from conf.plan.own_panels import UNITS
from conf.render.chart_values import chart_values
from tests.charts import helm
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.gateways import NAMES as ROUTINGS
from tests.conf.rollout.gateways import named
from tests.conf.rollout.images import SEEN_BY, tagged
from tests.dashboards.provoked import provoking
from tests.running import ROOT

SERVICE = "seen"
FIRST, SECOND = "seen-gateway-api", "seen-gateway-api-2"  # versions of the service behind Envoy Gateway
CHART = ROOT / "charts" / "monitoring"
READ_BY = {"monopod-gateway", "monopod-fleet-records"}  # objects of the chart that Prometheus reads
PANELS = "panels:\n" + "".join(
    f"  - {{title: in {unit}, unit: {unit}, query: 'sum by (pod) (monopod_ready{{$pods}})'}}\n" for unit in UNITS
)
PROXY_SETTINGS = {"spec": {"telemetry": {"metrics": {"enableRequestResponseSizesStats": True}}}}


@dataclass(frozen=True)
class Seen:
    """Services under load. users: by the routing of the gateway that leads to the service. begin: of the load, since 1970."""

    users: dict[str, str]
    begin: float


@contextmanager
def seen(cluster: Cluster, folder: Path) -> Iterator[Seen]:
    """Deploy two services, load them, and roll one out again under load, for the length of a block."""
    users = {routing: SEEN_BY[routing]["username"] for routing in ROUTINGS}
    tagged(SECOND, FIRST)
    with cluster.own_namespaces(*users.values()), cluster.namespaces(["grey"]), ExitStack() as stack:
        checkouts = {routing: _checkout(cluster, folder / routing, routing, user) for routing, user in users.items()}
        for routing, checkout in checkouts.items():
            stack.enter_context(_read_by_prometheus(cluster, checkout))
            checkout.run("deploy", tag=f"seen-{routing}")
        first = checkouts[ROUTINGS[0]]
        first.run("deploy", "--track", "grey", tag=FIRST)
        stack.callback(first.run, "stop", "--track", "grey", "--yes")
        prods = [(checkout, "") for checkout in checkouts.values()]
        with provoking(cluster, [*prods, (first, "grey")]):
            begin = time.time()
            first.run("deploy", tag=SECOND)
            yield Seen(users, begin)


def _checkout(cluster: Cluster, folder: Path, routing: str, user: str) -> Checkout:
    made = Checkout(folder, user, {"hk": cluster.context}, SERVICE, named(routing))
    regions = json.loads(made.regions_file.read_text())
    regions["regions"]["hk"]["prometheus"]["labels"] = {"release": "prometheus"}
    made.regions_file.write_text(json.dumps(regions))
    made.write_value(**{name: value for name, value in SEEN_BY[routing].items() if name not in ("username", "service_name")})
    (made.folder / "panels.yaml").write_text(PANELS)
    return made


@contextmanager
def _read_by_prometheus(cluster: Cluster, checkout: Checkout) -> Iterator[None]:
    """Place the chart's monitors and records in the user's namespace, and have the gateway count sizes."""
    regions = read(checkout.regions_file.read_text())
    values = chart_values(regions, regions.regions["hk"], ("monitoring",))["monitoring"]
    with ExitStack() as stack:
        for item in helm.rendered(CHART, values):
            if item["metadata"]["name"] in READ_BY and not _is_second_record(item, checkout):
                item["metadata"]["namespace"] = checkout.user
                cluster.by_hand(_kind(item), item)
            if item["kind"] == "EnvoyFilter":
                item["metadata"]["name"] = f"{checkout.user}-sizes"
                stack.enter_context(cluster.having(_kind(item), item))
        if checkout.gateway.routing == "gateway-api":
            stack.enter_context(_counting_sizes(cluster, checkout))
        yield


def _is_second_record(item: Item, checkout: Checkout) -> bool:
    return item["kind"] == "PrometheusRule" and checkout.gateway.routing != ROUTINGS[0]


def _kind(item: Item) -> str:
    """Return the path of an object's kind."""
    return f"/apis/{item['apiVersion']}/namespaces/{item['metadata']['namespace']}/{item['kind'].lower()}s"


@contextmanager
def _counting_sizes(cluster: Cluster, checkout: Checkout) -> Iterator[None]:
    """Set the gateway's EnvoyProxy as docs/dashboards.md says, for the length of a block."""
    fields, api = checkout.gateway.fields, "/apis/gateway.networking.k8s.io/v1"
    gateway = cluster.ask("get", f"{api}/namespaces/{fields['namespace']}/gateways/{fields['name']}")
    found = cluster.ask("get", f"{api}/gatewayclasses/{gateway['spec']['gatewayClassName']}")["spec"]["parametersRef"]
    where = f"/apis/gateway.envoyproxy.io/v1alpha1/namespaces/{found['namespace']}/envoyproxies/{found['name']}"
    before = cluster.ask("get", where)["spec"].get("telemetry")
    cluster.by_hand(where, PROXY_SETTINGS)
    try:
        yield
    finally:
        cluster.by_hand(where, {"spec": {"telemetry": before}})
