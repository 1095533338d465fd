"""One model of a service, as far as it is known, whether it is loaded or not.

Knows no locks: who may change an entry is told in serving.models.registry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.models.model import Model
from serving.models.options import Options


@dataclass(frozen=True)
class ModelSource:
    """A model as the service names it. file: None for a function. open: opens one more of it. Raises StartError."""

    name: str
    file: Path | None
    options: Options
    on_demand: bool
    open: Callable[[], Model]


@dataclass(eq=False)
class Entry:
    """bytes: what the model is known to take of memory, the file's size until it was loaded once.

    gpu_bytes: what it takes of on_demand_gpu_memory while it is loaded.
    """

    name: str
    open: Callable[[], Model]
    on_demand: bool
    bytes: int
    options: Options
    file: Path | None = None
    gpu_bytes: int = 0
    model: Model | None = None
    uses: int = 0
    last_used: float = 0.0
