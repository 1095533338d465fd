"""The dashboard of the gateway: what each service gets there without a line of its own, from Envoy's counters.

The labels destination_namespace and destination_service are made by the PodMonitor of charts/monitoring. Both ways to route
have them, though their clusters have other names. Istio's own metrics are not asked for, since not every gateway has them.
"""

from dashboards import parts
from dashboards.parts import BYTES, COUNT, EVENTS, MILLISECONDS, RATE, SHARE, Dashboard, Panel, Variable, panel, row
from dashboards.promql import arms_named, quantiles, ratio, total
from dashboards.variables import ARMS, TARGET, WITH_ARMS

WHERE = f'destination_namespace=~"$destination_namespace",destination_service=~"{WITH_ARMS}",{TARGET}'
BY = "destination_namespace, destination_service"
LINE = "{{destination_namespace}}/{{destination_service}}"
COUNTED = "envoy_cluster_upstream_rq_total"


def named(name: str, more: str = "") -> str:
    """Return a metric of Envoy's clusters with its matchers. name: without envoy_cluster_."""
    return f"envoy_cluster_{name}{{{WHERE}{more}}}"


def answers(match: str) -> str:
    """Return the answers of a class. match: such as ="5"."""
    return named("upstream_rq_xx", f",envoy_response_code_class{match}")


def lines(title: str, unit: str, description: str, *queries: tuple[str, str], limits: tuple[float, ...] = ()) -> Panel:
    """Return a panel with a line for each service, and for the arms of a canary, which Istio's gateway counts apart."""
    named = ((arms_named(expr, "destination_service"), legend) for expr, legend in queries)
    return panel(title, unit, description, *named, limits=limits)


ANSWERED, COUNTS = named("upstream_rq_xx"), answers('!="4"')
TRAFFIC = row(
    "Requests",
    lines(
        "Queries a second",
        RATE,
        "Requests that the gateway sent to each service.",
        (total(named("upstream_rq_total"), BY), LINE),
    ),
    lines(
        "Success rate",
        SHARE,
        "Share of the answers other than 5xx, of all but 4xx. The gateway's own, for pods that are away, count. So do "
        "deadlines too short for any answer, which the gateway cannot tell.",
        (ratio(answers('!~"[45]"'), COUNTS, BY), LINE),
    ),
    lines(
        "Failure rate",
        SHARE,
        "Share of 5xx among the answers that count here: all but 4xx, those of the gateway itself included. The share of "
        "4xx is of all answers. A service without any has no line.",
        (ratio(answers('="4"'), ANSWERED, BY), LINE + " 4xx"),
        (ratio(answers('="5"'), COUNTS, BY), LINE + " 5xx"),
        limits=parts.ERRORS_LEVELS,
    ),
    lines(
        "Latency",
        MILLISECONDS,
        "From the request's last byte at the gateway to the answer's last byte from the pod. p50 and p99.",
        *quantiles((0.5, 0.99), "envoy_cluster_upstream_rq_time", WHERE, BY, LINE),
    ),
    lines(
        "Request size",
        BYTES,
        "Bytes of a request's body. p50 and p99. The gateway must be told to count them.",
        *quantiles((0.5, 0.99), "envoy_cluster_upstream_rq_body_size", WHERE, BY, LINE),
    ),
    lines(
        "Answer size",
        BYTES,
        "Bytes of an answer's body. p50 and p99. The gateway must be told to count them.",
        *quantiles((0.5, 0.99), "envoy_cluster_upstream_rs_body_size", WHERE, BY, LINE),
    ),
)
TROUBLE = row(
    "Trouble on the way",
    lines(
        "Retries",
        RATE,
        "Requests that the gateway sent again, to another pod if there is one.",
        (total(named("upstream_rq_retry"), BY), LINE),
    ),
    lines(
        "Retries given up",
        RATE,
        "Retries that ended without success: tried too often, or the body was larger than the gateway's buffer.",
        (total(named("upstream_rq_retry_limit_exceeded"), BY), LINE + " too often"),
        (total(named("retry_or_shadow_abandoned"), BY), LINE + " too large"),
        (total(named("upstream_rq_retry_overflow"), BY), LINE + " too many at once"),
    ),
    lines(
        "Ejections",
        COUNT,
        "Pods that the gateway sends nothing for now, since connections to them failed.",
        (f"sum by ({BY}) ({named('outlier_detection_ejections_active')})", LINE),
    ),
    lines(
        "Ejections a second",
        EVENTS,
        "How often the gateway ejects a pod.",
        (total(named("outlier_detection_ejections_enforced_total"), BY), LINE),
    ),
    lines(
        "Failed connections",
        EVENTS,
        "Connections to pods that the gateway could not open.",
        (total(named("upstream_cx_connect_fail"), BY), LINE),
    ),
    lines(
        "Pods that get requests",
        COUNT,
        "Pods that the gateway knows, and those of them that it sends requests.",
        (f"max by ({BY}) ({named('membership_total')})", LINE + " known"),
        (f"max by ({BY}) ({named('membership_healthy')})", LINE + " healthy"),
    ),
)


def _choices() -> tuple[Variable, ...]:
    services = f'{COUNTED}{{destination_namespace=~"$destination_namespace"}}'
    known = f'{COUNTED}{{destination_namespace=~"$destination_namespace",destination_service=~"{WITH_ARMS}"}}'
    return (
        Variable("destination_namespace", "destination_namespace", f'{COUNTED}{{destination_service=~".+"}}', "User or track"),
        Variable("service", "destination_service", services, "Service", regex=f"/^(.+?)(?:{ARMS})?$/"),
        Variable("job", "job", known, "Job", all_value=".+"),
        Variable("instance", "instance", known, "Instance", all_value=".+"),
    )


GATEWAY = Dashboard(
    "monopod-gateway",
    "Monopod / Gateway",
    "Each service at the gateway: latency, success, sizes, retries and ejections, by Envoy's counters.",
    _choices(),
    (TRAFFIC, TROUBLE),
)
