"""The values of charts/monitoring: how a region's services are reached, how Prometheus finds rules, and where alerts go.

Knows regions.yaml. Does not know how the chart writes it. The chart's own values.yaml has what is alike in every region.
"""

from conf.base.object_references import Item
from conf.clusters.region import Region, Regions
from conf.plan.watched import RUNBOOK

RELAY_IMAGE = "monopod/relay:0.2.0"  # in the registry of all images


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
