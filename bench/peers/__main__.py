"""`python -m bench.peers [NAME...]`: measure the peers, one after the other, and write their part of docs/performance.md.

Knows the order and what is kept. Does not know how anything is measured or reported.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench import machine, tools
from bench.peers import environments, ours, peer, report, rounds
from bench.peers.peer import Peer
from bench.sections import PERFORMANCE, page, with_section
from bench.served import BenchError
from bench.work import ROOT

MAKER = "make bench-peers"
ROUNDS, SECONDS = 3, 3


def main() -> int:
    """Return 0 when every peer asked for was measured, 1 where one was not; the others' figures are kept either way."""
    given = _arguments()
    try:
        chosen = _chosen(given.names, given.tree)
        if given.missing:
            whole = {name for name, result in rounds.read().items() if not result.error}
            chosen = [one for one in chosen if one.name not in whole]
        if not given.check and (words := tools.missing()):
            raise BenchError("\n".join(words))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with_section(page(PERFORMANCE), "", MAKER, PERFORMANCE)  # a mistake in the page should be found before the measurement
        failed = [one.name for one in chosen if not _peer(one, given)]
        if not (given.check or given.quick):
            _write()
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"took {time.monotonic() - began:.0f} s" + (f"; not measured in full: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers",
        description="This server against other servers, in turns. bench/peers/README.md says more.",
        epilog="example: python -m bench.peers fastapi mosec",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a peer; without one, all")
    parser.add_argument("--tree", type=Path, help="another checkout of this project, measured as the peer `before`")
    parser.add_argument("--missing", action="store_true", help="only peers that have no result yet, or one with an error")
    parser.add_argument("--check", action="store_true", help="only start each peer and compare its answers")
    parser.add_argument("--quick", action="store_true", help="one round of a second, for trying out: prints, and keeps nothing")
    return parser.parse_args()


def _chosen(names: list[str], tree: Path | None) -> list[Peer]:
    """Return the peers to measure. Raises BenchError for a name that no peer has."""
    known = {one.name: one for one in peer.found()}
    if tree is not None:
        known["before"] = ours.before(tree.resolve())
    if unknown := [name for name in names if name not in known]:
        raise BenchError(f"no peer is named {', '.join(unknown)}; there are {', '.join(known)} (before needs --tree)")
    return [one for one in known.values() if not names or one.name in names]


def _peer(one: Peer, given: argparse.Namespace) -> bool:
    """Measure one peer, and return whether all went well."""
    print(f"{time.strftime('%H:%M:%S')} {one.name} ...", flush=True)
    began = time.monotonic()
    turns: rounds.Turns = {}
    try:
        programs = environments.install(one)
        if given.check:
            rounds.check(ours.ours(), one, programs)
            return True
        turns, error = rounds.measure(ours.ours(), one, programs, *((1, 1) if given.quick else (ROUNDS, SECONDS)))
    except (BenchError, OSError, subprocess.SubprocessError) as failure:
        error = str(failure)
    if error:
        print(error, file=sys.stderr)
    found = rounds.result(one, began, turns, error, ours.state(ROOT))
    if given.quick:
        _print(found)
    elif not given.check:
        rounds.write(found)
    return not error


def _write() -> None:
    """Write the page and the picture from all results that are there."""
    peers, results = peer.found(), rounds.read()
    text = report.write(peers, results, machine.here())
    PERFORMANCE.write_text(with_section(page(PERFORMANCE), text, MAKER, PERFORMANCE), encoding="utf-8")
    PERFORMANCE.with_name("peers.svg").write_text(report.draw(peers, results), encoding="utf-8")


def _print(found: rounds.Result) -> None:
    for work, by_connections in found.turns.items():
        for connections, (turn, *_) in by_connections.items():
            print(
                f"  {work:12} {connections:4}: ours {turn.ours.rate:8.0f}/s p99 {turn.ours.p99:7.2f} ms, "
                f"peer {turn.peer.rate:8.0f}/s p99 {turn.peer.p99:7.2f} ms, ratio {turn.ratio:.2f}"
            )


if __name__ == "__main__":
    sys.exit(main())
