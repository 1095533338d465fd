"""An observer that keeps what models report."""


class RecordingObserver:
    """Keeps each report in a list, in the order of arrival."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.failed: list[str] = []  # a model's name for each batch
        self.loaded: list[tuple[str, str, int, int, dict[int, float]]] = []
        self.unloaded: list[str] = []

    def batch(self, model: str, rows: int, seconds: float) -> None:
        self.batches.append(rows)

    def batch_failed(self, model: str) -> None:
        self.failed.append(model)

    def model_loaded(self, model: str, provider: str, instances: int, threads: int, costs: dict[int, float]) -> None:
        self.loaded.append((model, provider, instances, threads, costs))

    def model_unloaded(self, model: str) -> None:
        self.unloaded.append(model)
