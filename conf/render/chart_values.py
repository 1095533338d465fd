"""The values of the charts in charts/ for a region, made from regions.yaml. Each chart's values.schema.json judges them.

A chart's own values.yaml has what is alike in every region.
"""

from collections.abc import Callable, Mapping

from conf.base.object_references import Item
from conf.base.quantities import cpu_quantity, memory_quantity, rounded_up
from conf.base.yaml_nodes import documents
from conf.clusters.regions import Prometheus, Region, Regions
from conf.clusters.rights import ACCOUNTS, DEPLOY, READ, query_rights, rules
from conf.plan.alerts import RUNBOOK
from conf.plan.plan import NAMESPACES
from conf.plan.routes import gateway_plan
from conf.render.templates import render_gateway
from serving.settings import size_in_bytes

DEPLOYERS = {"prod": "deploy", "grey": "grey", "ab": "ab"}  # a track's deploy job -> its account
PEOPLE = "people"
INJECTED = {"istio-injection": "enabled"}
LOGS_IMAGE = "monopod/logs:0.2.0"  # in the registry of all images
STATS_SECONDS = 60  # between two lines of the shipper's own counters
RELAY_IMAGE = "monopod/relay:0.2.0"  # in the registry of all images


def cluster_values(regions: Regions, region: Region) -> Item:
    """Return the values of charts/cluster for a region."""
    namespaces = _namespaces(regions, region)
    return {
        "region": region.name,
        "accounts": {"namespace": ACCOUNTS, "names": [*dict.fromkeys(each["account"] for each in namespaces), PEOPLE]},
        "readers": list(region.readers),
        "namespaces": namespaces,
        "quota": _quota(region),
        "rights": {"deploy": rules(DEPLOY), "read": rules(READ)},
        "prometheus": _query(region.prometheus, [DEPLOYERS["prod"]] if regions.users else []),
        "gateway": _gateway(region),
    }


def _namespaces(regions: Regions, region: Region) -> list[Item]:
    """Return the namespaces of the tracks that run in a region, then the users' namespaces. account: of their deploy jobs."""
    found = [(NAMESPACES[track], DEPLOYERS[track], False) for track in _tried(regions, region)]
    found += [(each.name, DEPLOYERS["prod"], each.use_srv) for each in regions.users.values()]
    labels = INJECTED if region.sidecars else {}
    return [
        {"name": name, "account": account, "podSecurity": "privileged" if host_ports else "restricted", "labels": labels}
        for name, account, host_ports in found
    ]


def _tried(regions: Regions, region: Region) -> list[str]:
    """Return the tracks beside prod that run in a region."""
    return [track for track, where in (("grey", regions.grey), ("ab", regions.ab)) if where == region.name]


def _quota(region: Region) -> dict[str, str]:
    """Return the most that a namespace may ask for, by a ResourceQuota's own names. A field of 0 sets no limit."""
    quota = region.quota
    found = {}
    if quota.pods:
        found["pods"] = str(quota.pods)
    if quota.cpu:
        found["requests.cpu"] = cpu_quantity(quota.cpu)
    if size_in_bytes(quota.memory):
        found["requests.memory"] = memory_quantity(quota.memory)
    return {**found, **_gpu_quota(region)}


def _gpu_quota(region: Region) -> dict[str, str]:
    """Return the limit on GPUs. Whole cards are counted as the smallest: `monopod check` refuses what larger ones exceed."""
    gpu, gib = region.gpu, region.quota.gpu_memory
    if not gib or gpu is None:
        return {}
    smallest = min((node.card_memory for node in region.nodes if node.cards), default=1.0)
    amount = {"GiB": gib, "MiB": gib * 1024, "card": gib / smallest}[gpu.unit]
    return {f"requests.{gpu.resource}": str(rounded_up(amount))}


def _query(prometheus: Prometheus, accounts: list[str]) -> Item:
    """Return the namespace of Prometheus, and the rules that allow to ask it there: none where it is outside the cluster.

    accounts: of jobs that ask it beside people. The job of prod judges canaries.
    """
    service = prometheus.service
    if service is None:
        return {"namespace": prometheus.namespace, "rules": [], "accounts": []}
    found = rules(query_rights(service.name, str(service.port)))
    return {"namespace": service.namespace, "rules": found, "accounts": accounts}


def _gateway(region: Region) -> Item:
    gateway, planned = region.gateway, gateway_plan(region)
    return {
        "create": gateway.create,
        "routing": region.routing,
        "namespace": gateway.namespace,
        # Istio's own namespaces are there before it. The Gateway API's namespaces are this chart's.
        "createNamespace": gateway.create and region.routing == "gateway-api" and gateway.namespace != gateway.pods,
        "name": gateway.name,
        "host": region.host,
        "class": gateway.class_,
        "selector": gateway.selector,
        "certificate": gateway.certificate,
        "buffers": documents(render_gateway(planned)) if planned else [],
    }


def logs_values(regions: Regions, region: Region) -> Item:
    """Return the values of charts/logs for a region."""
    logs = region.logs
    return {
        "region": region.name,
        "namespaces": [*(NAMESPACES[track] for track in _tried(regions, region)), *regions.users],
        "image": logs.image or f"{regions.registry}/{LOGS_IMAGE}",
        "pullSecrets": list(region.pull_secrets),
        "sink": {"url": logs.url, "secret": logs.secret},
        "queue": f"{size_in_bytes(logs.queue) // 2**20}Mi",
        "statsSeconds": STATS_SECONDS,
    }


def monitoring_values(regions: Regions, region: Region) -> Item:
    """Return the values of charts/monitoring for a region."""
    return {
        "region": region.name,
        "routing": region.routing,
        "gateway": {"pods": region.gateway.pods},
        "prometheus": {"labels": dict(region.prometheus.labels)},
        "alerts": {"runbook": regions.runbook or RUNBOOK},
        **_alerting(regions, region),
    }


def _alerting(regions: Regions, region: Region) -> Item:
    """Return what turns the relay and Alertmanager's routes on: helm takes away what an installation's values leave out."""
    alerting, alertmanager = region.alerting, {"namespace": region.prometheus.namespace}
    if alerting is None:
        return {"alertmanager": alertmanager}
    receivers = {"robot": alerting.robot, "webhook": alerting.webhook, "watchdog": alerting.watchdog}
    relay = {
        "create": True,
        "image": alerting.relay_image or f"{regions.registry}/{RELAY_IMAGE}",
        "secret": alerting.secret,
        "receivers": [receiver for receiver, is_asked in receivers.items() if is_asked],
        "proxy": alerting.proxy,
    }
    return {"relay": relay, "alertmanager": {**alertmanager, "create": alerting.routes, "secret": alerting.configuration}}


CHARTS: Mapping[str, Callable[[Regions, Region], Item]] = {
    "cluster": cluster_values,
    "logs": logs_values,
    "monitoring": monitoring_values,
}


def chart_values(regions: Regions, region: Region, charts: tuple[str, ...] = ()) -> dict[str, Item]:
    """Return the values of some charts, () for all, by the chart's name. Raises KeyError for a chart that CHARTS lacks."""
    return {chart: CHARTS[chart](regions, region) for chart in charts or CHARTS}
