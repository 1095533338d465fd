"""Writes the figures of `make bench-offline`, a section of docs/offline.md."""

from dataclasses import dataclass
from statistics import median

from bench.machine import Machine
from bench.report import table

FLOOR, GOAL = 0.75, 0.88  # of the bare loop
GROWTH_MB = 8.0  # as in docs/soak.md
INTRO = """## How fast

{machine}
The broker, which is one node, runs on the same cores.

Records wait in a topic of four partitions. One process of `monopod offline` reads them, and writes its answers to another
topic. The **bare loop** runs the same model as fast as these cores can, with no Kafka, as in
[performance.md](performance.md). The **plain script** has 30 lines: it polls, decodes, runs the model, produces, and has the
client commit by itself. They take turns. Each figure is the median over the rounds, and a ratio is the median of each
round's own ratio.
"""
SWITCH = """How long a partition had no answer when its owner went: the longest time between two of its answers.

"""
MEMORY = """The image model answered records for {minutes:g} minutes. Memory is what the process holds (resident), in MB.
The medians of its quarters are {quarters}. It grew by {grows:.1f} MB between the second quarter and the last.
"""


@dataclass(frozen=True)
class Round:
    """Records a second of the bare loop, of `monopod offline` and of the plain script, in turns."""

    bare: float
    offline: float
    plain: float


@dataclass(frozen=True)
class Work:
    """All rounds with one kind of record."""

    about: str
    rounds: list[Round]

    @property
    def of_bare(self) -> float:
        return median(one.offline / one.bare for one in self.rounds)

    @property
    def of_plain(self) -> float:
        return median(one.offline / one.plain for one in self.rounds)


@dataclass(frozen=True)
class Figures:
    """All that is measured. gaps: seconds, by how the owner went. quarters: medians of MB."""

    machine: Machine
    image: Work
    digits: Work
    gaps: dict[str, float]
    seconds: float
    quarters: list[float]

    @property
    def grows(self) -> float:
        return self.quarters[3] - self.quarters[1]


def section(found: Figures) -> str:
    """Return the section of docs/offline.md."""
    met = [[about, wanted, value, "yes" if good else "**no**"] for about, wanted, value, good in verdicts(found)]
    rows = [_row(work) for work in (found.image, found.digits)]
    quarters = ", ".join(f"{one:.0f}" for one in found.quarters)
    return "\n".join(
        (
            INTRO.format(machine=found.machine),
            table(["target", "wanted", "found", "met"], met),
            table(["records", "bare, 1/s", "plain script, 1/s", "offline, 1/s", "of bare", "of plain"], rows),
            SWITCH + table(["the owner", "without an answer, s"], [[how, f"{gap:.1f}"] for how, gap in found.gaps.items()]),
            MEMORY.format(minutes=found.seconds / 60, quarters=quarters, grows=found.grows),
        )
    )


def verdicts(found: Figures) -> list[tuple[str, str, str, bool]]:
    """Return each target: about, wanted, found, and whether it is met."""
    ratio, grows = found.image.of_bare, found.grows
    return [
        ("image model, of the bare loop", f"at least {FLOOR:g}, better {GOAL:g}", f"{ratio:.2f}", ratio >= FLOOR),
        ("memory grows by", f"at most {GROWTH_MB:g} MB", f"{grows:.1f} MB", grows <= GROWTH_MB),
    ]


def _row(work: Work) -> list[str]:
    middle = [median(getattr(one, name) for one in work.rounds) for name in ("bare", "plain", "offline")]
    return [work.about, *(f"{rate:.0f}" for rate in middle), f"**{work.of_bare:.2f}**", f"{work.of_plain:.2f}"]
