"""Every setting that value.py may hold: its validator, unit, default and meaning."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from serving.settings import validators as allow
from serving.settings.reader import REQUIRED, setting
from serving.settings.validators import Validator, size_in_bytes
from serving.settings.weekly_hours import EXAMPLE

RESERVED_USERS = ("grey", "ab-test", "gateway", "logs", "monitoring", "keda", "monopod", "default", "kube-", "istio-")
SESSION_GIB = 0.5  # GiB of a GPU that the CUDA context, cuDNN and cuBLAS of one session take beside its arena
RESERVED_SERVICES = ("ping", "v1", "v2", "grey", "ab-test")
UNITS = {"_second": "s", "_ms": "ms", "replicas": "pods"}  # of a setting that names none, by the end of its name
UNDECIDED = ("hold", "undo", "go")
TOPIC = r"[A-Za-z0-9._-]{1,200}"  # Kafka allows 249; a suffix must fit
COLUMN = r"[a-z_][a-z0-9_]{0,50}"  # PostgreSQL allows 63; a suffix must fit
# The columns that a table has beside its key stand for the record itself.
KEY = rf"(?!(topic|partition|offset|time|results|version)$){COLUMN}"
SOURCE = rf"(kafka:{TOPIC})?"
SINK = rf"kafka:{TOPIC}|postgresql:({COLUMN}\.)?{COLUMN}|stdout"
GROUP = rf"({TOPIC})?"
START = r"earliest|latest|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?"


def _start() -> Validator:
    """Where reading begins. A time is one of the calendar: no 13th month."""
    form = allow.text(START, '"latest", "earliest", or a time as "2026-11-22T08:00:00Z"', '"earliest"')

    def convert(value: Any) -> str:
        text: str = form.convert(value)
        if text not in ("earliest", "latest"):
            datetime.fromisoformat(text)
        return text

    return replace(form, convert=convert)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting of a service: the values of value.py, and the defaults of all others."""

    service_name: str = setting(
        REQUIRED,
        allow.name(40, RESERVED_SERVICES),
        "The service's name, which its path, its objects and its model carry.",
        group="Name and owner",
    )
    username: str = setting(
        REQUIRED, allow.name(40, RESERVED_USERS), "The service's owner: the first part of its path, and its namespace."
    )

    cpu: float = setting(
        1.0,
        allow.number(0.1, 256),
        "Cores that a pod asks for. The number of the model's threads follows from it.",
        unit="cores",
        group="Size of a pod",
    )
    cpu_limit: float = setting(
        0.0, allow.number(0, 256), "A hard limit. 0 sets none, since throttling ruins tail latency.", unit="cores"
    )
    memory: str = setting(
        "2Gi", allow.memory("64Mi", "16Ti"), "A pod's memory, as limit and as request. A pod that takes more is killed."
    )
    recycle_at_memory: float = setting(
        0.9,
        allow.number(0, 0.98),
        "A pod whose memory, less what requests hold, stays above this share of memory for a minute drains and starts again, "
        "where it has a sibling and is 15 minutes old. 0 leaves it to the kernel.",
    )
    memory_request: str = setting(
        "0",
        allow.memory("0", "16Ti"),
        "The memory that a node reserves; 0 reserves all. A pod that takes more may be killed when the node runs short.",
    )
    shared_memory: str = setting(
        "0",
        allow.memory("0", "16Ti"),
        "Memory at /dev/shm, counted against memory, for processes and libraries that share it. 0 leaves the node's own 64Mi.",
    )
    decode_workers: int = setting(
        2,
        allow.whole(1, 64),
        "Videos that request.frames() decodes at once, each in a process of its own. Further ones wait.",
        unit="videos",
    )
    decode_memory: str = setting(
        "768Mi",
        allow.memory("128Mi", "1Ti"),
        "Memory for decoding videos, counted against memory. decode_workers videos share it.",
    )
    gpu_memory: float = setting(
        0.0, allow.number(0, 1024), "Memory of one GPU that a pod asks for. 0 asks for no GPU.", unit="GiB of one GPU"
    )
    model_gpu_memory: dict[str, float] = setting(
        {},
        allow.shares(SESSION_GIB),
        "Shares of gpu_memory for the models that setup() loads, by their names. The model of model_path has the rest.",
        unit="GiB",
    )
    on_demand_gpu_memory: float = setting(
        0.0,
        allow.number(0, 1024),
        "The part of gpu_memory for models loaded on first use. Beyond it the least recently used model is unloaded.",
        unit="GiB",
    )
    ins_num_per_gpu: int = setting(
        1,
        allow.whole(1, 64),
        "Instances of the model in the process, each a session of its own on the same GPU or cores.",
        unit="sessions",
    )
    replicas: int = setting(
        1,
        allow.whole(0, 1000),
        "Pods of the service in each region that sets no number of its own. 0 runs none there.",
        group="How many pods, and where",
    )
    ab_replicas: int = setting(1, allow.whole(1, 1000), "Pods of the A/B test.")
    max_replicas: int = setting(0, allow.whole(0, 1000), "The most pods that the autoscaler may start. 0 means no autoscaler.")
    autoscale_by: str = setting(
        "cpu",
        allow.choice("cpu", "queue"),
        "The measure that the autoscaler follows: cpu use, or the waiting rows and the model's busy time.",
    )
    autoscale_queue_rows: int = setting(
        0,
        allow.whole(0, 65536),
        "Waiting rows per pod, above which the autoscaler adds pods. 0 derives it from the batches' cost and the objective.",
        unit="rows",
    )
    scale_down_after_second: int = setting(
        600, allow.whole(0, 3600), "Time for which fewer pods must suffice before an autoscaler takes pods away."
    )
    scale_hours: tuple[str, ...] = setting(
        (),
        allow.strings(".*", f'hours and their pods, as "{EXAMPLE}"', f'["{EXAMPLE}"]'),
        "Hours of the week in the region's time zone, and the fewest pods in them. replicas counts in all other hours.",
    )
    node_labels: dict[str, str] = setting({}, allow.labels(), "Labels that a node must have for a pod to run there.")
    tolerations: tuple[str, ...] = setting(
        (),
        allow.strings(allow.TOLERATION, 'taints as "key=value:NoSchedule"', '["dedicated=ml:NoSchedule"]'),
        "Taints that a pod tolerates.",
    )
    use_srv: bool = setting(False, allow.flag(), "Open host_port on the node, for a gateway that finds pods without the mesh.")
    host_port: int = setting(0, allow.whole(0, 65535), "The node's port that use_srv opens.", unit="port")

    model_path: str = setting(
        "", allow.path(), "The ONNX model. It is empty when src/server.py brings its own.", group="The model"
    )
    provider: str = setting(
        "auto",
        allow.choice("auto", "cpu", "cuda", "tensorrt"),
        "The provider that runs the model. auto is cuda with gpu_memory, else cpu. A missing provider fails the start.",
    )
    fp16: bool = setting(False, allow.flag(), "Let TensorRT compute in half precision.")
    max_batch_size: int = setting(
        8,
        allow.whole(0, 4096),
        "The most rows that the model gets at once. 0 says that the model has no batch axis.",
        unit="rows",
    )
    max_queue_delay_ms: float = setting(
        0.0, allow.number(0, 10000), "The time that a free model waits for more rows before it runs a batch that is not full."
    )
    warmup_shapes: dict[str, tuple[int, ...]] = setting(
        {}, allow.shapes(), "Sizes of one row to warm the model with, for each input that leaves sizes open."
    )
    model_memory: str = setting(
        "64Ti",
        allow.memory("1Mi", "64Ti"),
        "The pod's memory for all models loaded on first use. Beyond it the least recently used model is unloaded.",
    )
    init_delay_second: int = setting(30, allow.whole(1, 7200), "The time that the model may take to load.")
    stuck_after_second: int = setting(60, allow.whole(1, 7200), "A batch that runs longer counts as hung, and liveness fails.")

    timeout_second: float = setting(
        30.0, allow.number(0.05, 3600), "The longest time from a request's first byte to its answer.", group="Requests"
    )
    upload_timeout_second: float = setting(
        10.0,
        allow.number(0.1, 3600),
        "The longest time from a request's first byte to its last, within timeout_second. A slower body is refused with 408.",
    )
    queue_limit: int = setting(64, allow.whole(1, 65536), "Rows that may wait. One more row is refused with 429.", unit="rows")
    max_rows_per_request: int = setting(
        64,
        allow.whole(1, 65536),
        "The most rows of one request, queue_limit at most. More rows are refused with 413.",
        unit="rows",
    )
    max_body: str = setting(
        "16Mi", allow.memory("1Ki", "4Gi"), "The largest body of a request. A larger one is refused with 413."
    )
    max_image_pixels: int = setting(
        50_000_000,
        allow.whole(1, 1_000_000_000),
        "The most pixels of a picture. A larger picture is refused before it is decoded.",
        unit="pixels",
    )
    fetch_hosts: tuple[str, ...] = setting(
        (),
        allow.strings(allow.HOST, 'hosts as "img.example.com" or "*.example.com"', '["img.example.com"]'),
        "Hosts from which a picture's URL may be fetched. Without hosts, a URL in a request is refused.",
    )
    fetch_timeout_second: float = setting(
        5.0, allow.number(0.1, 600), "The longest time from a fetch's start to its last byte."
    )
    drain_delay_second: float = setting(
        5.0,
        allow.number(0, 600),
        "The time after SIGTERM in which requests are still served, so that the mesh stops sending them here first.",
    )

    cache: str = setting(
        "none",
        allow.choice("local", "redis", "none"),
        "The place for results of equal requests: the pod, or also the Redis of REDIS_URL, which all pods share.",
        group="A cache of results",
    )
    cache_second: int = setting(86_400, allow.whole(1, 31_536_000), "The longest time that results are kept.")
    cache_memory: str = setting(
        "64Mi", allow.memory("1Mi", "1Ti"), "The part of memory for results. The least recently used are dropped first."
    )

    objective_success: float = setting(
        0.999,
        allow.number(0.5, 0.99999),
        "The share of prod's requests that should not fail. Alerts tell when failures use up the rest too fast.",
        group="Objectives",
    )
    objective_latency_ms: float = setting(
        0.0,
        allow.number(0, 600_000),
        "The longest time from a request's last byte to a good answer. 0 stands for half of timeout_second.",
    )
    objective_latency_share: float = setting(
        0.99, allow.number(0.5, 0.99999), "The share of prod's answers that should take objective_latency_ms at most."
    )
    latency_levels: tuple[float, float] = setting(
        (2.0, 5.0),
        allow.levels(3600),
        "The time of the slowest 5 % of answers at which `top` and `health` warn, and then call it critical.",
        unit="s",
    )
    memory_levels: tuple[float, float] = setting(
        (70.0, 85.0),
        allow.levels(100),
        "The use of a pod's memory at which alerts, `top` and `health` warn, and then call it critical.",
        unit="% of memory",
    )
    cpu_levels: tuple[float, float] = setting(
        (80.0, 95.0),
        allow.levels(10000),
        "The use of cores at which alerts, `top` and `health` warn, then call it critical. It may pass 100 without cpu_limit.",
        unit="% of cpu",
    )

    options: dict[str, str | int | float | bool] = setting(
        {},
        allow.options(),
        "Values for the service's own code, which reads them as self.settings.options. Secrets do not belong here.",
        group="The service's own code",
    )

    threads: int = setting(
        1,
        allow.whole(1, 256),
        "Requests that an application in src/server.py, such as a Flask program, answers at once. Others wait in the queue.",
        unit="requests",
    )
    env_secret: str = setting(
        "",
        allow.named("a Secret", "redis"),
        "A Kubernetes Secret of the service's namespace whose keys become environment variables, such as REDIS_URL.",
    )
    data_claim: str = setting(
        "",
        allow.named("a PersistentVolumeClaim", "indexes"),
        "A claim of the service's namespace that is mounted read-only at /data, for files that change without a release.",
    )

    gpu_num: int = setting(
        0,
        allow.whole(0, 64),
        "Older name: 1 or more asks for a whole GPU where gpu_memory is not set.",
        deprecation="a pod uses one GPU: gpu_memory says how much of it, replicas how many pods",
        group="Older names",
    )
    grey_sleep_after_day: int = setting(
        0,
        allow.whole(0, 365),
        "It has no effect any more.",
        unit="days",
        deprecation="it no longer has any effect: GREY_AUTO_STOP_IN of the GitLab project ends grey (docs/pipeline.md); "
        "delete the line",
    )
    bmls_ret_type: str = setting(
        "",
        allow.word(),
        "It has no effect any more.",
        deprecation="it no longer has any effect: an answer is always JSON; delete the line",
    )
    use_decode_sidecar: bool = setting(
        False,
        allow.flag(),
        "It has no effect any more.",
        deprecation="it no longer has any effect: pictures are decoded in the pod; delete the line",
    )

    canary: tuple[int, ...] = setting(
        (),
        allow.steps(),
        "Shares of prod's requests that a new version gets in turn, before it takes over. An empty list means no canary.",
        unit="% of requests",
        group="Canary",
    )
    canary_step_second: int = setting(600, allow.whole(10, 86400), "The longest time of a step. A verdict ends it earlier.")
    canary_undecided: str = setting(
        "hold",
        allow.choice(*UNDECIDED),
        "The end of a step without a verdict: hold the canary for a person, undo it, or go on.",
    )
    canary_confidence: float = setting(
        0.99,
        allow.number(0.5, 0.99999),
        "The probability that a version as good as the old one is not called worse, over all metrics and steps together.",
    )
    canary_tolerance: float = setting(
        1.25,
        allow.number(1, 10),
        "The multiple of the old version's share of bad answers that counts as equally good, since pods and their load differ.",
    )
    canary_margin: float = setting(
        0.005,
        allow.MARGIN,
        "The most by which the share of errors, or of refusals, may exceed the old version's for the verdict good.",
    )
    canary_latency_margins: tuple[float, float, float] = setting(
        (0.1, 0.03, 0.015), allow.margins(), "The same for answers slower than the old version's p50, p95 and p99."
    )
    canary_metrics: dict[str, float] = setting(
        {}, allow.counters(), "Counters of the service's own that count bad requests, and the margin of each."
    )

    offline_source: str = setting(
        "",
        allow.text(SOURCE, 'a topic as "kafka:like-videos", or nothing', '"kafka:like-videos"'),
        "The topic whose records `monopod offline` runs through the model. Without one, the service has no offline pods.",
        group="Offline",
    )
    offline_sinks: tuple[str, ...] = setting(
        (),
        allow.strings(SINK, 'sinks as "kafka:like-ages", "postgresql:ages" or "stdout"', '["kafka:like-ages"]'),
        "The places where each answer goes. An offset is committed once all of them have acknowledged it.",
    )
    offline_group: str = setting(
        "",
        allow.text(GROUP, "a consumer group's name, of letters, digits, ., _ and -, 200 at most", '"like-age"'),
        "The consumer group, which no other service may use. By default <username>-<service_name>; grey and ab add a suffix.",
    )
    offline_start: str = setting("latest", _start(), "The first record for a group that has committed nothing yet.")
    offline_protocol: str = setting(
        "consumer",
        allow.choice("consumer", "classic"),
        "The group's protocol: consumer is KIP-848's. classic is for brokers before 4.0.",
    )
    offline_replicas: int = setting(
        1, allow.whole(0, 1000), "Offline pods in each region that sets no number of its own. 0 runs none there."
    )
    offline_max_replicas: int = setting(
        0, allow.whole(0, 1000), "The most offline pods that KEDA may start when records wait. 0 means no autoscaler."
    )
    offline_partitions: int = setting(
        0,
        allow.whole(0, 100_000),
        "The topic's partitions, so that `check` refuses more pods, which would find nothing to read. 0 means not known.",
        unit="partitions",
    )
    offline_lag_per_replica: int = setting(
        1000,
        allow.whole(1, 100_000_000),
        "Waiting records per offline pod, above which the autoscaler adds pods.",
        unit="records",
    )
    offline_secret: str = setting(
        "",
        allow.named("a Secret", "like-offline"),
        "A Secret whose keys become environment variables of the offline pods: KAFKA_USERNAME, KAFKA_PASSWORD, POSTGRESQL_URL.",
    )
    offline_window: int = setting(
        500,
        allow.whole(1, 100_000),
        "The most records of a partition between its committed offset and the newest one read.",
        unit="records",
    )
    offline_rate: float = setting(
        0.0, allow.number(0, 1_000_000), "The most records that a pod reads in a second. 0 sets no bound.", unit="records/s"
    )
    offline_timeout_second: float = setting(
        60.0, allow.number(0.05, 3600), "The longest time that one try of a record may take in the model."
    )
    offline_revoke_second: float = setting(
        20.0,
        allow.number(0, 600),
        "The time in which records that were begun are finished when a partition goes to another pod, and on SIGTERM.",
    )
    offline_max_record: str = setting(
        "1Mi", allow.memory("1Ki", "1Gi"), "The largest value of a record. A larger one becomes a dead letter."
    )
    offline_key: tuple[str, ...] = setting(
        (),
        allow.strings(KEY, 'fields as "postid", but none of topic, partition, offset, time, results and version', '["postid"]'),
        "The fields of an answer that are the key of PostgreSQL's rows. By default it is topic, partition and offset.",
    )
    offline_retries: int = setting(
        5, allow.whole(0, 1000), "Further tries of a record after an error that may pass, before it becomes a dead letter."
    )
    offline_retry_second: float = setting(0.5, allow.number(0.01, 3600), "The time before the first further try.")
    offline_retry_factor: float = setting(
        2.0, allow.number(1, 100), "The factor by which the time grows with each further try."
    )
    offline_retry_cap_second: float = setting(
        30.0, allow.number(0.01, 3600), "The longest time between two tries, of sinks that are away too."
    )
    offline_retry_jitter: float = setting(
        0.5, allow.number(0, 1), "The share of each such time that is left to chance, so that pods do not try together."
    )


@dataclass(frozen=True)
class Declaration:
    """One setting, as the manual and the messages describe it.

    default: None where value.py must set it. group: the title of its group in the manual.
    """

    name: str
    form: Validator
    default: Any
    unit: str
    meaning: str
    deprecation: str
    group: str


def declared_settings() -> dict[str, Declaration]:
    """Return the declaration of every setting by its name, in the order of Settings."""
    required = {"service_name", "username"}
    blank = Settings(service_name="x", username="x")
    group, found = "", {}
    for f in fields(Settings):
        group = f.metadata["group"] or group
        default = None if f.name in required else getattr(blank, f.name)
        unit = f.metadata["unit"] or next((unit for ending, unit in UNITS.items() if f.name.endswith(ending)), "")
        found[f.name] = Declaration(name=f.name, default=default, **{**f.metadata, "group": group, "unit": unit})
    return found


def replicas(s: Settings, track: str) -> int:
    """Return the least online pods of a track, 1 for a process that belongs to none."""
    return {"prod": s.replicas, "ab": s.ab_replicas}.get(track, 1)


def process_memory(s: Settings) -> int:
    """Return the bytes of a pod's memory that are left beside what /dev/shm may hold."""
    return size_in_bytes(s.memory) - size_in_bytes(s.shared_memory)


def latency_objective(s: Settings) -> float:
    """Return the longest time from a request's last byte to a good answer, in seconds.

    The default is half of the timeout, since a client that waited longer is close to getting no answer. A better figure is
    known to the service alone.

    Both halves call this function: its result is a bound of the pod's histograms, and the rules ask for that bound.
    """
    return (s.objective_latency_ms or 500 * s.timeout_second) / 1000
