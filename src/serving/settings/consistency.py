"""The rules between settings: one small function for each rule.

A rule returns None where it holds, else the names of the settings that it compares and a sentence that says what to change.
Knows complete settings. Does not know files, lines or clusters.
"""

from collections.abc import Callable

from serving.settings.declarations import SESSION_GIB, Settings
from serving.settings.gpu_memory import remaining, shares

Violation = tuple[tuple[str, ...], str]


def cpu_limit_covers_cpu(s: Settings) -> Violation | None:
    if not s.cpu_limit or s.cpu_limit >= s.cpu:
        return None
    return ("cpu_limit", "cpu"), f"cpu_limit is {s.cpu_limit:g} and cpu {s.cpu:g}: make cpu_limit at least cpu, or 0 for none"


def gpu_provider_has_gpu(s: Settings) -> Violation | None:
    if s.provider not in ("cuda", "tensorrt") or s.gpu_memory or s.gpu_num:
        return None
    return ("provider", "gpu_memory"), f'provider is "{s.provider}" and gpu_memory is 0: set gpu_memory, or provider = "cpu"'


def shares_fit_gpu_memory(s: Settings) -> Violation | None:
    """Compare nothing where gpu_memory is 0, as in a region without GPUs: there is nothing to share."""
    least, left = (SESSION_GIB if s.model_path else 0.0), remaining(s)
    if not s.gpu_memory or not shares(s) or left > least or (left == least == 0):
        return None
    taken = sum(shares(s).values())
    rest = f", which leaves model_path's model {max(left, 0):g}, and it needs more than {least:g}" if s.model_path else ""
    words = ", ".join(f"{name} {gib:g}" for name, gib in shares(s).items())
    return ("model_gpu_memory", "on_demand_gpu_memory", "gpu_memory"), (
        f"gpu_memory is {s.gpu_memory:g} GiB, and its shares take {taken:g} ({words}){rest}: lower them, or set"
        f" gpu_memory = {taken + 2 * least:g} or more"
    )


def shares_hold_a_session(s: Settings) -> Violation | None:
    if not 0 < s.on_demand_gpu_memory <= SESSION_GIB:
        return None
    return ("on_demand_gpu_memory",), (
        f"on_demand_gpu_memory is {s.on_demand_gpu_memory:g}, and a session takes {SESSION_GIB:g} GiB beside its arena:"
        f" set more than {SESSION_GIB:g}, or 0 where no model is loaded on first use"
    )


def shares_name_other_models(s: Settings) -> Violation | None:
    if not s.model_path or s.service_name not in s.model_gpu_memory:
        return None
    return ("model_gpu_memory",), (
        f"model_gpu_memory names {s.service_name!r}, which is model_path's model and has what the others leave: take it out"
    )


def fp16_has_tensorrt(s: Settings) -> Violation | None:
    if not s.fp16 or s.provider == "tensorrt":
        return None
    return ("fp16", "provider"), f'fp16 works with provider = "tensorrt" alone, and provider is "{s.provider}"'


def autoscaler_can_scale(s: Settings) -> Violation | None:
    if not s.max_replicas or not s.replicas or s.max_replicas >= s.replicas:
        return None
    return ("max_replicas", "replicas"), (
        f"max_replicas is {s.max_replicas} and replicas {s.replicas}: make max_replicas at least replicas, or 0 for no scaling"
    )


def srv_has_a_port(s: Settings) -> Violation | None:
    if not s.use_srv or s.host_port:
        return None
    return ("use_srv", "host_port"), "use_srv is True and host_port is not set: name a port of the node, or set use_srv = False"


RULES: tuple[Callable[[Settings], Violation | None], ...] = (
    cpu_limit_covers_cpu,
    gpu_provider_has_gpu,
    shares_fit_gpu_memory,
    shares_hold_a_session,
    shares_name_other_models,
    fp16_has_tensorrt,
    autoscaler_can_scale,
    srv_has_a_port,
)
