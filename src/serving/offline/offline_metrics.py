"""The metrics of an offline pod. Any thread may count; gauges are asked for by the page."""

from collections.abc import Callable

from serving.telemetry.metrics import Metrics, Values

PREFIX = "monopod_offline_"


class OfflineMetrics:
    """The metrics whose names begin with monopod_offline_. Make it once in a process."""

    def __init__(self, metrics: Metrics):
        self._metrics = metrics
        self.records = metrics.listed_counter(f"{PREFIX}records_total")
        self.lost_records = metrics.listed_counter(f"{PREFIX}lost_records_total")
        self.dead_letters = metrics.listed_counter(f"{PREFIX}dead_letters_total")
        self.retries = metrics.listed_counter(f"{PREFIX}retries_total")
        self.commits = metrics.listed_counter(f"{PREFIX}commits_total")
        self.rebalances = metrics.listed_counter(f"{PREFIX}rebalances_total")
        self.sink_duration = metrics.listed_histogram(f"{PREFIX}sink_duration_seconds")
        for outcome in ("answered", "dead", "tombstone"):
            self.records.labels(outcome)
        for outcome in ("good", "failed"):
            self.commits.labels(outcome)

    def show(self, name: str, values: Callable[[], Values]) -> None:
        """Have the page ask for a gauge. name: without the prefix, such as "held". values: as serving.telemetry.metrics."""
        self._metrics.show(PREFIX + name, values)
