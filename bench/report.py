"""Writes the figures of `make bench`, a section of docs/performance.md."""

from dataclasses import dataclass

from bench.lifecycle import Life
from bench.machine import Machine
from bench.pressure import BACK_MB, ON_THEIR_WAY, PING_RATE, TIMES, Overload, Pings
from bench.throughput import CONNECTIONS, Throughput

MOST = CONNECTIONS[-1]
INTRO = """
After reading this page you can say how fast the server is, what it costs beside the bare model, and how it behaves under
overload.

{machine}
The load generators and the server share these cores and speak over loopback. No figure here includes a network.
"""
THROUGHPUT = """## Throughput

The **bare loop** is the most that these cores do without a server. Its threads decode, run a one-thread session of their
own and make the answer. They call the same code as the server, with no HTTP and no queue. It runs with one thread a core
or with one thread in all, and the faster of the two counts. Beside one connection it has one thread, since one client keeps no
second one busy. Bare loop and server take turns of a few seconds. Each figure
is the median over the rounds, and a ratio is the median of each round's own ratio. The load generator wrk keeps one
request in flight on each connection.
"""
SPENT = """### What the rest is spent on

The table has percent of the cores' time while the server is loaded from {connections} connections.

- *Bare work* is the time that the bare loop would have needed for as many answers.
- The *loop* is one thread. It reads, parses and admits requests, decodes and encodes small tensors, and writes answers.
- *The rest of the server* is the hand-overs between threads, batches, logs and metrics. Bare work also costs more where threads
  share caches and Python's lock, and that is in it too.
- *Idle* is the time that no process used, or that other processes used. Where a request takes less than a millisecond, Python's
  lock keeps a core waiting.
"""
PINGS = """## Pings

The loop answers `/api/ping` itself. On the loaded server {connections} connections send pictures. Meanwhile {rate:.0f}
pings a second are sent over {connections} more. They are due at fixed times, and their latency counts from there.
"""
OVERLOAD = """## Overload

An open loop sends {times} times the peak rate of the image model for {seconds} s, whether or not answers come, with at
most {cap} requests in flight. The peak is the rate that {connections} connections got before and after. Goodput is the
rate of good answers while the load lasted, as a part of the peak. Latencies count from the moment at which a request was
due.
"""
LIFE = """## Start and memory

The figures are of the image model. Start counts from the command to the first 200 of `/readyz`. The time beyond loading and
warming the model is Python, imports, settings and sockets. Memory is what the process holds (resident, shared libraries
included).
"""


@dataclass(frozen=True)
class Figures:
    """The figures of one run."""

    machine: Machine
    throughput: list[Throughput]
    pings: Pings
    overload: Overload
    life: Life


def write(figures: Figures) -> str:
    """Return the section's text."""
    machine = figures.machine
    parts = [INTRO.format(machine=machine), _targets(figures), THROUGHPUT]
    parts += [_throughput(one) for one in figures.throughput]
    parts += [SPENT.format(connections=MOST), _spent(figures.throughput, machine.cores)]
    parts += [PINGS.format(connections=MOST, rate=PING_RATE), _pings(figures.pings)]
    heading = OVERLOAD.format(times=TIMES, seconds=figures.overload.seconds, cap=ON_THEIR_WAY, connections=MOST)
    parts += [heading, _overload(figures.overload), LIFE, _life(figures.life)]
    return "\n".join(parts)


def verdicts(figures: Figures) -> list[tuple[str, str, str, bool]]:
    """Return each target: its subject, the wanted figure, the measured one, and whether it is met."""
    over, life = figures.overload, figures.life
    image = next(one for one in figures.throughput if one.work.name == "image")
    ratio, alone = image.of(MOST, lambda one: one.ratio), image.of(1, lambda one: one.ratio)
    grown, left = over.memory_most - over.memory_before, over.memory_after - over.memory_before
    ping, refusals = max(figures.pings.loaded_p99, figures.pings.alone_p99), _refusal_p50(over)
    return [
        (f"image, {MOST} connections, of the bare loop", "at least 0.92, better 0.95", f"{ratio:.2f}", ratio >= 0.92),
        ("image, 1 connection, of the bare loop with one thread", "at least 0.90, better 0.95", f"{alone:.2f}", alone >= 0.90),
        (f"/api/ping p99, {MOST} connections, the worse of loaded and alone", "under 50 ms", f"{ping:.1f} ms", ping < 50),
        ("overload: goodput, of the peak", "at least 0.90, better 0.95", f"{over.goodput:.2f}", over.goodput >= 0.90),
        ("overload: refusals, median", "under 50 ms", f"{refusals:.1f} ms", refusals < 50),
        ("overload: memory grows by", "less than 100 MB", f"{grown:.0f} MB", grown < 100),
        ("overload: of that stays", f"at most {BACK_MB:.0f} MB", f"{max(0.0, left):.0f} MB", left <= BACK_MB),
        ("start, beyond loading and warming", "under 1 s", f"{life.beyond:.2f} s", life.beyond < 1),
        ("idle memory after warm-up", "under 200 MB", f"{life.idle:.0f} MB", life.idle < 200),
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _targets(figures: Figures) -> str:
    rows = [[about, wanted, found, "yes" if met else "**no**"] for about, wanted, found, met in verdicts(figures)]
    return table(["target", "wanted", "found", "met"], rows)


def _throughput(one: Throughput) -> str:
    rows = []
    for connections in CONNECTIONS:
        ratios = [each.ratio for each in one.rounds[connections]]
        rows.append(
            [
                str(connections),
                f"{one.of(connections, lambda each: each.bare_rate):.0f}",
                f"{one.of(connections, lambda each: each.load.rate):.0f}",
                f"**{one.of(connections, lambda each: each.ratio):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})",
                f"{one.of(connections, lambda each: each.load.p50):.1f}",
                f"{one.of(connections, lambda each: each.load.p99):.1f}",
            ]
        )
    head = ["connections", "bare, 1/s", "server, 1/s", "ratio (least-most)", "p50, ms", "p99, ms"]
    threads = "one thread" if one.threads == 1 else f"{one.threads} threads"
    return f"**{one.work.name}**: {one.work.about}. Bare loop: {threads}.\n\n" + table(head, rows)


def _spent(all_of_them: list[Throughput], cores: int) -> str:
    rows = []
    for one in all_of_them:

        def part(seconds: float) -> str:
            return f"{100 * seconds:.0f}"

        bare = one.of(MOST, lambda each: each.bare_cpu * each.answers / each.load.seconds) / cores
        first = one.of(MOST, lambda each: each.cpu.first / each.load.seconds) / cores
        server = one.of(MOST, lambda each: each.cpu.total / each.load.seconds) / cores
        wrk = one.of(MOST, lambda each: each.load.cpu / each.load.seconds) / cores
        milliseconds = [
            one.of(MOST, lambda each: 1000 * each.bare_cpu),
            one.of(MOST, lambda each: 1000 * each.cpu.user / each.answers),
            one.of(MOST, lambda each: 1000 * each.cpu.system / each.answers),
        ]
        shares = [part(bare), part(first), part(server - first - bare), part(wrk), part(1 - server - wrk)]
        rows.append([one.work.name, *shares, *(f"{each:.2f}" for each in milliseconds)])
    head = ["", "bare work", "loop", "rest of the server", "wrk", "idle"]
    return table([*head, "bare, ms/call", "server user, ms/answer", "server system, ms/answer"], rows)


def _pings(pings: Pings) -> str:
    rows = [
        ["while pictures are served", f"{PING_RATE:.0f}", f"{pings.loaded_p50:.1f}", f"{pings.loaded_p99:.1f}"],
        [f"alone, wrk with {MOST} connections", f"{pings.alone_rate:.0f}", "", f"{pings.alone_p99:.1f}"],
    ]
    return table(["", "pings, 1/s", "p50, ms", "p99, ms"], rows)


def _overload(over: Overload) -> str:
    told, rows = over.told, []
    for status, one in sorted(told["statuses"].items()):
        due = one["from_schedule_ms"]
        rows.append([status, str(one["count"]), *(f"{due[name]:.1f}" for name in ("p50", "p90", "p99", "max"))])
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(told["errors"].items())) or "none"
    cpu = over.server_cpu / over.seconds
    memory = f"{over.memory_before:.0f} MB before, {over.memory_most:.0f} MB at most, {over.memory_after:.0f} MB afterwards"
    return (
        table(["status", "answers", "p50, ms", "p90, ms", "p99, ms", "most, ms"], rows)
        + f"\nThe peak was {over.peak:.0f} answers/s, and goodput {over.goodput:.2f} of it. "
        f"Due were {told['rate']:.0f} requests/s; {told['achieved_rate']:.0f}/s were sent.\n"
        f"Not sent were {told['not_sent']} requests. Errors: {errors}.\n"
        f"The server took {cpu:.2f} cores of processor time, the generator {told['cpu_seconds'] / over.seconds:.2f}. "
        f"Memory was {memory}.\n"
    )


def _refusal_p50(over: Overload) -> float:
    refused = over.told["statuses"].get("429")
    return float(refused["from_schedule_ms"]["p50"]) if refused else 0.0


def _life(life: Life) -> str:
    rows = [
        ["start to ready", f"{life.start:.2f} s"],
        ["of that, loading and warming the model", f"{life.model_seconds:.2f} s"],
        ["beyond that", f"{life.beyond:.2f} s"],
        ["memory, idle after warm-up", f"{life.idle:.0f} MB"],
        [f"memory under load, {MOST} connections, at most", f"{life.loaded:.0f} MB"],
        ["memory some idle seconds after a load", f"{life.after:.0f} MB"],
    ]
    return table(["", ""], rows)
