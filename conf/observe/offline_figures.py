"""The figures of a track's offline pods, from two readings of each pod's own page.

Knows what each metric of an offline pod means. Does not know how a page is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from conf.observe.metrics_page import Page

LAG = "monopod_offline_lag_records"
Reading = tuple[Page, Page]  # the earlier page, and the later one


@dataclass(frozen=True)
class OfflineFigures:
    """The offline pods of a track together. A figure is None where no page has it.

    lag: records that are not committed. rate: finished records a second. oldest: the age in seconds of the oldest record that
    is not finished. dead_letters: since the pods' start. partitions: those that are read. idle: pods that have none of them.
    held: whether reading is stopped. away: seconds by sink. brokers_away: seconds.
    """

    lag: float | None
    rate: float | None
    oldest: float | None
    dead_letters: float | None
    partitions: int
    idle: int
    held: bool
    away: Mapping[str, float]
    brokers_away: float = 0.0


def offline_figures(readings: Sequence[Reading]) -> OfflineFigures:
    """Return the figures of all pods together."""
    pages = [after for _, after in readings]
    partitions = _known(page.sum("monopod_offline_partitions") for page in pages)
    return OfflineFigures(
        lag=_lag(pages),
        rate=_total(_rate(before, after) for before, after in readings),
        oldest=max(_known(page.most("monopod_offline_oldest_record_age_seconds") for page in pages), default=None),
        dead_letters=_total(_dead_letters(page) for page in pages),
        partitions=int(sum(partitions)),
        idle=partitions.count(0),
        held=any(page.most("monopod_offline_held") for page in pages),
        away=_away(pages),
        brokers_away=max(_known(page.most("monopod_offline_brokers_away_seconds") for page in pages), default=0.0),
    )


def troubles(figures: OfflineFigures) -> list[str]:
    """Return what is wrong with offline pods that run, in words."""
    found = [f"{sink} has been away for {seconds:.0f} s, and its answers wait" for sink, seconds in figures.away.items()]
    if figures.brokers_away:
        found.append(f"the brokers have not answered for {figures.brokers_away:.0f} s, so that nobody reads")
    if figures.held:
        found.append("reading is stopped, since the model fails for most records; their errors are in `monopod logs`")
    return found


def idle_words(figures: OfflineFigures) -> str:
    """Return that some pods have nothing to read, "" where all have. While no pod has a partition, none is counted."""
    if not figures.idle or not figures.partitions:
        return ""
    pods = f"{figures.idle} of its pods {'has' if figures.idle == 1 else 'have'}"
    return f"{pods} no partition to read, since the topic has {figures.partitions}"


def _lag(pages: Sequence[Page]) -> float | None:
    """Return the sum over partitions. Two pods may tell a partition that goes from one to the other, so the larger counts."""
    found: dict[tuple[str, str], float] = {}
    for labels, value in (sample for page in pages for sample in page.samples.get(LAG, [])):
        key = labels.get("topic", ""), labels.get("partition", "")
        found[key] = max(value, found.get(key, 0.0))
    return sum(found.values()) if found else None


def _rate(before: Page, after: Page) -> float | None:
    """Return the records a second between two readings. A counter that fell was set to 0 by a restart."""
    now, then = after.sum("monopod_offline_records_total"), before.sum("monopod_offline_records_total") or 0.0
    if now is None or after.at <= before.at:
        return None
    return (now - then if now >= then else now) / (after.at - before.at)


def _dead_letters(page: Page) -> float | None:
    """Return the dead letters of a pod. A counter with labels has no series before it first counts."""
    found = page.sum("monopod_offline_dead_letters_total")
    return found if found is not None or LAG not in page.samples else 0.0


def _away(pages: Sequence[Page]) -> dict[str, float]:
    found: dict[str, float] = {}
    for labels, value in (each for page in pages for each in page.samples.get("monopod_offline_sink_away_seconds", [])):
        if value > 0:
            found[labels.get("sink", "")] = max(value, found.get(labels.get("sink", ""), 0.0))
    return found


def _total(values: Iterable[float | None]) -> float | None:
    found = _known(values)
    return sum(found) if found else None


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
