"""The figures of a track's offline pods together, as `monopod status` tells them: the query, and its answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conf.observe.figures import FIGURE, selector, together
from conf.observe.prometheus import Sample


@dataclass(frozen=True)
class OfflineFigures:
    """The offline pods of a track together. A figure is None where no pod has it.

    lag: records that are not committed. rate: finished records a second. oldest: the age in seconds of the oldest record that
    is not finished. dead_letters: since the pods' start. partitions: those that are read. idle: pods that have none of them.
    held: 1 while reading is stopped. away: seconds by sink. brokers_away: seconds.
    """

    away: Mapping[str, float]
    lag: float | None = None
    rate: float | None = None
    oldest: float | None = None
    dead_letters: float | None = None
    partitions: float = 0
    idle: float = 0
    held: float = 0
    brokers_away: float = 0


def offline_status_query(service: str, namespace: str) -> str:
    """Return one query for all figures. service: the name of the offline pods' Deployment."""
    all_ = selector(service, [namespace])

    def each(aggregation: str, series: str, by: str = "namespace") -> str:
        return f"{aggregation} by ({by}) ({series})"

    # Two pods may tell a partition that goes from one to the other, so the larger counts.
    lag = each("max", f"monopod_offline_lag_records{{{all_}}}", "namespace, topic, partition")
    return together(
        {
            "lag": each("sum", lag),
            "rate": each("sum", f"rate(monopod_offline_records_total{{{all_}}}[2m])"),
            "oldest": each("max", f"monopod_offline_oldest_record_age_seconds{{{all_}}}"),
            "dead_letters": each("sum", f"monopod_offline_dead_letters_total{{{all_}}}"),
            "partitions": each("sum", f"monopod_offline_partitions{{{all_}}}"),
            "idle": each("count", f"monopod_offline_partitions{{{all_}}} == 0"),
            "held": each("max", f"monopod_offline_held{{{all_}}}"),
            "away": each("max", f"monopod_offline_sink_away_seconds{{{all_}}} > 0", "namespace, sink"),
            "brokers_away": each("max", f"monopod_offline_brokers_away_seconds{{{all_}}}"),
        }
    )


def offline_figures(samples: Sequence[Sample]) -> OfflineFigures:
    """Return the figures of an answer to offline_status_query."""
    away = {each.labels["sink"]: each.value or 0.0 for each in samples if each.labels[FIGURE] == "away"}
    found = {each.labels[FIGURE]: each.value for each in samples if each.labels[FIGURE] != "away" and each.value is not None}
    if "lag" in found:
        found.setdefault("dead_letters", 0.0)  # a counter with labels has no series before it counts
    return OfflineFigures(away, **found)


def troubles(figures: OfflineFigures) -> list[str]:
    """Return what is wrong with offline pods that run, in words."""
    found = [f"{sink} has been away for {seconds:.0f} s, and its answers wait" for sink, seconds in figures.away.items()]
    if figures.brokers_away:
        found.append(f"the brokers have not answered for {figures.brokers_away:.0f} s, so nothing is read")
    if figures.held:
        found.append("reading is stopped, since the model fails for most records; their errors are in `monopod logs`")
    return found


def idle_words(figures: OfflineFigures) -> str:
    """Return that some pods have nothing to read, "" where all have. While no pod has a partition, none is counted."""
    if not figures.idle or not figures.partitions:
        return ""
    pods = f"{figures.idle:.0f} of its pods {'has' if figures.idle == 1 else 'have'}"
    return f"{pods} no partition to read, since the topic has {figures.partitions:.0f}"
