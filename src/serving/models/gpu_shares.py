"""The part of gpu_memory that each model's sessions get.

Knows value.py's shares, and what to say where one is missing. Does not know when a model is loaded, or what it takes.
"""

import dataclasses
import math
from pathlib import Path

from serving.base.errors import StartError
from serving.models.options import Options
from serving.settings import SESSION_GIB, Settings, gpu_memory

GIB = 2**30


class GpuShares:
    """The shares of one service. budget: bytes for all models loaded on first use, 0 where no GPU is shared."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self.budget = _bytes(settings.on_demand_gpu_memory) if settings.gpu_memory else 0

    def at_start(self, name: str, file: Path) -> int:
        """Return the bytes for a model that is loaded at the start, 0 for no limit. Raises StartError where it has no share."""
        s = self._settings
        if not s.gpu_memory:
            return 0
        if s.model_path and name == s.service_name:
            return _bytes(gpu_memory.remaining(s))
        if name not in s.model_gpu_memory:
            table = ", ".join(f'"{each}": {gib:g}' for each, gib in {**s.model_gpu_memory, name: _likely(file)}.items())
            raise StartError(
                f"model {name!r} has no share of gpu_memory ({gpu_memory.describe(s)}); write one into value.py, in the GiB "
                f"that it needs: model_gpu_memory = {{{table}}}"
            )
        return _bytes(s.model_gpu_memory[name])

    def on_demand(self, name: str, file: Path, gib: float) -> int:
        """Return the bytes for a model that is loaded on first use, 0 for no limit.

        gib: the GiB that the service asks for, 0 for all of on_demand_gpu_memory. Raises StartError where that holds less.
        """
        s = self._settings
        if not s.gpu_memory:
            return 0
        model = f"model {name!r}, which is loaded on first use,"
        if name in s.model_gpu_memory:
            raise StartError(f"{model} shares on_demand_gpu_memory with others of its kind; take it out of model_gpu_memory")
        if not s.on_demand_gpu_memory:
            raise StartError(
                f"{model} has no share of gpu_memory ({gpu_memory.describe(s)}); write into value.py what all such models "
                f"share, in GiB: on_demand_gpu_memory = {_likely(file):g}"
            )
        if gib and not SESSION_GIB < gib <= s.on_demand_gpu_memory:
            raise StartError(
                f"{model} asks for gpu_memory={gib:g} (GiB), and it must be above {SESSION_GIB:g} and at most "
                f"on_demand_gpu_memory, {s.on_demand_gpu_memory:g}; change the one or the other"
            )
        return _bytes(gib or s.on_demand_gpu_memory)


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
