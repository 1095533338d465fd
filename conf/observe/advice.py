"""The advice after a report: less or more memory, more replicas, another batch size.

Knows the figures of a report and the settings they speak about. Pure: asks nobody, and does not know how advice looks. Each
advice says the figure that it follows from. A few quiet hours say nothing, so there is none from them.
"""

from collections.abc import Callable, Iterator
from math import ceil

from conf.base.quantities import counted, money, readable_bytes, shares, significant
from conf.observe.report_figures import RegionReport
from conf.plan.plan import most_pods, scales
from serving.settings import Settings

LEAST_HOURS, LEAST_REQUESTS = 24, 1000
STEP = 64 * 2**20  # bytes; advice is in multiples of it
SPARE = 0.5  # a share of memory; a peak below it leaves some over
FULL, EMPTY = 0.5, 0.05  # shares of the batches that are more than half full
Price = Callable[[str], float | None]  # of a pod for a month, by its memory


def advice(report: RegionReport, settings: Settings, price: Price) -> list[str]:
    """Return what to change in value.py, each with the reason."""
    if report.trouble:
        return []
    hours = sum(1 for hour in report.hours if hour.requests)
    if hours < LEAST_HOURS or report.total("requests") < LEAST_REQUESTS:
        what = "records" if report.offline else "requests"
        return [
            f"nothing yet: {counted(hours, 'hour')} with {what} and {report.total('requests'):,.0f} {what} say too little "
            f"(from {LEAST_HOURS} hours and {LEAST_REQUESTS:,} {what} on)"
        ]
    if report.offline:  # their number follows the lag, and they are to use all cores
        return list(_memory(report, settings, price)) or ["nothing: memory fits the load"]
    found = [*_memory(report, settings, price), *_replicas(report, settings), *_batches(report, settings)]
    return found or ["nothing: memory, replicas and the batch size fit the load"]


def _memory(report: RegionReport, settings: Settings, price: Price) -> Iterator[str]:
    peak = report.peak("memory")
    if peak is None or not report.memory:
        return
    warns, acts = shares(settings.memory_levels)
    enough = ceil(peak / warns / STEP) * STEP  # The peak reaches the level of a warning at most.
    fitting = f"{enough // 2**20}Mi"
    used = f"the peak is {readable_bytes(peak)} of {settings.memory}"
    if peak < SPARE * report.memory and enough < report.memory:
        yield f'less memory: memory = "{fitting}", since {used}{_saving(report, settings, price, fitting)}'
    elif peak > acts * report.memory:
        yield f'more memory: memory = "{fitting}", since {used}, and a pod over it is killed'


def _saving(report: RegionReport, settings: Settings, price: Price, memory: str) -> str:
    now, then, pods = price(settings.memory), price(memory), report.peak("pods")
    if now is None or then is None or not pods or now - then < 0.5:
        return ", which saves no money here: its cores or its card decide the price"
    return f", which saves {money((now - then) * pods, report.currency)} a month"


def _replicas(report: RegionReport, settings: Settings) -> Iterator[str]:
    refused, requests = report.total("refused"), report.total("requests")
    cores = report.peak("cores")
    most = most_pods(settings, "prod")
    name = "max_replicas" if scales(settings, "prod") else "replicas"
    if refused > 0.001 * requests:
        share = f"{significant(100 * refused / requests, 2)} % of the requests were refused with 429"
        yield f"more replicas: {name} = {most + 1}, since {share}"
    elif cores is not None and cores > settings.cpu * settings.cpu_levels[0] / 100:
        used = f"{significant(cores, 2)} of its {settings.cpu:g} cores"
        yield f"more replicas: {name} = {most + 1}, since a pod used {used} for an hour"


def _batches(report: RegionReport, settings: Settings) -> Iterator[str]:
    size, full = settings.max_batch_size, report.full_batches
    if full is None or size < 2:
        return
    queue, infer = report.stages.get("queue", 0.0), report.stages.get("infer", 0.0)
    if full > FULL and queue > infer:
        share = f"{100 * full:.0f} % of the batches are more than half full"
        yield (
            f"larger batches: max_batch_size = {2 * size}, since {share} and requests wait {significant(1000 * queue)} ms for "
            f"a model that takes {significant(1000 * infer)} ms; `monopod bench` tells whether it pays"
        )
    elif full < EMPTY and size >= 8:
        share = f"{significant(100 * full, 2)} % of the batches are more than half full"
        yield f"smaller batches: max_batch_size = {size // 2}, since {share}; the warm-up is shorter and takes less memory"
