"""The dashboard of a region's whole fleet: one line a service."""

from dashboards import parts, variables
from dashboards.parts import BYTES, COUNT, RATE, SECONDS, SHARE, Dashboard, panel, row
from dashboards.promql import INTERVAL, WHAT_COUNTS, arms_named, error_share, quantile, rate, total
from dashboards.variables import INFO, SERVICES

BY = "namespace, container"
LINE = "{{namespace}}/{{container}}"
REQUESTS = f"monopod_requests_total{{{SERVICES}}}"
DEPLOYMENTS = f'namespace=~"$namespace",deployment=~"{variables.WITH_ARMS}"'
CONTAINERS = 'namespace=~"$namespace",container=~"$service"'
RECORDED = 30  # seconds between two values of a record: the interval of fleet-records.yaml
RECORDS = 'namespace=~"$namespace",service=~"$service"'
RECORD_LINE = "{{namespace}}/{{service}}"
OWNED = f"* on (namespace, pod) group_left (user) {INFO}{{{SERVICES}}}"

NOW = row(
    "Now",
    panel(
        "Services",
        COUNT,
        "Services of which at least one pod is read. A track counts as a service of its own, and a canary does not.",
        (f"count(count by ({BY}) ({INFO}{{{SERVICES}}}))", "services"),
        kind="number",
        width=4,
    ),
    panel("Requests", RATE, "Requests answered a second.", (total(REQUESTS), "requests"), kind="number", width=4),
    panel(
        "Server errors",
        SHARE,
        WHAT_COUNTS,
        (error_share(SERVICES), "errors"),
        kind="number",
        width=4,
        limits=parts.ERRORS_LEVELS,
        empty="none",
    ),
    panel(
        "Slowest of a hundred",
        SECONDS,
        "The time that 99 of 100 requests stay below, from a request's last byte to its answer.",
        (quantile(0.99, "monopod_answer_duration_seconds", SERVICES), "p99"),
        kind="number",
        width=4,
        limits=(2, 5),
    ),
    panel("Pods", COUNT, "Pods that answer requests.", (f"sum(monopod_ready{{{SERVICES}}})", "pods"), kind="number", width=4),
    panel(
        "Requests in the time shown",
        COUNT,
        "Requests answered in the whole time shown, from the recorded rates. It is quick for a month too.",
        (f"sum(sum_over_time(namespace_service:monopod_requests:rate5m{{{RECORDS}}}[$__range])) * {RECORDED}", "requests"),
        kind="number",
        width=4,
    ),
)
TRAFFIC = row(
    "Traffic",
    panel("Traffic", RATE, "Requests answered a second, for each service.", (total(REQUESTS, BY), LINE), width=12),
    panel(
        "Server errors by service",
        SHARE,
        f"{WHAT_COUNTS} A service without any 5xx has no line.",
        (error_share(SERVICES, BY), LINE),
        width=12,
        limits=parts.ERRORS_LEVELS,
    ),
    panel(
        "p99",
        SECONDS,
        "The time that 99 of 100 requests stay below, from a request's last byte to its answer.",
        (quantile(0.99, "monopod_answer_duration_seconds", SERVICES, BY), LINE),
        width=12,
    ),
    panel(
        "Refused",
        RATE,
        "Requests refused before any work on them. A full queue says that pods are missing.",
        (total(f"monopod_shed_total{{{SERVICES}}}", f"{BY}, reason"), LINE + " {{reason}}"),
        width=12,
    ),
    panel(
        "Requests, recorded",
        RATE,
        "Requests answered a second as they are recorded each half minute. It is quick for a month too.",
        (f"namespace_service:monopod_requests:rate5m{{{RECORDS}}}", RECORD_LINE),
    ),
    panel(
        "Server errors, recorded",
        RATE,
        "Answers 5xx a second but for deadlines too short for any answer, as they are recorded each half minute.",
        (f"namespace_service:monopod_errors:rate5m{{{RECORDS}}}", RECORD_LINE),
    ),
    panel(
        "p99, recorded",
        SECONDS,
        "The time that 99 of 100 requests stay below, as it is recorded each half minute.",
        (f"namespace_service:monopod_answer_duration_seconds:p99_5m{{{RECORDS}}}", RECORD_LINE),
    ),
)
SATURATION = row(
    "Saturation",
    panel(
        "Models at work",
        SHARE,
        "Seconds of batches for each second of a pod. At 100 % one instance of the model never rests.",
        (
            f"sum by ({BY}) ({rate(f'monopod_batch_duration_seconds_sum{{{SERVICES}}}')}) "
            f"/ count by ({BY}) ({INFO}{{{SERVICES}}})",
            LINE,
        ),
        limits=parts.BUSY_LEVELS,
    ),
    panel(
        "Cores used of cores asked for",
        SHARE,
        "The pod of each service that uses the most of its cpu. Over 100 % it uses what other pods leave.",
        (f"max by ({BY}) ({rate(f'process_cpu_seconds_total{{{SERVICES}}}')} / monopod_cpu_cores{{{SERVICES}}})", LINE),
        limits=parts.CORES_LEVELS,
    ),
    panel(
        "Memory of its limit",
        SHARE,
        "The pod of each service that is nearest to its memory limit, over which it is killed.",
        (f"max by ({BY}) (process_resident_memory_bytes{{{SERVICES}}} / monopod_memory_limit_bytes{{{SERVICES}}})", LINE),
        limits=parts.MEMORY_LEVELS,
    ),
    panel(
        "Queue age",
        SECONDS,
        "Age of the oldest request that waits for a model, in the worst pod of each service.",
        (f"max by ({BY}) (monopod_queue_oldest_age_seconds{{{SERVICES}}})", LINE),
    ),
    panel(
        "Pods wanted and ready",
        COUNT,
        "Pods that each Deployment wants, and those that are ready. The arms of a canary have Deployments of their own.",
        (
            arms_named(f"sum by (namespace, deployment) (kube_deployment_spec_replicas{{{DEPLOYMENTS}}})", "deployment"),
            "{{namespace}}/{{deployment}} wanted",
        ),
        (
            arms_named(
                f"sum by (namespace, deployment) (kube_deployment_status_replicas_ready{{{DEPLOYMENTS}}})", "deployment"
            ),
            "{{namespace}}/{{deployment}} ready",
        ),
    ),
    panel(
        "Restarts",
        COUNT,
        "Restarts of each pod's container in the interval.",
        (
            f"sum by (namespace, pod) (increase(kube_pod_container_status_restarts_total{{{CONTAINERS}}}[{INTERVAL}]))",
            "{{namespace}}/{{pod}}",
        ),
    ),
)
COST = row(
    "Cards and cost",
    panel(
        "Card memory declared",
        BYTES,
        "gpu_memory of all pods of a service. A service without a card has no line.",
        (f"sum by ({BY}) (monopod_gpu_memory_declared_bytes{{{SERVICES}}})", LINE),
    ),
    panel(
        "Card memory used",
        BYTES,
        "Used memory of the whole card on which a pod runs, that of other pods on it included.",
        (f"max by ({BY}) (monopod_gpu_device_used_bytes{{{SERVICES}}})", LINE),
    ),
    panel(
        "Cost a month by user",
        COUNT,
        "The price of all pods that run now, for a month, in the currency of regions.yaml.",
        (f"sum by (user, currency) (monopod_price_per_month{{{SERVICES}}} {OWNED})", "{{user}} {{currency}}"),
    ),
)

FLEET = Dashboard(
    "monopod-fleet",
    "Monopod / Fleet",
    "All services of a region: traffic, errors, latency, saturation and cost.",
    (
        variables.REGION_CHOICE,
        variables.USERS_CHOICE,
        variables.SERVICES_CHOICE,
        variables.namespace(variables.NAMED),
        *variables.targets(f"{INFO}{{{variables.NAMED}}}"),
    ),
    (NOW, TRAFFIC, SATURATION, COST),
)
