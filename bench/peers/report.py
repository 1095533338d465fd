"""Writes the results into docs/performance.md and docs/peers.svg.

A picture's length is a rate within a round, since the machine may have been faster in another peer's rounds.
"""

import re
import textwrap
from collections.abc import Callable
from itertools import groupby
from statistics import median

from bench.machine import Machine, mean
from bench.peers import goals, picture
from bench.peers.goals import Ahead, Goal, Results
from bench.peers.peer import Peer
from bench.peers.picture import Bar, Panel
from bench.peers.rounds import Result, Turn
from bench.peers.works import MANY, WORKS
from bench.report import table
from bench.work import ROOT

INTRO = """## Against other servers

`make bench-peers` measures this server and others with the same two ONNX models and the same payloads.

{works}

Each server runs from an environment of its own, set up for {cores} cores as its documentation recommends. Its answers are first
compared in value with onnxruntime's own. Then it and this server take turns of some seconds under wrk. A figure is the median
over the rounds. A **ratio** is this server's rate divided by the peer's, the median of each round's own ratio.
*CPU* is microseconds of processor time an answer, of all of a server's processes. Servers and wrk share the cores. This server
writes its access lines, as in a pod, and the peers write none. The machine has {cores} cores ({processor}) and {system}.
The peers were measured {dates}.

![Requests a second at {many} connections, this server's being 1](peers.svg)
"""
GOALS = """## The goals beside other servers

`make bench-peers OPTIONS=--goals` measures what the goals are judged by, as [below](#against-other-servers).
The bare loop with a pinned codec is a fixed limit, since its codec is that of {since}, and does not change with this project's.
The processor time an answer is compared with that of {since} too, and there less is better.
The last two rows are those of `make bench`, and their bare loop has no HTTP. *Found* is the median of {rounds} rounds.
*CPU* is microseconds of processor time an answer, of all of a server's processes.

{machine}
Meanwhile {noise}.
"""
MAX_CHARACTERS = 600  # shown of an error


def write(peers: list[Peer], results: Results, machine: Machine) -> str:
    """Return the section's text. peers: all that are known."""
    dates = sorted({result.date for result in results.values()})
    days = f"on {dates[0]}" if len(dates) == 1 else f"from {dates[0]} to {dates[-1]}" if dates else "never"
    works = "\n".join(f"- **{work.name}**: {work.about}." for work in WORKS)
    intro = INTRO.format(
        works=works, cores=machine.cores, processor=machine.processor, system=machine.system, dates=days, many=MANY
    )
    parts = [intro, _ahead(peers, results), *_missing(results)]
    parts += [_peer(peer, results[peer.name]) for peer in peers if peer.name in results]
    if goals.BEFORE in results:
        parts += [f"### {results[goals.BEFORE].title}\n", turns_table(results[goals.BEFORE])]
    return "\n".join(parts)


def draw(peers: list[Peer], results: Results) -> str:
    """Return the picture of all results at MANY connections."""
    panels = [Panel(f"{work.name}: {work.about}", _bars(work.name, peers, results)) for work in WORKS]
    return picture.draw([panel for panel in panels if len(panel.bars) > 1], "Requests a second, beside this server's")


def write_goals(results: Results, machine: Machine) -> str:
    """Return the text of the goals' section."""
    rounds = max(len(goals.turns(goal, results)) for goal in goals.GOALS)
    noise = mean([one.noise for one in results.values()])
    return GOALS.format(since=goals.SINCE, rounds=rounds, machine=machine, noise=noise) + "\n" + goals_table(results)


def not_quiet(results: Results, machine: Machine) -> str:
    """Return which peers were measured while the machine was not quiet, "" where it was quiet for all of them."""
    loud = [f"{name}: {one.noise}" for name, one in results.items() if not one.noise.quiet]
    said = f"THE MACHINE WAS NOT QUIET, so nothing is kept. Its load before the run was {machine.load:.2f}."
    return "\n".join([said, *loud]) if loud else ""


def goals_table(results: Results) -> str:
    """Return each goal with what was found: the ratio, and the rate and processor time an answer of both servers."""
    head = ["ratio", "connections", "floor", "goal", "found (least-most)", "reached"]
    rows = [_goal(goal, goals.turns(goal, results)) for goal in goals.GOALS]
    return table([*head, "this server, 1/s", "CPU, us", "peer, 1/s", "CPU, us"], rows)


def _goal(goal: Goal, rounds: list[Turn]) -> list[str]:
    bounds = ["" if bound is None else f"{bound:g}" for bound in (goal.floor, goal.goal)]
    begin = [goal.about, str(goal.connections), *bounds]
    if not rounds:
        return [*begin, "not measured", "", "", "", "", ""]
    reached = goals.reached(goal, rounds)
    sides = [turn.ours for turn in rounds], [turn.peer for turn in rounds]
    figures = [f"{median(of):.0f}" for side in sides for of in ([one.rate for one in side], [1000 * one.cpu for one in side])]
    return [*begin, _spread([goal.of(turn) for turn in rounds]), "**no**" if reached == "no" else reached, *figures]


def _spread(ratios: list[float]) -> str:
    return f"**{median(ratios):.2f}** ({min(ratios):.2f}-{max(ratios):.2f})"


def _ahead(peers: list[Peer], results: Results) -> str:
    sentences = [
        f"- **{title} is ahead of this server**: {_places(work, list(places))}.\n"
        for (title, work), places in groupby(goals.ahead(peers, results), lambda one: (one.peer, one.work))
    ]
    return "".join(sentences) or "No peer is ahead of this server at any number of connections.\n"


def _places(work: str, places: list[Ahead]) -> str:
    ratios = sorted(f"{one.ratio:.2f}" for one in places)
    spread = ratios[0] if ratios[0] == ratios[-1] else f"{ratios[0]} to {ratios[-1]}"
    counts = ", ".join(str(one.connections) for one in places)
    return f"{work} with {counts} connection{'' if counts == '1' else 's'} (ratio {spread})"


def _missing(results: Results) -> list[str]:
    """Return a paragraph of what was not measured, and why; none where all was."""
    lines = [f"- {result.title}: {_plain(result.error)}\n" for result in results.values() if result.error]
    return ["Not measured, or not in full:\n\n" + "".join(lines)] if lines else []


def _plain(error: str) -> str:
    """Return an error in one line, without this machine's paths and addresses."""
    text = re.sub(r"https?://\S+", "(address)", error.replace(str(ROOT), "."))
    return " ".join(text.split())[:MAX_CHARACTERS]


def _peer(peer: Peer, result: Result) -> str:
    lines = [f"### {peer.title}\n", _filled(f"{_measured(peer, result)} {peer.settings}")]
    lines += [_filled(peer.lacks)] if peer.lacks else []
    if peer.documentation:
        lines.append(f"Its documentation of these settings: {', '.join(f'<{link}>' for link in peer.documentation)}\n")
    return "\n".join([*lines, turns_table(result)] if result.turns else lines)


def _measured(peer: Peer, result: Result) -> str:
    beside = f" beside this server at {result.ours}" if result.ours else ""
    return f"{peer.package} {result.version}, measured {result.date}{beside}."


def _filled(text: str) -> str:
    """Return a paragraph of the page."""
    return textwrap.fill(text, 127, break_long_words=False, break_on_hyphens=False) + "\n"


def turns_table(result: Result) -> str:
    """Return a peer's figures, a row for each work and number of connections."""
    rows = [
        _row(work.name, connections, rounds)
        for work in WORKS
        for connections, rounds in sorted(result.turns.get(work.name, {}).items())
        if rounds
    ]
    head = ["work", "connections", "peer, 1/s", "this server, 1/s", "ratio (least-most)", "peer p50, ms", "p99, ms"]
    return table([*head, "ours p50, ms", "p99, ms", "peer CPU, us", "ours, us"], rows)


def _row(work: str, connections: int, rounds: list[Turn]) -> list[str]:
    def of(take: Callable[[Turn], float]) -> float:
        return median(map(take, rounds))

    return [
        work,
        str(connections),
        f"{of(lambda turn: turn.peer.rate):.0f}",
        f"{of(lambda turn: turn.ours.rate):.0f}",
        _spread([turn.ratio for turn in rounds]),
        _milliseconds(of(lambda turn: turn.peer.p50)),
        _milliseconds(of(lambda turn: turn.peer.p99)),
        _milliseconds(of(lambda turn: turn.ours.p50)),
        _milliseconds(of(lambda turn: turn.ours.p99)),
        f"{of(lambda turn: 1000 * turn.peer.cpu):.0f}",
        f"{of(lambda turn: 1000 * turn.ours.cpu):.0f}",
    ]


def _milliseconds(latency: float) -> str:
    return f"{latency:.1f}" if latency else ""  # a loop without HTTP has none


def _bars(work: str, peers: list[Peer], results: Results) -> list[Bar]:
    bars = [Bar("this server", 1.0, "1", picture.OURS)]
    titles = {peer.name: peer.title for peer in peers} | {goals.BEFORE: "this server, before"}
    for name, title in titles.items():
        ratio = goals.ratio(results[name], work, MANY) if name in results else None
        if ratio:
            rate = results[name].of(work, MANY, lambda turn: turn.peer.rate)
            colour = picture.BEFORE if name == goals.BEFORE else picture.OTHER
            bars.append(Bar(title, 1 / ratio, f"{1 / ratio:.2f}  ({rate:,.0f}/s)", colour))
    return bars
