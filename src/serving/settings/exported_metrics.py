"""Every metric that a pod exports, as data: its name, type, unit, labels and meaning, and the bounds of histograms.

The runtime makes its metrics from this list, the manual is printed from it, and the platform's queries are checked against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

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
    "cause": "why a video was not read: `container`, `broken`, `streams`, `codec`, `no_frame`, `too_many_pixels`, `too_long`, "
    "`memory`, `crash` for one that ends its decoder, or `lost` where the decoder ended for another reason",
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
    "use": "of a video's frame: `decoded` or `given`",
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


def _counter(name: str, unit: str, about: str, *labels: str) -> ExportedMetric:
    return ExportedMetric(name, "counter", unit, labels, about)


def _gauge(name: str, unit: str, about: str, *labels: str, only_with: str = "") -> ExportedMetric:
    return ExportedMetric(name, "gauge", unit, labels, about, only_with)


def _histogram(name: str, unit: str, about: str, *labels: str) -> ExportedMetric:
    return ExportedMetric(name, "histogram", unit, labels, about)


def _only_with(what: str, *metrics: ExportedMetric) -> tuple[ExportedMetric, ...]:
    return tuple(replace(each, only_with=what) for each in metrics)


GROUPS: Mapping[str, tuple[ExportedMetric, ...]] = {
    "Requests": (
        _counter("monopod_requests_total", "requests", "Requests answered.", "route", "code", "reason"),
        _histogram("monopod_request_duration_seconds", "seconds", "From a request's first byte to its answer.", "route"),
        _histogram("monopod_answer_duration_seconds", "seconds", "From a request's last byte to its answer.", "route"),
        _histogram("monopod_stage_duration_seconds", "seconds", "Time in one stage of a request.", "stage"),
        _histogram("monopod_request_size_bytes", "bytes", "Bytes of a request's body as it was sent.", "route"),
        _histogram("monopod_response_size_bytes", "bytes", "Bytes of an answer's body.", "route"),
        _counter("monopod_shed_total", "requests", "Requests refused before any work on them.", "reason"),
        _gauge("monopod_requests_in_progress", "requests", "Requests let in and not answered yet."),
        _gauge("monopod_connections", "connections", "Open connections.", "port"),
    ),
    "Batches and models": (
        _histogram("monopod_batch_rows", "rows", "Rows of a batch.", "model"),
        _histogram("monopod_batch_duration_seconds", "seconds", "Time of one run of the model.", "model"),
        _counter("monopod_batch_failures_total", "batches", "Batches that failed, each counted once.", "model"),
        _gauge("monopod_batch_running_seconds", "seconds", "How long the longest batch has been running.", "model"),
        _gauge(
            "monopod_queue_rows",
            "rows",
            "Rows that wait for a model. An admitted request counts as one until its rows are known.",
            "model",
        ),
        _gauge(
            "monopod_queue_oldest_age_seconds", "seconds", "Age of the oldest waiting request since its last byte.", "model"
        ),
        _gauge("monopod_model_info", "1", "1 for each loaded model.", "model", "provider", "instances", "threads"),
        _gauge("monopod_warmup_seconds", "seconds", "Time of one batch of this size, measured at start.", "model", "rows"),
    ),
    "The cache of results": _only_with(
        "cache",
        _counter("monopod_cache_hits_total", "requests", "Results that were not computed, by where they were.", "place"),
        _counter("monopod_cache_misses_total", "requests", "Results that were computed, and kept where they can be."),
        _counter("monopod_cache_errors_total", "failures", "Failures of Redis. No request fails for them.", "kind"),
        _gauge("monopod_cache_redis_up", "1", "1 while Redis is used; 0 while it is away and left alone."),
    ),
    "Videos": _only_with(
        "request.frames()",
        _counter("monopod_video_frames_total", "frames", "Frames that were decoded, and those that the service got.", "use"),
        _counter("monopod_videos_refused_total", "videos", "Videos that could not be read to their end.", "cause"),
        _gauge("monopod_videos_waiting", "videos", "Videos that wait for a decoder."),
    ),
    "Watched files": (
        _counter("monopod_reloads_total", "files", "Watched files that changed and were loaded again."),
        _counter("monopod_reload_failures_total", "files", "Watched files that changed and could not be loaded."),
        _gauge(
            "monopod_reload_failed",
            "1",
            "1 while a watched file cannot be loaded and the old state is used.",
            "file",
            only_with="a watched file",
        ),
    ),
    "Offline": _only_with(
        OFFLINE,
        _gauge(
            "monopod_offline_lag_records", "records", "Records of a partition that are not committed.", "topic", "partition"
        ),
        _gauge(
            "monopod_offline_oldest_record_age_seconds",
            "seconds",
            "Age of the oldest record that was read and is not finished.",
        ),
        _gauge(
            "monopod_offline_brokers_away_seconds", "seconds", "For how long the brokers have not answered; 0 where they do."
        ),
        _gauge("monopod_offline_partitions", "partitions", "Partitions that the pod reads."),
        _gauge("monopod_offline_in_flight_records", "records", "Records that were read and are not finished."),
        _counter("monopod_offline_records_total", "records", "Records that were finished.", "outcome"),
        _counter("monopod_offline_lost_records_total", "records", "Records that retention deleted before they were read."),
        _counter("monopod_offline_dead_letters_total", "records", "Records that were given up for good.", "reason"),
        _counter("monopod_offline_retries_total", "tries", "Further tries of records, after errors that may pass."),
        _gauge("monopod_offline_held", "1", "1 while reading is stopped, since the model fails for over half of the records."),
        _histogram("monopod_offline_sink_duration_seconds", "seconds", "Time of one write to a sink.", "sink"),
        _gauge("monopod_offline_sink_waiting", "answers", "Answers that wait for a sink.", "sink"),
        _gauge("monopod_offline_sink_away_seconds", "seconds", "For how long a sink has been away; 0 where it is not.", "sink"),
        _counter("monopod_offline_commits_total", "commits", "Commits of offsets.", "outcome"),
        _counter(
            "monopod_offline_rebalances_total", "rebalances", "Partitions that came or went, counted once for each change."
        ),
    ),
    "The pod": (
        _gauge("monopod_ready", "1", "1 while the pod answers requests."),
        _gauge(
            "monopod_release_info",
            "1",
            "1, with what runs here. Queries join it to tell versions and tracks apart.",
            "user",
            "track",
            "region",
            "version",
            "platform",
        ),
        _gauge(
            "monopod_price_per_month",
            "currency",
            "Price of the pod for a month, on the cheapest kind of node that takes it.",
            "currency",
            only_with="a price in the plan",
        ),
        _gauge("monopod_cpu_cores", "cores", "Cores that the pod asks for."),
        _gauge("monopod_memory_limit_bytes", "bytes", "The pod's memory, over which it is killed."),
        _gauge("monopod_recycles", "times", "Times that the pod's container has ended itself for its memory."),
        _gauge(
            "monopod_recycle_due", "flag", "1 while the memory, less what requests hold, stays above recycle_at_memory, else 0."
        ),
        _gauge("monopod_working_memory_bytes", "bytes", "Bytes of bodies and pictures under work."),
        _gauge(
            "monopod_tmp_bytes", "bytes", "Bytes on disk of the temporary folder's files, deleted ones that are open included."
        ),
        _gauge(
            "monopod_tmp_limit_bytes",
            "bytes",
            "The size of the temporary folder, over which the pod is evicted.",
            only_with="a limit in the plan",
        ),
    ),
    "The card": _only_with(
        GPU,
        _gauge("monopod_gpu_memory_declared_bytes", "bytes", "gpu_memory of value.py: the pod's share of a card."),
        _gauge(
            "monopod_gpu_arena_limit_bytes",
            "bytes",
            "The most that a model's arenas may take of the card; a session takes more beside its arena.",
            "model",
        ),
        _gauge("monopod_gpu_device_used_bytes", "bytes", "Used memory of the whole card, by all pods on it.", "card"),
    ),
    "The process": (
        _gauge("process_resident_memory_bytes", "bytes", "Memory that the process holds."),
        _gauge("process_virtual_memory_bytes", "bytes", "Addresses that the process has reserved."),
        _counter("process_cpu_seconds_total", "seconds", "Time of cores that the process has used."),
        _gauge("process_start_time_seconds", "seconds", "When the process began, since 1970."),
        _gauge("process_open_fds", "descriptors", "Open files and connections."),
        _gauge("process_max_fds", "descriptors", "The most that may be open."),
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
