"""`python -m bench.peers [NAME...]`: measure the peers, one after the other, and write their parts of docs/performance.md."""

import argparse
import contextlib
import subprocess
import sys
import time

from bench import machine, tools, trees
from bench.peers import demo, environments, goals, ours, peer, report, rounds
from bench.peers.peer import Peer
from bench.peers.works import MANY
from bench.sections import PERFORMANCE, page, with_section
from bench.served import BenchError, Tree
from bench.work import ROOT

MAKER = "make bench-peers"
GOALS_MAKER = "make bench-peers OPTIONS=--goals"
ROUNDS, SECONDS = 3, 3
GOALS_ROUNDS = 5


def main() -> int:
    """Return 0 when every peer asked for was measured, 1 where one was not, machine.NOT_QUIET where nothing is kept."""
    given = _arguments()
    try:
        with contextlib.ExitStack() as stack:
            tree = stack.enter_context(trees.older(given.tree)) if given.tree else None
            chosen = _chosen(given, tree)
            if not given.check and (words := tools.missing()):
                raise BenchError("\n".join(words))
            for maker in (MAKER, GOALS_MAKER):  # a mistake in the page should be found before the measurement
                with_section(page(PERFORMANCE), "", maker, PERFORMANCE)
            return _run(chosen, given)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="This server against other servers, in turns. bench/peers/README.md says more.",
        epilog="example: python -m bench.peers fastapi mosec",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer; without one, all")
    parser.add_argument("--goals", action="store_true", help="only what the goals are judged by; writes the goals' part alone")
    parser.add_argument("--tree", metavar="COMMIT_OR_FOLDER", help="another state of this project, measured as `before`")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, with --goals {GOALS_ROUNDS}")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of each server in a round, %(default)s")
    parser.add_argument("--missing", action="store_true", help="only peers that have no result yet, or one with an error")
    parser.add_argument("--check", action="store_true", help="only start each peer and compare its answers")
    parser.add_argument("--quick", action="store_true", help="one round of a second, for trying out: prints, and keeps nothing")
    given = parser.parse_args()
    given.tree = given.tree or (goals.SINCE if given.goals else None)
    given.rounds = given.rounds or (GOALS_ROUNDS if given.goals else ROUNDS)
    if given.quick:
        given.rounds, given.seconds = 1, 1
    return given


def _chosen(given: argparse.Namespace, tree: Tree | None) -> list[Peer]:
    """Return the peers to measure. Raises BenchError for a name that no peer has."""
    known = {one.name: one for one in (*peer.found(), demo.DEMO)}
    if tree is not None:
        known[goals.BEFORE] = ours.before(tree)
    if unknown := [name for name in given.names if name not in known]:
        raise BenchError(f"no peer is named {', '.join(unknown)}; there are {', '.join(known)} (before needs --tree)")
    left_out = {name for name, result in rounds.read().items() if not result.error} if given.missing else set()
    left_out |= {name for name in known if given.goals and not goals.needed(name)}
    return [one for name, one in known.items() if (not given.names or name in given.names) and name not in left_out]


def _run(chosen: list[Peer], given: argparse.Namespace) -> int:
    """Measure the peers, and keep what was found where the machine was quiet."""
    began, here = time.monotonic(), machine.here()
    results = {one.name: _peer(one, given) for one in chosen}
    failed = [name for name, one in results.items() if one.error]
    print(f"took {time.monotonic() - began:.0f} s" + (f"; not measured in full: {', '.join(failed)}" if failed else ""))
    if not given.check:
        print(report.goals_table(results))
        if words := report.not_quiet(results, here):
            print(words, file=sys.stderr)
            return machine.NOT_QUIET
        if not given.quick:
            _write(results, here, given.goals)
    return 1 if failed else 0


def _peer(one: Peer, given: argparse.Namespace) -> rounds.Result:
    """Return a peer's figures, without any where only its answers are compared."""
    print(f"{time.strftime('%H:%M:%S')} {one.name} ...", flush=True)
    began, error = time.monotonic(), ""
    turns: rounds.Turns = {}
    plan = goals.needed(one.name) if given.goals else rounds.plan(one)
    try:
        programs = environments.install(one)
        if given.check:
            rounds.check(ours.ours(), one, programs)
        elif one.name == demo.DEMO.name:
            turns = demo.measure((1, MANY), given.rounds, given.seconds)
        else:
            turns, error = rounds.measure(ours.ours(), one, programs, plan, given.rounds, given.seconds)
    except (BenchError, OSError, subprocess.SubprocessError) as failure:
        error = str(failure)
    if error:
        print(error, file=sys.stderr)
    found = rounds.result(one, began, turns, error, trees.about("HEAD", ROOT))
    if turns:
        print(report.turns_table(found), found.noise, sep="\n")
    return found


def _write(results: goals.Results, here: machine.Machine, goals_alone: bool) -> None:
    """Write the goals' part of the page, or else keep the results, and write the other part once every peer has one."""
    text, peers = page(PERFORMANCE), [*peer.found(), demo.DEMO]
    if goals_alone:
        text = with_section(text, report.write_goals(results, here), GOALS_MAKER, PERFORMANCE)
    else:
        for one in results.values():
            rounds.write(one)
        kept = rounds.read()
        if missing := [one.name for one in peers if one.name not in kept]:
            print(f"{PERFORMANCE.name} stays as it is until --missing has measured {', '.join(missing)}")
            return
        text = with_section(text, report.write(peers, kept, here), MAKER, PERFORMANCE)
        PERFORMANCE.with_name("peers.svg").write_text(report.draw(peers, kept), encoding="utf-8")
    PERFORMANCE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
