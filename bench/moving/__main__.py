"""`python -m bench.moving`: a Flask program under gunicorn and in its three steps here, measured into docs/moving.md.

All servers are up, and one is loaded at a time, in turns. Memory is what a server's processes hold together. A page that
several of them share counts once.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from bench import machine, sections
from bench.peers import answers, environments, forms, made, ours, running
from bench.peers.gunicorn.peer import SYNC
from bench.peers.peer import Peer
from bench.peers.rounds import Load, load
from bench.peers.running import Running
from bench.peers.works import MANY, WORKS, PeerWork
from bench.report import table
from bench.served import BenchError
from bench.work import ROOT

MAKER = "make bench-moving"
ROUNDS, SECONDS, WARM_SECONDS = 5, 4, 2
HERE = Path(__file__).parent
PARTS = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "bench/peers/parts")])}
ABOUT = """The program takes {about}.
{connections} connections send on {cores} cores, {rounds} times {seconds} s each in turns, and the table has the medians.

{machine}
"""


@dataclass
class Step:
    """A step and its figures. loads: of each round. memory: MB that its processes hold."""

    title: str
    peer: Peer
    loads: list[Load] = field(default_factory=list)
    memory: float = 0.0

    @property
    def rates(self) -> list[float]:
        """Answers a second, of each round."""
        return [one.rate for one in self.loads]


def main() -> int:
    work = next(each for each in WORKS if each.name == "jpeg")
    try:
        with tempfile.TemporaryDirectory() as folder, _served(Path(folder), work) as servers:
            all_up = [server for _, server in servers]
            for server in all_up:
                answers.check(server, work)
                load(server, all_up, work, MANY, WARM_SECONDS)
            for number in range(ROUNDS):
                for step, server in servers[:: -1 if number % 2 else 1]:
                    step.loads.append(load(server, all_up, work, MANY, SECONDS))
            for step, server in servers:
                step.memory = sum(map(_held, server.processes()))
        noise = machine.mean([machine.Noise(one.others, one.stolen) for step, _ in servers for one in step.loads])
        text = section(work, [step for step, _ in servers])
        print(text)
        if not noise.quiet:
            print(f"THE MACHINE WAS NOT QUIET, so nothing is kept: {noise}", file=sys.stderr)
            return machine.NOT_QUIET
        path = sections.MOVING
        path.write_text(sections.with_section(sections.page(path), text, MAKER, path), encoding="utf-8")
    except (BenchError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def section(work: PeerWork, steps: list[Step]) -> str:
    """Return the page's section. The first step is what the others are compared with."""
    first = steps[0]
    rows = []
    for step in steps:
        ratio = median(mine / base for mine, base in zip(step.rates, first.rates, strict=True))
        rows.append([step.title, f"{median(step.rates):.0f}", f"{ratio:.2f}", f"{step.memory:.0f}"])
    said = {"about": work.about, "connections": MANY, "cores": os.cpu_count(), "rounds": ROUNDS, "seconds": SECONDS}
    about = ABOUT.format(**said, machine=machine.here())
    return about + "\n" + table(["step", "answers a second", "of gunicorn", "MB of memory"], rows)


@contextlib.contextmanager
def _served(folder: Path, work: PeerWork) -> Iterator[list[tuple[Step, Running]]]:
    """Keep a server for each step ready for the length of a block. folder: for copies of the services, with their model."""
    steps = [Step("gunicorn, two workers", SYNC)]
    for number, (name, title) in enumerate({"mounted": "mounted as it is", "model": "the model given over"}.items(), 1):
        shutil.copytree(HERE / name, folder / name)
        (folder / name / "model").mkdir()
        shutil.copy(made.model("jpeg"), folder / name / "model")
        steps.append(Step(f"{number}. {title}", _ours(folder / name)))
    steps.append(Step("3. the hooks taken", ours.ours()))
    with contextlib.ExitStack() as stack:
        yield [(step, stack.enter_context(running.run(step.peer, environments.install(step.peer), work))) for step in steps]


def _ours(service: Path) -> Peer:
    """Return this checkout's server with a Flask program, which imports the module that gunicorn's imports."""
    peer = ours.ours()
    command = tuple(str(service) if "{service}" in word else word for word in peer.command)
    return replace(peer, command=command, exchanges={"jpeg": forms.jpeg_bytes("/jpeg")}, environment=PARTS)


def _held(pid: int) -> float:
    """Return the MB (10^6 bytes) that a process holds, its part of each shared page."""
    (kibibytes,) = re.findall(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(kibibytes) * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(main())
