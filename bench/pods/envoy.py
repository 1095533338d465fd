"""Envoy's configuration for the four pods: what the platform's routes say, in Envoy's own words.

Istio and Envoy Gateway make the same of the objects in templates/: destinationrule.yaml with virtualservice.yaml, or
backendtrafficpolicy.yaml with httproute.yaml. Here the values of the plan are written down directly, for one Envoy on loopback.
"""

from collections.abc import Sequence
from typing import Any

from bench.pods.payloads import FOLDER
from bench.work import ROOT
from conf.clusters.regions import Region
from conf.clusters.regions import load as load_regions
from conf.plan.routes import Path, Route, buffer_limit, route
from serving.settings import load

CLUSTER = "pods"
EXTENSIONS = "type.googleapis.com/envoy.extensions"
PROTOCOL_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def planned(pods: int) -> tuple[Route, int]:
    """Return the route that the platform plans in the first region of regions.yaml.

    The second value is the bytes of a body that the proxies keep there.
    """
    region: Region = next(iter(load_regions(ROOT / "conf" / "regions.yaml").regions.values()))
    settings = load(FOLDER / "value.py", None).settings
    return route(settings, region, "prod", settings.username, pods), buffer_limit(region)


def configuration(plan: Route, kept: int, port: int, admin_port: int, backends: Sequence[int]) -> dict[str, Any]:
    """Return Envoy's configuration. kept: bytes of a body that are kept for a retry. backends: ports of loopback."""
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {"listeners": [_listener(plan, kept, port)], "clusters": [_cluster(plan, backends)]},
    }


def _listener(plan: Route, kept: int, port: int) -> dict[str, Any]:
    routes = [way for path in plan.paths for way in _ways(path, plan)]
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "pods",
        "route_config": {"virtual_hosts": [{"name": "pods", "domains": ["*"], "routes": routes}]},
        "http_filters": [_typed("envoy.filters.http.router", f"{EXTENSIONS}.filters.http.router.v3.Router")],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": "pods",
        "address": _address(port),
        "per_connection_buffer_limit_bytes": kept,
        "filter_chains": [{"filters": filters}],
    }


def _ways(path: Path, plan: Route) -> list[dict[str, Any]]:
    """Return the two matches of a path: the exact one, and the paths below it."""
    action = {
        "cluster": CLUSTER,
        "timeout": plan.timeout,
        "retry_policy": {"retry_on": plan.retry_on, "num_retries": plan.retries},
    }
    return [
        {"match": {"path": path.exact}, "route": {**action, "prefix_rewrite": path.pod_exact}},
        {"match": {"prefix": path.below}, "route": {**action, "prefix_rewrite": path.pod_below}},
    ]


def _cluster(plan: Route, backends: Sequence[int]) -> dict[str, Any]:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    endpoints = [{"endpoint": {"address": _address(port)}} for port in backends]
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": plan.connect_timeout,
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {"cluster_name": CLUSTER, "endpoints": [{"lb_endpoints": endpoints}]},
        "circuit_breakers": {"thresholds": [dict.fromkeys(limits, plan.connections)]},
        "outlier_detection": _outliers(plan),
        "typed_extension_protocol_options": {
            PROTOCOL_OPTIONS: {
                "@type": f"type.googleapis.com/{PROTOCOL_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": plan.idle_timeout},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _outliers(plan: Route) -> dict[str, Any]:
    """Return what ejects a pod: failures to reach it alone, never its answers."""
    return {
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": plan.ejection_failures,
        "enforcing_consecutive_local_origin_failure": 100,
        "enforcing_consecutive_5xx": 0,
        "enforcing_consecutive_gateway_failure": 0,
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        "interval": plan.ejection_interval,
        "base_ejection_time": plan.ejection_time,
        "max_ejection_percent": plan.ejection_percent,
    }


def _typed(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": kind}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
