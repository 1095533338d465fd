"""One model of a service, loaded or not.

Knows no locks: serving.models.model_cache says which threads may change an entry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.models.model import Model
from serving.models.options import Options


@dataclass(frozen=True)
class ModelSource:
    """A model as the service names it. file: None for a function. open: opens another copy, and raises StartError."""

    name: str
    file: Path | None
    options: Options
    on_demand: bool
    open: Callable[[], Model]


@dataclass(eq=False)
class Entry:
    """One model, as the registry and the cache manage it."""

    name: str
    open: Callable[[], Model]
    on_demand: bool
    bytes: int  # Memory that it takes: its file's size until it is loaded, then a measurement.
    options: Options
    file: Path | None = None
    gpu_bytes: int = 0  # The part of on_demand_gpu_memory that it takes while it is loaded.
    model: Model | None = None  # None while it is not in memory.
    uses: int = 0  # Calls in progress.
    last_used: float = 0.0  # Seconds of time.monotonic().
