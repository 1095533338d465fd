"""`python -m bench.rollouts` rolls out 300 services to a simulated region, and measures the load on its API server.

Every service is deployed by the command that a user types, then upgraded, then stopped. Figures go to docs/reliability.md.
Fails where a command fails, or where one round of all takes longer than it may.
"""

import argparse
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubernetes.client import ApiException

from bench import machine, rollouts_region, rollouts_server
from bench.rollouts_report import Client, Command, Report, Round, Size, failures, section, summary
from bench.rollouts_server import Server
from bench.sections import PAGE, page, with_section
from bench.served import BenchError
from tests.conf.cluster import Cluster
from tests.conf.heartbeats import sending_heartbeats
from tests.repeating import repeating
from tests.running import PYTHONPATH

SERVICES, AT_ONCE = 300, 4
PATIENCE = 120.0  # seconds for one command
IDLE_SECONDS = 10.0
SAMPLE_SECONDS = 10.0  # /metrics has megabytes, so reading it more often would add to the measured load
TIMES = 5  # measurements of a command's own parts
MAKER = "make bench-rollouts"
# The steps of a command before its first request to the cluster. Prints the processor seconds at the end of each.
PARTS = """
import sys, time
seconds = [time.process_time()]
from conf.clusters.regions import load
from conf.commands import deploy_command
seconds.append(time.process_time())
from pathlib import Path
from conf.rules.check import check
check(Path(sys.argv[1]), load(Path(sys.argv[2])), ("prod",), sys.argv[3])
seconds.append(time.process_time())
print(*seconds)
"""


@dataclass(frozen=True)
class Workspace:
    """The files of a run. kubeconfig: of an account that may change only the users' namespaces."""

    services: Sequence[Path]
    regions: Path
    kubeconfig: Path
    at_once: int

    @property
    def environment(self) -> dict[str, str]:
        who = {"GITLAB_USER_LOGIN": "bench", "CI_PROJECT_PATH": "bench/rollouts", "CI_COMMIT_REF_NAME": "main"}
        paths = {"PYTHONPATH": PYTHONPATH, "KUBECONFIG": str(self.kubeconfig)}
        return {**os.environ, **who, **paths}

    def command(self, name: str, service: Path, *words: str) -> list[str]:
        where = ["--service", str(service), "--regions", str(self.regions), "--region", rollouts_region.REGION]
        return [sys.executable, "-m", "monopod", name, *where, *words]


def main() -> int:
    """Return 0 when everything was deployed, in time."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.rollouts",
        description=__doc__,
        epilog="example: python -m bench.rollouts --services 40 --at-once 2",
    )
    parser.add_argument("--services", type=int, help=f"how many (default: {SERVICES})")
    parser.add_argument("--at-once", type=int, help=f"commands that run at a time (default: {AT_ONCE})")
    parser.add_argument("--context", default="eu", help="of a simulated region in the kubeconfig (default: eu)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that SIGTERM deletes the namespaces, too
    try:
        with_section(page(), "", MAKER)  # a mistake in the page should be found before the measurement
        report = measured(arguments.context, arguments.services or SERVICES, arguments.at_once or AT_ONCE)
    except (BenchError, ApiException) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    wrong = failures(report)
    if arguments.services or arguments.at_once or wrong:
        print(section(report))  # a trial or a failed run is not for the docs
    else:
        PAGE.write_text(with_section(page(), section(report), MAKER), encoding="utf-8")
    print("\n".join([*map(summary, report.rounds), *wrong]))
    return 1 if wrong else 0


def measured(context: str, count: int, at_once: int) -> Report:
    """Deploy, upgrade and stop `count` services, and delete everything. Raises BenchError."""
    if not os.environ.get("KUBECONFIG"):
        raise BenchError("KUBECONFIG is not set: it names the simulated region's API server")
    here, cluster = machine.here(), Cluster(context)
    nodes = rollouts_region.simulated_nodes(cluster)
    with tempfile.TemporaryDirectory() as folder, sending_heartbeats(cluster):
        top = Path(folder)
        regions = top / "regions.yaml"
        regions.write_text(rollouts_region.regions(context), encoding="utf-8")
        workspace = Workspace(rollouts_region.make(top, count), regions, top / "kubeconfig", at_once)
        with rollouts_region.job(cluster, count, workspace.kubeconfig):
            client = parts(workspace)
            idle = _difference(cluster, lambda: time.sleep(IDLE_SECONDS))
            rounds = [
                around(cluster, workspace, "first release", "deploy", "--image", image("1")),
                around(cluster, workspace, "upgrade", "deploy", "--image", image("2")),
                around(cluster, workspace, "stop", "stop", "--yes"),
            ]
    version = cluster.ask("get", "/version")["gitVersion"]
    size = Size(nodes, count, len(rollouts_region.namespaces(count)), rollouts_region.pods(count), at_once)
    return Report(here, version, size, idle, IDLE_SECONDS, client, tuple(rounds))


def image(version: str) -> str:
    """Return an image with a digest of its own, for which no registry is asked. Simulated nodes pull nothing."""
    return f"localhost:5000/digits:{version}@sha256:{version * 64}"


def around(cluster: Cluster, workspace: Workspace, title: str, name: str, *words: str) -> Round:
    """Run a command for every service, some at once, and return the figures."""
    print(f"{time.strftime('%H:%M:%S')} {title} ...", flush=True)
    used, busy = _children(), _busy()
    found: list[tuple[float, list[Command]]] = []

    def work() -> None:
        began = time.monotonic()
        commands = _all(workspace, name, words)
        found.append((time.monotonic() - began, commands))

    with _memory(cluster) as memory:
        spent = _difference(cluster, work)
    seconds, commands = found[0]
    most = max(memory, default=spent.resident)
    return Round(title, seconds, tuple(commands), spent, most, _children() - used, _busy() - busy)


def _all(workspace: Workspace, name: str, words: Sequence[str]) -> list[Command]:
    with ThreadPoolExecutor(workspace.at_once) as pool:
        try:
            return list(pool.map(lambda service: _one(workspace, name, service, words), workspace.services))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # running commands are still waited for
            raise


def _one(workspace: Workspace, name: str, service: Path, words: Sequence[str]) -> Command:
    began = time.monotonic()
    try:
        done = subprocess.run(
            workspace.command(name, service, *words),
            env=workspace.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        status, said = done.returncode, done.stderr or done.stdout
    except subprocess.TimeoutExpired:
        status, said = -1, f"it did not end in {PATIENCE:.0f} s"
    return Command(service.name, time.monotonic() - began, status, said.strip())


def parts(workspace: Workspace) -> Client:
    """Return the processor time of a command's steps before its first request to the cluster, medians of some runs."""
    command = [sys.executable, "-c", PARTS, str(workspace.services[-1]), str(workspace.regions), image("1")]
    runs = []
    for _ in range(TIMES):
        done = subprocess.run(command, env=workspace.environment, capture_output=True, text=True)
        if done.returncode:
            raise BenchError(f"a command's parts cannot be measured: {done.stderr.strip()}")
        runs.append([float(value) for value in done.stdout.split()])
    start, imported, rendered = (statistics.median(column) for column in zip(*runs, strict=True))
    return Client(start, imported - start, rendered - imported)


def _server(cluster: Cluster) -> Server:
    return rollouts_server.read(cluster.text("/metrics"))


def _difference(cluster: Cluster, work: Callable[[], None]) -> Server:
    """Return the figures of an API server while `work` runs."""
    before = _server(cluster)
    work()
    return _server(cluster) - before


@contextmanager
def _memory(cluster: Cluster) -> Iterator[list[float]]:
    """Sample the memory of the API server, in MB, for the length of a block."""
    own, seen = Cluster(cluster.context), list[float]()  # each thread needs a client of its own
    with repeating(SAMPLE_SECONDS, lambda: seen.append(_server(own).resident)):
        yield seen


def _children() -> float:
    """Return the processor seconds of the commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy() -> float:
    """Return the seconds for which this machine's processors have worked, for any process."""
    user, nice, system, _, _, interrupts, soft, *_ = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return sum(map(int, (user, nice, system, interrupts, soft))) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
