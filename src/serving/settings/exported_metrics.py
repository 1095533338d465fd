"""Every metric that a pod exports, as data: its name, type, unit, labels and meaning, and the bounds of histograms.

The runtime makes its metrics from this list, the manual is printed from it, and the platform's queries are checked against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

STAGES = ("upload", "queue", "fetch", "decode", "batch", "infer", "encode", "handle")
PREFIXES = ("monopod_", "process_")  # of every name in the list, and of no metric of a service's own

SCRAPE_LABELS: Mapping[str, str] = {
    "namespace": "the pod's namespace: the user for prod, `grey` or `ab-test` for those tracks",
    "service": "the service's name; of offline pods `<service_name>-offline`",
    "arm": "of the pods of a canary and its baseline alone: `canary` or `baseline`",
    "pod": "the pod's name",
    "container": "the container's name, which is the service's",
    "endpoint": "the Service's port that is read, `admin`",
    "job": "the Service object's name: the service's, or `<service_name>-canary` or `-baseline`",
    "instance": "the address that is read, as `10.0.0.7:8081`",
    "arm_of": "of the pods of a canary and its baseline alone: the service's name",
}
OWN_LABELS: Mapping[str, str] = {
    "card": "the card's UUID, which pods that share it have in common",
    "code": "the answer's HTTP status",
    "currency": "of regions.yaml",
    "file": "a watched file's name",
    "instances": "sessions of the model",
    "kind": "of Redis' failures: `unreachable`, `refused`, or `corrupt` for a value that no pod wrote",
    "model": "the model's name",
    "outcome": "of a record: `answered`, `dead` or `tombstone`; of a commit: `good` or `failed`",
    "partition": "the partition's number",
    "place": "of kept results: `process`, `redis`, or `flight` where an equal request was computing them",
    "platform": "the platform's version",
    "port": "`data` or `admin`",
    "provider": "where the model runs: `cpu`, `cuda` or `tensorrt`",
    "reason": "why a request failed or was refused, empty for a good answer; why a record became a dead letter",
    "region": "the region's name in regions.yaml",
    "route": "`service` for the service's own route, `infer`, `predict`, or an own route's path; `refused` before any route",
    "rows": "rows of the batch",
    "sink": "as in offline_sinks, with the track's suffix",
    "stage": "one of " + ", ".join(f"`{stage}`" for stage in STAGES),
    "threads": "threads of each session",
    "topic": "the topic that offline_source names",
    "track": "`prod`, `grey` or `ab`",
    "user": "username of value.py",
    "version": "the image's version",
}
# Seconds of a decade. No bound is over 1.2 times the one before it, so that a quantile is off by a fifth at most. Round numbers
# are among them, since objectives are such.
STEPS = ("1", "1.2", "1.42", "1.7", "2", "2.2", "2.5", "3", "3.6", "4.3", "5", "6", "7", "8.4")
DECADES = range(-3, 4)  # of seconds: 1 ms to 8,400 s, above the longest timeout_second
SIZES = tuple(4.0**power for power in range(3, 14))  # 64 bytes to 64 MiB
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OWN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)  # where a service names none


@dataclass(frozen=True)
class ExportedMetric:
    """A metric, as the runtime makes it and the manual describes it."""

    name: str
    type: str  # counter, gauge or histogram
    unit: str  # of its value; of what it observes for a histogram
    labels: tuple[str, ...]  # its own: a scrape adds SCRAPE_LABELS
    about: str
    only_with: str = ""  # what a pod must have for this metric to be on its page


GPU = "a GPU"
OFFLINE = "offline_source"


def _metric(name: str, type: str, unit: str, about: str, *labels: str, only_with: str = "") -> ExportedMetric:
    return ExportedMetric(name, type, unit, labels, about, only_with)


def _offline(name: str, type: str, unit: str, about: str, *labels: str) -> ExportedMetric:
    return _metric(f"monopod_offline_{name}", type, unit, about, *labels, only_with=OFFLINE)


def _cached(name: str, type: str, unit: str, about: str, *labels: str) -> ExportedMetric:
    return _metric(f"monopod_cache_{name}", type, unit, about, *labels, only_with="cache")


GROUPS: Mapping[str, tuple[ExportedMetric, ...]] = {
    "Requests": (
        _metric("monopod_requests_total", "counter", "requests", "Requests answered.", "route", "code", "reason"),
        _metric(
            "monopod_request_duration_seconds", "histogram", "seconds", "From a request's first byte to its answer.", "route"
        ),
        _metric(
            "monopod_answer_duration_seconds", "histogram", "seconds", "From a request's last byte to its answer.", "route"
        ),
        _metric("monopod_stage_duration_seconds", "histogram", "seconds", "Time in one stage of a request.", "stage"),
        _metric("monopod_request_size_bytes", "histogram", "bytes", "Bytes of a request's body as it was sent.", "route"),
        _metric("monopod_response_size_bytes", "histogram", "bytes", "Bytes of an answer's body.", "route"),
        _metric("monopod_shed_total", "counter", "requests", "Requests refused before any work on them.", "reason"),
        _metric("monopod_requests_in_progress", "gauge", "requests", "Requests let in and not answered yet."),
        _metric("monopod_connections", "gauge", "connections", "Open connections.", "port"),
    ),
    "Batches and models": (
        _metric("monopod_batch_rows", "histogram", "rows", "Rows of a batch.", "model"),
        _metric("monopod_batch_duration_seconds", "histogram", "seconds", "Time of one run of the model.", "model"),
        _metric("monopod_batch_failures_total", "counter", "batches", "Batches that failed, each counted once.", "model"),
        _metric("monopod_batch_running_seconds", "gauge", "seconds", "How long the longest batch has been running.", "model"),
        _metric(
            "monopod_queue_rows",
            "gauge",
            "rows",
            "Rows that wait for a model. An admitted request counts as one until its rows are known.",
            "model",
        ),
        _metric(
            "monopod_queue_oldest_age_seconds",
            "gauge",
            "seconds",
            "Age of the oldest waiting request since its last byte.",
            "model",
        ),
        _metric("monopod_model_info", "gauge", "1", "1 for each loaded model.", "model", "provider", "instances", "threads"),
        _metric(
            "monopod_warmup_seconds", "gauge", "seconds", "Time of one batch of this size, measured at start.", "model", "rows"
        ),
    ),
    "The cache of results": (
        _cached("hits_total", "counter", "requests", "Results that were not computed, by where they were.", "place"),
        _cached("misses_total", "counter", "requests", "Results that were computed, and kept where they can be."),
        _cached("errors_total", "counter", "failures", "Failures of Redis. No request fails for them.", "kind"),
        _cached("redis_up", "gauge", "1", "1 while Redis is used; 0 while it is away and left alone."),
    ),
    "Watched files": (
        _metric("monopod_reloads_total", "counter", "files", "Watched files that changed and were loaded again."),
        _metric("monopod_reload_failures_total", "counter", "files", "Watched files that changed and could not be loaded."),
        _metric(
            "monopod_reload_failed",
            "gauge",
            "1",
            "1 while a watched file cannot be loaded and the old state is used.",
            "file",
            only_with="a watched file",
        ),
    ),
    "Offline": (
        _offline("lag_records", "gauge", "records", "Records of a partition that are not committed.", "topic", "partition"),
        _offline(
            "oldest_record_age_seconds", "gauge", "seconds", "Age of the oldest record that was read and is not finished."
        ),
        _offline("brokers_away_seconds", "gauge", "seconds", "For how long the brokers have not answered; 0 where they do."),
        _offline("partitions", "gauge", "partitions", "Partitions that the pod reads."),
        _offline("in_flight_records", "gauge", "records", "Records that were read and are not finished."),
        _offline("records_total", "counter", "records", "Records that were finished.", "outcome"),
        _offline("lost_records_total", "counter", "records", "Records that retention deleted before they were read."),
        _offline("dead_letters_total", "counter", "records", "Records that were given up for good.", "reason"),
        _offline("retries_total", "counter", "tries", "Further tries of records, after errors that may pass."),
        _offline("held", "gauge", "1", "1 while reading is stopped, since the model fails for over half of the records."),
        _offline("sink_duration_seconds", "histogram", "seconds", "Time of one write to a sink.", "sink"),
        _offline("sink_waiting", "gauge", "answers", "Answers that wait for a sink.", "sink"),
        _offline("sink_away_seconds", "gauge", "seconds", "For how long a sink has been away; 0 where it is not.", "sink"),
        _offline("commits_total", "counter", "commits", "Commits of offsets.", "outcome"),
        _offline("rebalances_total", "counter", "rebalances", "Partitions that came or went, counted once for each change."),
    ),
    "The pod": (
        _metric("monopod_ready", "gauge", "1", "1 while the pod answers requests."),
        _metric(
            "monopod_release_info",
            "gauge",
            "1",
            "1, with what runs here. Queries join it to tell versions and tracks apart.",
            "user",
            "track",
            "region",
            "version",
            "platform",
        ),
        _metric(
            "monopod_price_per_month",
            "gauge",
            "currency",
            "Price of the pod for a month, on the cheapest kind of node that takes it.",
            "currency",
            only_with="a price in the plan",
        ),
        _metric("monopod_cpu_cores", "gauge", "cores", "Cores that the pod asks for."),
        _metric("monopod_memory_limit_bytes", "gauge", "bytes", "The pod's memory, over which it is killed."),
        _metric("monopod_working_memory_bytes", "gauge", "bytes", "Bytes of bodies and pictures under work."),
        _metric(
            "monopod_tmp_bytes",
            "gauge",
            "bytes",
            "Bytes on disk of the temporary folder's files, deleted ones that are open included.",
        ),
        _metric(
            "monopod_tmp_limit_bytes",
            "gauge",
            "bytes",
            "The size of the temporary folder, over which the pod is evicted.",
            only_with="a limit in the plan",
        ),
    ),
    "The card": (
        _metric(
            "monopod_gpu_memory_declared_bytes",
            "gauge",
            "bytes",
            "gpu_memory of value.py: the pod's share of a card.",
            only_with=GPU,
        ),
        _metric(
            "monopod_gpu_arena_limit_bytes",
            "gauge",
            "bytes",
            "The most that a model's arenas may take of the card; a session takes more beside its arena.",
            "model",
            only_with=GPU,
        ),
        _metric(
            "monopod_gpu_device_used_bytes",
            "gauge",
            "bytes",
            "Used memory of the whole card, by all pods on it.",
            "card",
            only_with=GPU,
        ),
    ),
    "The process": (
        _metric("process_resident_memory_bytes", "gauge", "bytes", "Memory that the process holds."),
        _metric("process_virtual_memory_bytes", "gauge", "bytes", "Addresses that the process has reserved."),
        _metric("process_cpu_seconds_total", "counter", "seconds", "Time of cores that the process has used."),
        _metric("process_start_time_seconds", "gauge", "seconds", "When the process began, since 1970."),
        _metric("process_open_fds", "gauge", "descriptors", "Open files and connections."),
        _metric("process_max_fds", "gauge", "descriptors", "The most that may be open."),
    ),
}
EXPORTED_METRICS = tuple(metric for group in GROUPS.values() for metric in group)
METRICS: Mapping[str, ExportedMetric] = {metric.name: metric for metric in EXPORTED_METRICS}


def series(metric: ExportedMetric) -> dict[str, tuple[str, ...]]:
    """Return the names under which a query finds a metric, each with its labels, those that a scrape adds included."""
    labels = (*metric.labels, *SCRAPE_LABELS)
    if metric.type != "histogram":
        return {metric.name: labels}
    return {f"{metric.name}_bucket": (*labels, "le"), f"{metric.name}_sum": labels, f"{metric.name}_count": labels}


def seconds_bounds(timeout: float, objective: float | None = None) -> tuple[float, ...]:
    """Return the bounds for times of requests: 1 ms to the timeout, which is the last one. timeout, objective: seconds.

    objective: of the latency, below the timeout. It is a bound, so that answers within it can be counted exactly.
    """
    every = (float(f"{step}e{decade}") for decade in DECADES for step in STEPS)
    exact = {float(timeout), float(objective or timeout)}
    return tuple(sorted(exact.union(bound for bound in every if bound < timeout)))


def series_of(metric: ExportedMetric, timeout: float, objective: float | None = None) -> int:
    """Return how many series a metric has for one value of each of its labels. timeout, objective: seconds.

    A histogram has one for each bound, and beside them those of infinity, of the sum and of the count.
    """
    if metric.type != "histogram":
        return 1
    bounds = {"seconds": seconds_bounds(timeout, objective), "bytes": SIZES, "rows": ROWS}[metric.unit]
    return len(bounds) + 3
