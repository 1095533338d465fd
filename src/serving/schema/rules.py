"""What settings must agree on with one another: one small function a rule.

Knows complete settings. Does not know files, lines or clusters.
A rule returns None, or the settings it is about and a sentence with the cure.
"""

from collections.abc import Callable

from serving.schema.settings import Settings

Broken = tuple[tuple[str, ...], str]


def cpu_limit_covers_cpu(s: Settings) -> Broken | None:
    if not s.cpu_limit or s.cpu_limit >= s.cpu:
        return None
    return ("cpu_limit", "cpu"), f"cpu_limit is {s.cpu_limit:g} and cpu {s.cpu:g}: make cpu_limit at least cpu, or 0 for none"


def gpu_provider_has_gpu(s: Settings) -> Broken | None:
    if s.provider not in ("cuda", "tensorrt") or s.gpu_memory or s.gpu_num:
        return None
    return ("provider", "gpu_memory"), f'provider is "{s.provider}" and gpu_memory is 0: set gpu_memory, or provider = "cpu"'


def fp16_has_tensorrt(s: Settings) -> Broken | None:
    if not s.fp16 or s.provider == "tensorrt":
        return None
    return ("fp16", "provider"), f'fp16 works with provider = "tensorrt" alone, and provider is "{s.provider}"'


def autoscaler_can_scale(s: Settings) -> Broken | None:
    if not s.max_replicas or not s.replicas or s.max_replicas >= s.replicas:
        return None
    return ("max_replicas", "replicas"), (
        f"max_replicas is {s.max_replicas} and replicas {s.replicas}: make max_replicas at least replicas, or 0 for no scaling"
    )


def srv_has_a_port(s: Settings) -> Broken | None:
    if not s.use_srv or s.host_port:
        return None
    return ("use_srv", "host_port"), "use_srv is True and host_port is not set: name a port of the node, or set use_srv = False"


RULES: tuple[Callable[[Settings], Broken | None], ...] = (
    cpu_limit_covers_cpu,
    gpu_provider_has_gpu,
    fp16_has_tensorrt,
    autoscaler_can_scale,
    srv_has_a_port,
)
