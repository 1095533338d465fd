"""Every way to choose the number of pods, for the same week and two lengths of a pod's start."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.autoscaling import batching, costs, policies, week
from bench.autoscaling.autoscaler import Autoscaler
from bench.autoscaling.fleet import Policy, Service, Week, run
from bench.autoscaling.policies import Hours
from bench.autoscaling.week import Rates
from conf.clusters.regions import Region
from conf.plan.placement import monthly_price
from conf.plan.pods import SCHEDULE_AND_PULL
from conf.plan.scaling import FULL, WAIT
from serving.settings import Settings
from serving.settings.declarations import latency_objective

START = 30  # seconds until a new pod is ready where a node has room for it and holds its image
STARTS = (START, SCHEDULE_AND_PULL)  # the second where a node or an image has to come first
LEAST, MOST = 2, 16  # pods of an autoscaler
MAX_MISSED = 0.001  # of the rows, as objective_success allows
CARD_PART = 0.3  # assumed: the part of a batch's time in which the pod's cores work, where a card does the rest
WORKDAYS = (0, 1, 2, 3, 4)
HOURS = (Hours(WORKDAYS, 8, 19, 7), Hours(WORKDAYS, 19, 22, 5), Hours((5, 6), 10, 23, 4))
MONTH_HOURS = 730
QUEUE_AND_BUSY, FOREKNOWN, CORES, QUEUE = "queue and busy time", "known in advance", "cores", "queue alone"
WITH_HOURS = f"{QUEUE_AND_BUSY}, with hours"
DRAWN = (CORES, QUEUE, QUEUE_AND_BUSY, WITH_HOURS)


@dataclass(frozen=True)
class Way:
    """One way to choose the number of pods, and its week by the seconds of a pod's start."""

    title: str
    weeks: dict[int, Week]


@dataclass(frozen=True)
class Figures:
    """All that was simulated.

    rates: rows a second, by the minute. queue: rows that may wait in a pod. rows: that wait for each pod, above which an
    autoscaler adds pods. objective, window: seconds. price: of one pod for an hour.
    """

    costs: costs.Costs
    rates: Rates
    queue: int
    rows: float
    window: int
    objective: float
    price: float
    currency: str
    ways: list[Way]


def figures(settings: Settings, region: Region, currency: str) -> Figures:
    """Simulate the committed week for each way. settings: of the example whose costs were measured."""
    found, rates = costs.read(), week.read()
    arriving = week.arrivals(rates).tolist()
    objective = latency_objective(settings)
    curve = batching.curve(found)
    services = [Service(found, curve, settings.queue_limit, objective, start) for start in STARTS]
    runs = [_all(service, arriving, settings) for service in services]
    ways = [Way(title, {start: each[title] for start, each in zip(STARTS, runs, strict=True)}) for title in runs[0]]
    price = (monthly_price(settings, region) or 0.0) / MONTH_HOURS
    window, rows = settings.scale_down_after_second, rows_of_a_pod(found, settings)
    return Figures(found, rates, settings.queue_limit, rows, window, objective, price, currency, ways)


def rows_of_a_pod(found: costs.Costs, settings: Settings) -> float:
    """Return the waiting rows of one pod above which an autoscaler adds pods, as conf.plan.scaling has them."""
    if settings.autoscale_queue_rows:
        return settings.autoscale_queue_rows
    worked_off = WAIT * latency_objective(settings) * found.largest / found.batches[found.largest]
    return max(1.0, min(worked_off, FULL * settings.queue_limit))


def _all(service: Service, arriving: Sequence[int], settings: Settings) -> dict[str, Week]:
    mean = round(sum(arriving) / len(arriving) / service.costs.capacity) + 1
    found = {f"fixed, {mean} pods": run(service, arriving, policies.fixed(mean), mean)}
    enough, pods = _fewest(service, arriving, mean)
    found[f"fixed, {pods} pods"] = enough
    for title, policy in _autoscaled(service.costs, settings).items():
        found[title] = run(service, arriving, policy, LEAST)
    first, policy = policies.known(service, arriving)
    found[FOREKNOWN] = run(service, arriving, policy, first)
    return found


def _fewest(service: Service, arriving: Sequence[int], above: int) -> tuple[Week, int]:
    """Return the week of the fewest fixed pods with which at most MAX_MISSED of the rows are missed."""
    pods = above + 1
    while (found := run(service, arriving, policies.fixed(pods), pods)).missed > MAX_MISSED:
        pods += 1
    return found, pods


def _autoscaled(found: costs.Costs, settings: Settings) -> dict[str, Policy]:
    instances, window = found.instances, settings.scale_down_after_second
    queue, busy, hours = policies.queue(rows_of_a_pod(found, settings)), policies.busy(instances), policies.by_hours(HOURS)

    def scaled(*metrics: policies.Metric) -> Policy:
        return policies.scaled(Autoscaler(LEAST, MOST, window), *metrics)

    return {
        "hours alone": scaled(hours),
        CORES: scaled(policies.cores(instances)),
        f"{CORES}, the model on a card": scaled(policies.cores(instances, CARD_PART)),
        QUEUE: scaled(queue),
        QUEUE_AND_BUSY: scaled(queue, busy),
        WITH_HOURS: scaled(queue, busy, hours),
    }
