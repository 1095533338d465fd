"""Every setting that value.py may hold: kind, unit, default and meaning.

Knows the settings. Does not read files and does not know the regions.
"""

import re
from dataclasses import dataclass, fields
from typing import Any

from serving.settings import kinds
from serving.settings.declared.canary_settings import CanarySettings
from serving.settings.declared.offline_settings import OfflineSettings
from serving.settings.declared.setting import REQUIRED, setting
from serving.settings.declared.weekly_hours import EXAMPLE
from serving.settings.kinds import Kind

RESERVED_USERS = ("grey", "ab-test", "gateway", "logs", "monitoring", "keda", "monopod", "default", "kube-", "istio-")
SESSION_GIB = 0.5  # GiB of a GPU that the CUDA context, cuDNN and cuBLAS of one session take beside its arena
RESERVED_SERVICES = ("ping", "v1", "v2", "grey", "ab-test")


@dataclass(frozen=True, kw_only=True)
class Settings(CanarySettings, OfflineSettings):
    """Every setting of a service: the values of value.py, and the defaults of all others."""

    service_name: str = setting(
        REQUIRED,
        kinds.name(40, RESERVED_SERVICES),
        "The service's name, which its path, its objects and its model carry.",
        group="Name and owner",
    )
    username: str = setting(
        REQUIRED, kinds.name(40, RESERVED_USERS), "The service's owner: the first part of its path, and its namespace."
    )

    cpu: float = setting(
        1.0,
        kinds.number(0.1, 256),
        "Cores that a pod asks for. The number of the model's threads follows from it.",
        unit="cores",
        group="Size of a pod",
    )
    cpu_limit: float = setting(
        0.0, kinds.number(0, 256), "A hard limit. 0 sets none, since throttling ruins tail latency.", unit="cores"
    )
    memory: str = setting(
        "2Gi", kinds.memory("64Mi", "16Ti"), "A pod's memory, as request and as limit. A pod that takes more is killed."
    )
    gpu_memory: float = setting(
        0.0, kinds.number(0, 1024), "Memory of one GPU that a pod asks for. 0 asks for no GPU.", unit="GiB of one GPU"
    )
    model_gpu_memory: dict[str, float] = setting(
        {},
        kinds.shares(SESSION_GIB),
        "Shares of gpu_memory for the models that setup() loads, by their names. The model of model_path has the rest.",
        unit="GiB",
    )
    on_demand_gpu_memory: float = setting(
        0.0,
        kinds.number(0, 1024),
        "The part of gpu_memory for models loaded on first use. Beyond it the least recently used model is unloaded.",
        unit="GiB",
    )
    ins_num_per_gpu: int = setting(
        1,
        kinds.whole(1, 64),
        "Instances of the model in the process, each a session of its own on the same GPU or cores.",
        unit="sessions",
    )
    replicas: int = setting(
        1,
        kinds.whole(0, 1000),
        "Pods of the service in each region that sets no number of its own. 0 runs none there.",
        unit="pods",
        group="How many pods, and where",
    )
    ab_replicas: int = setting(1, kinds.whole(1, 1000), "Pods of the A/B test.", unit="pods")
    max_replicas: int = setting(
        0, kinds.whole(0, 1000), "The most pods that the autoscaler may start. 0 means no autoscaler.", unit="pods"
    )
    autoscale_by: str = setting(
        "cpu",
        kinds.choice("cpu", "queue"),
        "The measure that the autoscaler follows: cpu use, or the waiting rows and the model's busy time.",
    )
    autoscale_queue_rows: int = setting(
        0,
        kinds.whole(0, 65536),
        "Waiting rows for each pod, above which the autoscaler adds pods. 0 follows from the batches' cost and the objective.",
        unit="rows",
    )
    scale_down_after_second: int = setting(
        600, kinds.whole(0, 3600), "Time for which fewer pods must suffice before an autoscaler takes pods away.", unit="s"
    )
    scale_hours: tuple[str, ...] = setting(
        (),
        kinds.strings(re.compile(".*"), f'hours and their pods, as "{EXAMPLE}"', f'["{EXAMPLE}"]'),
        "Hours of the week, in the region's time zone, with the least pods that run in them. replicas is for all other hours.",
    )
    node_labels: dict[str, str] = setting({}, kinds.labels(), "Labels a node must carry for a pod to run there.")
    tolerations: tuple[str, ...] = setting(
        (),
        kinds.strings(kinds.TOLERATION, 'taints as "key=value:NoSchedule"', '["dedicated=ml:NoSchedule"]'),
        "Taints a pod tolerates.",
    )
    use_srv: bool = setting(False, kinds.flag(), "Open host_port on the node, for a gateway that finds pods without the mesh.")
    host_port: int = setting(0, kinds.whole(0, 65535), "The node's port that use_srv opens.", unit="port")

    model_path: str = setting("", kinds.path(), "The ONNX model; empty when src/server.py brings its own.", group="The model")
    provider: str = setting(
        "auto",
        kinds.choice("auto", "cpu", "cuda", "tensorrt"),
        "Where the model runs. auto is cuda where gpu_memory is set, else cpu. A provider that is missing fails the start.",
    )
    fp16: bool = setting(False, kinds.flag(), "Let TensorRT compute in half precision.")
    max_batch_size: int = setting(
        8,
        kinds.whole(0, 4096),
        "The most rows that the model gets at once. 0 says that the model has no batch axis.",
        unit="rows",
    )
    max_queue_delay_ms: float = setting(
        0.0,
        kinds.number(0, 10000),
        "The time that a free model waits for more rows before it runs a batch that is not full.",
        unit="ms",
    )
    warmup_shapes: dict[str, tuple[int, ...]] = setting(
        {}, kinds.shapes(), "Sizes of one row to warm the model with, for each input that leaves sizes open."
    )
    model_memory: str = setting(
        "64Ti",
        kinds.memory("1Mi", "64Ti"),
        "The pod's memory for all models loaded on first use. Beyond it the least recently used model is unloaded.",
    )
    init_delay_second: int = setting(30, kinds.whole(1, 7200), "Time the model may take to load.", unit="s")
    stuck_after_second: int = setting(
        60, kinds.whole(1, 7200), "A batch that runs longer counts as hung, and liveness fails.", unit="s"
    )

    timeout_second: float = setting(
        30.0,
        kinds.number(0.05, 3600),
        "The longest time from a request's first byte to its answer.",
        unit="s",
        group="Requests",
    )
    upload_timeout_second: float = setting(
        10.0,
        kinds.number(0.1, 3600),
        "The longest time from a request's first byte to its last, within timeout_second. A slower body is refused with 408.",
        unit="s",
    )
    queue_limit: int = setting(64, kinds.whole(1, 65536), "Rows that may wait. One more row is refused with 429.", unit="rows")
    max_rows_per_request: int = setting(
        64,
        kinds.whole(1, 65536),
        "The most rows of one request, queue_limit at most. More rows are refused with 413.",
        unit="rows",
    )
    max_body: str = setting(
        "16Mi", kinds.memory("1Ki", "4Gi"), "The largest body of a request. A larger one is refused with 413."
    )
    max_image_pixels: int = setting(
        50_000_000,
        kinds.whole(1, 1_000_000_000),
        "The most pixels of a picture. A larger picture is refused before it is decoded.",
        unit="pixels",
    )
    fetch_hosts: tuple[str, ...] = setting(
        (),
        kinds.strings(kinds.HOST, 'hosts as "img.example.com" or "*.example.com"', '["img.example.com"]'),
        "Hosts from which a picture's URL may be fetched. With no host, a URL in a request is refused.",
    )
    fetch_timeout_second: float = setting(
        5.0, kinds.number(0.1, 600), "The longest time from a fetch's start to its last byte.", unit="s"
    )
    drain_delay_second: float = setting(
        5.0,
        kinds.number(0, 600),
        "The time after SIGTERM in which requests are still served, so that the mesh stops sending them here first.",
        unit="s",
    )

    cache: str = setting(
        "none",
        kinds.choice("local", "redis", "none"),
        "Where results of equal requests are kept: in the pod, or also in the Redis of REDIS_URL, which all pods share.",
        group="A cache of results",
    )
    cache_second: int = setting(86_400, kinds.whole(1, 31_536_000), "The longest time that results are kept.", unit="s")
    cache_memory: str = setting(
        "64Mi", kinds.memory("1Mi", "1Ti"), "The part of memory for results. The least recently used are dropped first."
    )

    objective_success: float = setting(
        0.999,
        kinds.number(0.5, 0.99999),
        "The share of prod's requests that should not fail. Alerts tell when failures use up the rest too fast.",
        group="Objectives",
    )
    objective_latency_ms: float = setting(
        0.0,
        kinds.number(0, 600_000),
        "The longest time from a request's last byte to a good answer. 0 stands for half of timeout_second.",
        unit="ms",
    )
    objective_latency_share: float = setting(
        0.99, kinds.number(0.5, 0.99999), "The share of prod's answers that should take objective_latency_ms at most."
    )
    latency_levels: tuple[float, float] = setting(
        (2.0, 5.0),
        kinds.levels(3600),
        "The time of the slowest 5 % of the answers at which `top` and `health` warn, and call it critical.",
        unit="s",
    )
    memory_levels: tuple[float, float] = setting(
        (70.0, 85.0),
        kinds.levels(100),
        "The use of a pod's memory at which alerts, `top` and `health` warn, and call it critical.",
        unit="% of memory",
    )
    cpu_levels: tuple[float, float] = setting(
        (80.0, 95.0),
        kinds.levels(10000),
        "The use of cores at which alerts, `top` and `health` warn, and call it critical. Without cpu_limit it may pass 100.",
        unit="% of cpu",
    )

    options: dict[str, str | int | float | bool] = setting(
        {},
        kinds.options(),
        "Values for the service's own code, which reads them as self.settings.options. Secrets do not belong here.",
        group="The service's own code",
    )

    env_secret: str = setting(
        "",
        kinds.named("a Secret", "redis"),
        "A Kubernetes Secret of the service's namespace whose keys become environment variables, such as REDIS_URL.",
    )
    data_claim: str = setting(
        "",
        kinds.named("a PersistentVolumeClaim", "indexes"),
        "A claim of the service's namespace that is mounted read-only at /data, for files that change without a release.",
    )

    gpu_num: int = setting(
        0,
        kinds.whole(0, 64),
        "Older name: 1 or more asks for a whole GPU where gpu_memory is not set.",
        deprecation="a pod uses one GPU: gpu_memory says how much of it, replicas how many pods",
        group="Older names",
    )
    grey_sleep_after_day: int = setting(
        0,
        kinds.whole(0, 365),
        "Does nothing any more.",
        unit="days",
        deprecation="it no longer does anything: GREY_AUTO_STOP_IN of the GitLab project ends grey (docs/pipeline.md); "
        "delete the line",
    )
    bmls_ret_type: str = setting(
        "",
        kinds.word(),
        "Does nothing any more.",
        deprecation="it no longer does anything: an answer is always JSON; delete the line",
    )
    use_decode_sidecar: bool = setting(
        False,
        kinds.flag(),
        "Does nothing any more.",
        deprecation="it no longer does anything: pictures are decoded in the pod; delete the line",
    )


@dataclass(frozen=True)
class Declaration:
    """One setting, as the manual and the messages describe it.

    default: None where value.py must set it. group: the title of its group in the manual.
    """

    name: str
    kind: Kind
    default: Any
    unit: str
    meaning: str
    deprecation: str
    group: str


def declared_settings() -> dict[str, Declaration]:
    """Return the declaration of every setting by its name, in the order of Settings."""
    required = {"service_name", "username"}
    blank = Settings(service_name="x", username="x")
    own = [f for f in fields(Settings) if f.name in Settings.__annotations__]
    group, found = "", {}
    for f in (*own, *fields(CanarySettings), *fields(OfflineSettings)):
        group = f.metadata["group"] or group
        default = None if f.name in required else getattr(blank, f.name)
        found[f.name] = Declaration(
            f.name, f.metadata["kind"], default, f.metadata["unit"], f.metadata["meaning"], f.metadata["deprecation"], group
        )
    return found
