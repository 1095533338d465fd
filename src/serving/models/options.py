"""How a model is run, by value.py or by a call of the service's own code: its options, and its share of gpu_memory."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

from serving.base.errors import StartError
from serving.models.engine import Hardware
from serving.settings import SESSION_GIB, Settings, gpu_memory, size_in_bytes

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a model is run. The fields have the meaning of value.py's settings of the same names.

    instances: sessions, or threads of a function. max_queue_delay: seconds. memory: bytes of the pod. All other numbers
    count rows. warmup_shapes: input -> sizes of one row, for inputs that leave sizes open.
    """

    hardware: Hardware = Hardware()
    instances: int = 1
    max_batch_size: int = 8
    max_queue_delay: float = 0.0
    queue_limit: int = 64
    max_rows_per_request: int = 64
    warmup_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    memory: int = 2**40


def options_of(settings: Settings) -> Options:
    """Return the options of model_path's model. Other models have other shares of the GPU."""
    gpu = bool(settings.gpu_memory or settings.gpu_num)
    provider = ("cuda" if gpu else "cpu") if settings.provider == "auto" else settings.provider
    threads = max(1, math.floor(settings.cpu / settings.ins_num_per_gpu)) if provider == "cpu" else 1
    gpu_bytes = int(gpu_memory.remaining(settings) * GIB / settings.ins_num_per_gpu) if settings.gpu_memory else 0
    return Options(
        hardware=Hardware(provider, threads, gpu_bytes, settings.fp16),
        instances=settings.ins_num_per_gpu,
        max_batch_size=settings.max_batch_size,
        max_queue_delay=settings.max_queue_delay_ms / 1000,
        queue_limit=settings.queue_limit,
        max_rows_per_request=settings.max_rows_per_request,
        warmup_shapes=settings.warmup_shapes,
        memory=size_in_bytes(settings.memory),
    )


def on_demand_budget(settings: Settings) -> int:
    """Return the bytes of the GPU for all models loaded on first use, 0 where no GPU is shared."""
    return _bytes(settings.on_demand_gpu_memory) if settings.gpu_memory else 0


def share_at_start(settings: Settings, name: str, file: Path) -> int:
    """Return the bytes for a model that is loaded at the start, 0 for no limit. Raises StartError where it has no share."""
    if not settings.gpu_memory:
        return 0
    if settings.model_path and name == settings.service_name:
        return _bytes(gpu_memory.remaining(settings))
    shares = settings.model_gpu_memory
    if name not in shares:
        table = ", ".join(f'"{each}": {gib:g}' for each, gib in {**shares, name: _likely(file)}.items())
        raise StartError(
            f"model {name!r} has no share of gpu_memory ({gpu_memory.describe(settings)}); write one into value.py, in the GiB "
            f"that it needs: model_gpu_memory = {{{table}}}"
        )
    return _bytes(shares[name])


def share_on_demand(settings: Settings, name: str, file: Path, gib: float) -> int:
    """Return the bytes for a model that is loaded on first use, 0 for no limit.

    gib: the GiB that the service asks for, 0 for all of on_demand_gpu_memory. Raises StartError where that holds less.
    """
    if not settings.gpu_memory:
        return 0
    model, budget = f"model {name!r}, which is loaded on first use,", settings.on_demand_gpu_memory
    if name in settings.model_gpu_memory:
        raise StartError(f"{model} shares on_demand_gpu_memory with others of its kind; take it out of model_gpu_memory")
    if not budget:
        raise StartError(
            f"{model} has no share of gpu_memory ({gpu_memory.describe(settings)}); write into value.py what all such models "
            f"share, in GiB: on_demand_gpu_memory = {_likely(file):g}"
        )
    if gib and not SESSION_GIB < gib <= budget:
        raise StartError(
            f"{model} asks for gpu_memory={gib:g} (GiB); it must be above {SESSION_GIB:g} and at most on_demand_gpu_memory, "
            f"{budget:g}; change one of them"
        )
    return _bytes(gib or budget)


def per_session(name: str, options: Options, share: int) -> Options:
    """Return a model's options with its share divided over its sessions. share: bytes, 0 for no limit.

    Raises StartError where a session would have no memory for its arena.
    """
    if not share:
        return options
    each = share // options.instances
    if options.instances > 1 and each <= SESSION_GIB * GIB:
        raise StartError(
            f"model {name!r} has {share / GIB:g} GiB of gpu_memory for {options.instances} sessions, and each takes "
            f"{SESSION_GIB:g} beside its arena; give it more, or fewer sessions (ins_num_per_gpu, instances)"
        )
    return dataclasses.replace(options, hardware=dataclasses.replace(options.hardware, gpu_bytes=each))


def _bytes(gib: float) -> int:
    return int(gib * GIB)


def _likely(file: Path) -> float:
    """Return the GiB to try first: the weights twice, and what a session takes beside its arena."""
    size = file.stat().st_size if file.is_file() else 0
    return max(1.0, math.ceil(2 * size / GIB + SESSION_GIB))
