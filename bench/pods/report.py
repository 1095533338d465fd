"""The section of docs/performance.md about four pods behind Envoy."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.machine import Machine
from bench.pods.card import BATCH_SECONDS, ROW_SECONDS
from bench.pods.ladder import BOUND, BOUNDS, STEP, Climb, Sides, held, medians
from bench.pods.payloads import ROWS
from bench.pods.servers import PODS, CardUse
from bench.report import table

WANTED_RATIO = 3.0
WANTED_BALANCE = 1.1
TEXT = """## Four pods behind Envoy

This is the shape that the platform is for: one process for each card, and a proxy before them.

{machine}

**No card is in this.** A stand-in takes its place. It is a model that sleeps {batch:g} ms a batch and {row:g} ms a row, and
releases Python's lock meanwhile. It runs one batch at a time. Each process has one of its own. Everything here runs on the
same cores.

A request has {least} to {most} rows as JSON, by the Open Inference Protocol. An open loop sends the sizes in turns, at equal
distances in time, and latencies count from the moment at which a request was due. Equal distances are kinder to a server
without batches than the bursts of real clients. The answers of both sides were first compared in value.

- **Pods**: {pods} processes of this server, `max_batch_size = {max_batch_size}`, behind Envoy. Envoy is set up as the
  platform's routes are: least request, ejection on local failures alone, the same limits and times.
- **gunicorn**: one gunicorn of {pods} workers, each with Flask, the same model and a request at a time on its card. It was
  run in {ways} ways, and the one that holds the highest rate at {bound:g} ms counts: `{how}`.

With full batches the cards can do {full:.0f} requests/s, and with one request at a time {single:.0f} requests/s. Each side
climbs towards that in steps of {step:.0f} % and {seconds} s, in {rounds} rounds, by turns. A step's p99 is its median over the
rounds. The rate that holds a bound is the last step before p99 is above the bound, or before a request is not answered by
200.
"""
BALANCE = """### How even the load is

For {seconds} s the pods get 70 % of the rate that holds {bound:g} ms. A free card takes what waits, so at a high rate it is
busy most of the time, whatever its share. The rows that each card computed show how evenly Envoy sends.
"""


@dataclass(frozen=True)
class Even:
    """The run at 70 %. Latencies are ms. The processor's times are seconds over the run: all pods, Envoy, the generator."""

    rate: float
    seconds: int
    p50: float
    p99: float
    good: int
    due: int
    cards: tuple[CardUse, ...]
    ejections: int
    pods_cpu: float
    envoy_cpu: float
    generator_cpu: float

    @property
    def balance(self) -> float:
        """Return the busy time of the busiest card, as a multiple of the idlest's."""
        return _spread([card.busy for card in self.cards])

    @property
    def rows_balance(self) -> float:
        """Return the rows of the card with most rows, as a multiple of those with least."""
        return _spread([card.rows for card in self.cards])


@dataclass(frozen=True)
class Figures:
    """The figures of one run. pods: its rounds. ways: the rounds of each way to run gunicorn, by its words."""

    machine: Machine
    limits: Sides
    max_batch_size: int
    step_seconds: int
    pods: Sequence[Climb]
    ways: Mapping[str, Sequence[Climb]]
    even: Even

    @property
    def how(self) -> str:
        """Return the way to run gunicorn that counts."""
        return max(self.ways, key=lambda way: held(medians(self.ways[way]), BOUND))

    @property
    def gunicorn(self) -> Sequence[Climb]:
        return self.ways[self.how]

    def rates(self, bound: float) -> Sides:
        """Return the rates at which both sides hold a bound of p99, in requests a second."""
        return Sides(held(medians(self.pods), bound), held(medians(self.gunicorn), bound))


def section(figures: Figures) -> str:
    """Return the section's text."""
    even = figures.even
    words = TEXT.format(
        machine=figures.machine,
        batch=BATCH_SECONDS * 1000,
        row=ROW_SECONDS * 1000,
        least=ROWS[0],
        most=ROWS[-1],
        pods=PODS,
        max_batch_size=figures.max_batch_size,
        ways=len(figures.ways),
        bound=BOUND,
        how=figures.how,
        full=figures.limits.pods,
        single=figures.limits.gunicorn,
        step=100 * STEP,
        seconds=figures.step_seconds,
        rounds=len(figures.pods),
    )
    targets = [[about, wanted, found, "yes" if met else "**no**"] for about, wanted, found, met in verdicts(figures)]
    parts = [words, table(["target", "wanted", "found", "met"], targets), _bounds(figures), _steps(figures), _ways(figures)]
    return "\n".join([*parts, BALANCE.format(seconds=even.seconds, bound=BOUND), _cards(even)])


def verdicts(figures: Figures) -> list[tuple[str, str, str, bool]]:
    """Return each target: its subject, the wanted figure, the measured one, and whether it is met.

    The second is not met where a request of its run was not answered by 200.
    """
    ratio, balance = figures.rates(BOUND).ratio, figures.even.balance
    return [
        (
            f"requests of the pods, of gunicorn's, p99 within {BOUND:g} ms",
            f"at least {WANTED_RATIO:g} times",
            f"{ratio:.2f}",
            ratio >= 3,
        ),
        (
            f"busy time of the busiest card, of the idlest's, 70 % load for {figures.even.seconds} s",
            f"at most {WANTED_BALANCE:g} times",
            f"{balance:.3f}",
            balance <= WANTED_BALANCE and figures.even.good == figures.even.due,
        ),
    ]


def _bounds(figures: Figures) -> str:
    rows = []
    for bound in BOUNDS:
        rates = figures.rates(bound)
        rows.append([f"{bound:g} ms", f"{rates.gunicorn:.0f}", f"{rates.pods:.0f}", f"**{rates.ratio:.2f}**"])
    return table(["p99 within", "gunicorn, 1/s", "pods, 1/s", "ratio"], rows)


def _steps(figures: Figures) -> str:
    """Return the table of all steps that a side reached. A row is one part of what the cards can do."""
    climbed = [(medians(figures.gunicorn), figures.limits.gunicorn), (medians(figures.pods), figures.limits.pods)]
    columns = [list(found.items()) for found, _ in climbed]
    rows = []
    for number in range(max(len(column) for column in columns)):
        cells = [_step(column[number]) if number < len(column) else ["", ""] for column in columns]
        share = next(
            column[number][0] / limit for column, (_, limit) in zip(columns, climbed, strict=True) if number < len(column)
        )
        rows.append([f"{100 * share:.0f} %", *cells[0], *cells[1]])
    return table(["of what the cards can do", "gunicorn, 1/s", "p99, ms", "pods, 1/s", "p99, ms"], rows)


def _step(step: tuple[float, float]) -> list[str]:
    rate, p99 = step
    return [f"{rate:.0f}", "not all answered" if math.isinf(p99) else f"{p99:.1f}"]


def _ways(figures: Figures) -> str:
    rows = [[f"`{way}`", *(f"{held(medians(rounds), bound):.0f}" for bound in BOUNDS)] for way, rounds in figures.ways.items()]
    return table(["ways to run gunicorn, 1/s", *(f"p99 within {bound:g} ms" for bound in BOUNDS)], rows)


def _cards(even: Even) -> str:
    rows = [
        [str(number), f"{card.busy:.2f}", f"{100 * card.busy / even.seconds:.0f} %", f"{card.rows:.0f}"]
        for number, card in enumerate(even.cards, 1)
    ]
    rows.append(["most, of least", f"**{even.balance:.3f}**", "", f"{even.rows_balance:.3f}"])
    return table(["card", "busy, s", "of the time", "rows"], rows) + _answers(even)


def _answers(even: Even) -> str:
    cpu = (even.pods_cpu, even.envoy_cpu, even.generator_cpu)
    pods, envoy, generator = (f"{1000 * seconds / max(1, even.good):.2f} ms" for seconds in cpu)
    return (
        f"\nDue were {even.rate:.0f} requests/s, {even.due} in all. Of those {even.good} were answered by 200, with a p50 of"
        f" {even.p50:.1f} ms and a p99 of {even.p99:.1f} ms.\nEnvoy left out a pod {even.ejections} times. A request took"
        f" {pods} of processor time in the pods, {envoy} in Envoy and\n{generator} in the generator; together they used"
        f" {sum(cpu) / even.seconds:.2f} cores.\n"
    )


def _spread(values: Sequence[float]) -> float:
    return max(values) / min(values) if min(values) else math.inf
