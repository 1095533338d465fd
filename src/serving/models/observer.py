"""The interface to which models report their batches, and that they were loaded or unloaded.

Knows no metrics. serving.telemetry.metrics.Metrics implements it.
"""

from typing import Protocol


class Observer(Protocol):
    """Any thread may call these methods. All times are seconds. costs: rows of a batch -> seconds."""

    def batch(self, model: str, rows: int, seconds: float) -> None: ...

    def batch_failed(self, model: str) -> None: ...

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None: ...

    def model_unloaded(self, model: str) -> None: ...
