"""How a model is run, and what value.py says about it.

Knows numbers and hardware. Does not know models.
"""

import math
from dataclasses import dataclass, field

from serving.models.engine import Hardware
from serving.settings import Settings, gpu_memory, size_in_bytes


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
    gpu_bytes = int(gpu_memory.remaining(settings) * 2**30 / settings.ins_num_per_gpu) if settings.gpu_memory else 0
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
