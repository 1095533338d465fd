"""The dashboard of one service: its requests, their stages, its queue and batches, and its pods apart from one another."""

from conf.plan.own_panels import UNITS
from dashboards import parts, variables
from dashboards.parts import BYTES, COUNT, RATE, SECONDS, SHARE, Dashboard, Panel, Query, panel, row
from dashboards.promql import INTERVAL, WHAT_COUNTS, error_share, mean, quantile, quantiles, rate, total
from dashboards.variables import INFO, NAMED, OWN_PANELS, PODS

REQUESTS = f"monopod_requests_total{{{PODS}}}"
STAGES = total(f"monopod_stage_duration_seconds_sum{{{PODS}}}", "stage")

REQUEST_ROW = row(
    "Requests",
    panel("Requests by route", RATE, "Requests answered a second.", (total(REQUESTS, "route"), "{{route}}")),
    panel("Answers by code", RATE, "Answers a second, by HTTP status.", (total(REQUESTS, "code"), "{{code}}"), kind="stacked"),
    panel(
        "Server errors by route",
        SHARE,
        f"{WHAT_COUNTS} A route without any 5xx has no line.",
        (error_share(PODS, "route"), "{{route}}"),
        limits=parts.ERRORS_LEVELS,
    ),
    panel(
        "Duration by route",
        SECONDS,
        "From a request's last byte to its answer: what the service itself takes. p50, p95 and p99.",
        *quantiles((0.5, 0.95, 0.99), "monopod_answer_duration_seconds", PODS, "route", "{{route}}"),
    ),
    panel(
        "Duration with the upload",
        SECONDS,
        "From a request's first byte to its answer. Slow clients make it longer than the duration by route.",
        *quantiles((0.5, 0.99), "monopod_request_duration_seconds", PODS, "route", "{{route}}"),
    ),
    panel(
        "Reasons of failures",
        RATE,
        "Answers a second that failed, by their reason.",
        (total(f'monopod_requests_total{{{PODS},reason!=""}}', "reason"), "{{reason}}"),
    ),
    panel(
        "Refused by reason",
        RATE,
        "Requests refused a second before any work on them.",
        (total(f"monopod_shed_total{{{PODS}}}", "reason"), "{{reason}}"),
    ),
    panel(
        "Request size",
        BYTES,
        "Bytes of a request's body. p50 and p99.",
        *quantiles((0.5, 0.99), "monopod_request_size_bytes", PODS, "route", "{{route}}"),
    ),
    panel(
        "Answer size",
        BYTES,
        "Bytes of an answer's body. p50 and p99.",
        *quantiles((0.5, 0.99), "monopod_response_size_bytes", PODS, "route", "{{route}}"),
    ),
)
STAGE_ROW = row(
    "Inside a request",
    panel(
        "Stages of a request",
        SECONDS,
        "Mean time in each stage of a request. The stages add up to the duration with the upload.",
        (
            f"{STAGES} / ignoring (stage) group_left () {total(f'monopod_request_duration_seconds_count{{{PODS}}}')}",
            "{{stage}}",
        ),
        kind="stacked",
        width=12,
    ),
    panel(
        "Requests in progress",
        COUNT,
        "Requests let in and not answered yet, in all pods chosen.",
        (f"sum(monopod_requests_in_progress{{{PODS}}})", "in progress"),
        width=6,
    ),
    panel(
        "Connections",
        COUNT,
        "Open connections by port: data for requests, admin for probes and metrics.",
        (f"sum by (port) (monopod_connections{{{PODS}}})", "{{port}}"),
        width=6,
    ),
)
QUEUE_ROW = row(
    "Queue and batches",
    panel(
        "Queue",
        COUNT,
        "Rows that wait for a model, in all pods chosen.",
        (f"sum by (model) (monopod_queue_rows{{{PODS}}})", "{{model}}"),
    ),
    panel(
        "Age of the oldest row",
        SECONDS,
        "How long the oldest row waits, in the worst pod chosen.",
        (f"max by (model) (monopod_queue_oldest_age_seconds{{{PODS}}})", "{{model}}"),
    ),
    panel(
        "Longest batch that runs",
        SECONDS,
        "A line that grows without end says that a model hangs.",
        (f"max by (model) (monopod_batch_running_seconds{{{PODS}}})", "{{model}}"),
    ),
    panel(
        "Rows of a batch",
        COUNT,
        "Mean rows of a batch, and what 99 of 100 batches stay below.",
        (mean("monopod_batch_rows", PODS, "model"), "{{model}} mean"),
        (quantile(0.99, "monopod_batch_rows", PODS, "model"), "{{model}} p99"),
    ),
    panel(
        "Time of a batch",
        SECONDS,
        "Mean time of one run of the model, and what 99 of 100 runs stay below.",
        (mean("monopod_batch_duration_seconds", PODS, "model"), "{{model}} mean"),
        (quantile(0.99, "monopod_batch_duration_seconds", PODS, "model"), "{{model}} p99"),
    ),
    panel(
        "Cost by batch size",
        SECONDS,
        "Time of one batch of this many rows, measured when the model was loaded, in the slowest pod chosen.",
        (f"max by (model, rows) (monopod_warmup_seconds{{{PODS}}})", "{{model}}, {{rows}} rows"),
    ),
)
POD_ROW = row(
    "Pods",
    panel("Requests by pod", RATE, "Requests answered a second by each pod.", (total(REQUESTS, "pod"), "{{pod}}")),
    panel(
        "p99 by pod",
        SECONDS,
        "The time that 99 of 100 requests stay below, from a request's last byte to its answer.",
        (quantile(0.99, "monopod_answer_duration_seconds", PODS, "pod"), "{{pod}}"),
    ),
    panel("Ready", COUNT, "1 while a pod answers requests.", (f"max by (pod) (monopod_ready{{{PODS}}})", "{{pod}}")),
    panel(
        "Memory of its limit",
        SHARE,
        "Memory of a pod's process against the pod's limit, over which the pod is killed.",
        (f"process_resident_memory_bytes{{{PODS}}} / monopod_memory_limit_bytes{{{PODS}}}", "{{pod}}"),
        limits=parts.MEMORY_LEVELS,
    ),
    panel(
        "Cores used of cores asked for",
        SHARE,
        "Over 100 % a pod uses what other pods of its node leave.",
        (f"{rate(f'process_cpu_seconds_total{{{PODS}}}')} / monopod_cpu_cores{{{PODS}}}", "{{pod}}"),
        limits=parts.CORES_LEVELS,
    ),
    panel(
        "Temporary files of their limit",
        SHARE,
        "Bytes in /tmp against its size, over which the pod is evicted.",
        (f"monopod_tmp_bytes{{{PODS}}} / monopod_tmp_limit_bytes{{{PODS}}}", "{{pod}}"),
        limits=parts.TMP_LEVELS,
    ),
    panel(
        "Bodies and pictures under work",
        BYTES,
        "Bytes of the requests that a pod holds.",
        (f"monopod_working_memory_bytes{{{PODS}}}", "{{pod}}"),
    ),
    panel(
        "Open files of their limit",
        SHARE,
        "Open files and connections of a pod's process against the most that it may have.",
        (f"process_open_fds{{{PODS}}} / process_max_fds{{{PODS}}}", "{{pod}}"),
        limits=parts.OPEN_FILES_LEVELS,
    ),
    panel(
        "Restarts",
        COUNT,
        "Restarts of each pod's container in the interval.",
        (
            f'increase(kube_pod_container_status_restarts_total{{namespace=~"$namespace",container=~"$service",pod=~"$pod"}}'
            f"[{INTERVAL}])",
            "{{pod}}",
        ),
    ),
)
FILE_ROW = row(
    "Files that are read again",
    panel(
        "Reloads",
        COUNT,
        "Watched files that changed and were loaded again, in the interval.",
        (f"sum by (pod) (increase(monopod_reloads_total{{{PODS}}}[{INTERVAL}]))", "{{pod}}"),
    ),
    panel(
        "Failed reloads",
        COUNT,
        "Watched files that changed and could not be loaded, in the interval. The old state stays.",
        (f"sum by (pod) (increase(monopod_reload_failures_total{{{PODS}}}[{INTERVAL}]))", "{{pod}}"),
    ),
    panel(
        "Files that cannot be loaded",
        COUNT,
        "1 while a watched file holds what cannot be loaded.",
        (f"max by (pod, file) (monopod_reload_failed{{{PODS}}})", "{{pod}} {{file}}"),
    ),
)
CARD_ROW = row(
    "Card",
    panel(
        "Card memory declared",
        BYTES,
        "gpu_memory of value.py: the pod's share of a card. A pod without a card has no line.",
        (f"monopod_gpu_memory_declared_bytes{{{PODS}}}", "{{pod}}"),
    ),
    panel(
        "Limit of a model's arenas",
        BYTES,
        "The most that the arenas of a model's sessions may take. A session takes more beside its arena.",
        (f"sum by (pod, model) (monopod_gpu_arena_limit_bytes{{{PODS}}})", "{{pod}} {{model}}"),
    ),
    panel(
        "Used memory of the whole card",
        BYTES,
        "Memory of other pods on the card is included.",
        (f"monopod_gpu_device_used_bytes{{{PODS}}}", "{{pod}}"),
    ),
)


def own_lines(series: str) -> str:
    """Return a panel's lines without the platform's labels, but for `panel`, which gets the track, as `Faces found, prod`.

    Grafana names a line by the value of its label where each line has that one alone, and else by all labels.
    """
    return f'sum without (namespace, service, track, unit) (label_join({series}, "panel", ", ", "panel", "track"))'


OWN_ROW = row(
    "Own panels",
    Panel(
        "$own_panel",
        COUNT,
        "A panel of the service's panels.yaml. docs/dashboards.md says how to add one.",
        tuple(Query(own_lines(f'{OWN_PANELS[:-1]},panel=~"$own_panel",unit="{unit}"}}'), "__auto", unit) for unit in UNITS),
        empty="no values of a panels.yaml",
        repeat="own_panel",
    ),
)

SERVICE = Dashboard(
    "monopod-service",
    "Monopod / Service",
    "One service: its requests, their stages, its queue and batches, its pods, and a mark at each release.",
    (
        variables.REGION_CHOICE,
        variables.USER_CHOICE,
        variables.SERVICE_CHOICE,
        variables.TRACK_CHOICE,
        variables.namespace(),
        variables.POD_CHOICE,
        variables.OWN_PANEL_CHOICE,
        *variables.targets(f'{INFO}{{{NAMED},track=~"$track"}}'),
    ),
    (REQUEST_ROW, STAGE_ROW, QUEUE_ROW, POD_ROW, FILE_ROW, CARD_ROW, OWN_ROW),
    releases=variables.releases(PODS),
)
