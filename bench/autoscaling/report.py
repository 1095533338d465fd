"""Writes the figures of `make bench-autoscaling`, a section of docs/autoscaling.md."""

from bench.autoscaling.autoscaler import SYNC, TOLERANCE
from bench.autoscaling.fleet import SCRAPE, Week
from bench.autoscaling.policies import CPU_TARGET
from bench.autoscaling.runs import (
    CARD_PART,
    FOREKNOWN,
    HOURS,
    LEAST,
    MOST,
    QUEUE_AND_BUSY,
    START,
    STARTS,
    Figures,
    Way,
)
from bench.report import table
from conf.base.quantities import money
from conf.plan.scaling import BUSY

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
TEXT = """## A simulated week

The load is made up. A seeded generator made the week of [week.csv](../bench/autoscaling/week.csv): two peaks on working days,
flatter weekends and 24 bursts. Its mean is {mean:.0f} rows a second, and its highest minute has {highest:.0f} rows a second.

The costs of batches are measured. The server of examples/{service} measured them at its start, as
`monopod_warmup_seconds`, on {date} ({processor}): {batches}. A pod has {instances} instances, so it answers
{capacity:.0f} rows a second at most. {queue} rows may wait in it. A row is *missed* where it is refused because the queues
are full, or is answered later than {objective:g} s. With so short a queue every missed row is a refused one.

All else is simulated, by the rules of Kubernetes and KEDA. The autoscaler decides every {sync} s, with a tolerance of
{tolerance:.0%}. Pods go after {window} s in which fewer were enough. Prometheus looks every {scrape} s. An autoscaler
has {least} to {most} pods. A new pod is ready after {short} s, or after {long} s where a node or an image comes first.

"""
BELOW = """
![The pods of four ways on the day of the highest minute](autoscaling-week.svg)

- *Fixed* is the mean load, and the fewest pods that miss at most one row of a thousand.
- *Hours alone* is `scale_hours` with no other measure: {hours}.
- *Cores* adds pods at {cpu:.0%} of the requested cores.
- *The model on a card* assumes that the cores of a pod work for {card:.0%} of a batch's time. They never look busy.
- *Queue alone* adds pods where more than {rows:g} rows wait for each, and asks for the minimum as soon as no row waits.
- *Queue and busy time* also keeps {busy:g} busy instances for each instance that there is.
- *Known in advance* starts each pod just early enough that no row is refused, and keeps no other pod. No autoscaler can know
  that. The work alone, in full batches, takes {floor:.0f} hours of pods.

A pod costs {price} an hour, as `check` has it for examples/{service} in the region hk of conf/regions.yaml. Rows within one
second are counted, not followed, and the gateway is taken to find the shortest queue. So the figures compare ways; they promise
no service its own.
"""


def section(found: Figures) -> str:
    """Return the section of docs/autoscaling.md."""
    costs = found.costs
    words = {
        "mean": found.rates.mean(),
        "highest": found.rates.max(),
        "batches": ", ".join(f"{1000 * cost:.1f} ms for {rows}" for rows, cost in costs.batches.items()) + " rows",
        "short": STARTS[0],
        "long": STARTS[1],
        "hours": ", ".join(f'`"{each}"`' for each in scale_hours()),
        "floor": 24 * 7 * found.rates.mean() / costs.capacity,
        "price": f"{found.price:.3f} {found.currency}",
    }
    known = {"sync": SYNC, "scrape": SCRAPE, "tolerance": TOLERANCE, "least": LEAST, "most": MOST}
    known |= {
        "cpu": CPU_TARGET,
        "busy": BUSY,
        "rows": found.rows,
        "window": found.window,
        "card": CARD_PART,
        "queue": found.queue,
        "objective": found.objective,
    }
    words |= {
        "service": costs.service,
        "date": costs.date,
        "processor": costs.processor,
        "instances": costs.instances,
        "capacity": costs.capacity,
        **known,
    }
    return TEXT.format(**words) + _table(found) + BELOW.format(**words)


def scale_hours() -> list[str]:
    """Return the simulated hours as value.py would has them."""
    return [f"{DAYS[each.days[0]]}-{DAYS[each.days[-1]]} {each.begin:02}:00-{each.end:02}:00 {each.pods}" for each in HOURS]


def _table(found: Figures) -> str:
    head = ["number of pods by", "hours of pods", "a week", "most", "changes"]
    head += [f"missed, ready after {start} s" for start in STARTS]
    return table(head, [_row(way, found) for way in found.ways])


def _row(way: Way, found: Figures) -> list[str]:
    week: Week = way.weeks[START]
    hours = week.pod_seconds / 3600
    cells = [f"{hours:.0f}", money(hours * found.price, found.currency), str(week.most), str(week.changes)]
    missed = [f"{each.missed:.3%}" for each in way.weeks.values()]
    title = f"**{way.title}**" if way.title == QUEUE_AND_BUSY else f"*{way.title}*" if way.title == FOREKNOWN else way.title
    return [title, *cells, *missed]
