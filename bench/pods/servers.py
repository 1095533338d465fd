"""Starts what is measured, each for the length of a block: the pods, gunicorn, and Envoy before either."""

import contextlib
import json
import re
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.pods import envoy
from bench.pods.payloads import FOLDER, POD_PATH
from bench.served import BenchError, Served, end_process, free_port, serve, wait_ready
from bench.work import ROOT

PODS = 4
ENVIRONMENT = ROOT / ".venv-pods"
PACKAGES = "lib/python*/site-packages"  # of the environment
THREADS = 4  # Of a worker of gunicorn, as its documentation has it for gthread.
KEEP_ALIVE_SECONDS = 75  # Above Envoy's idle timeout, so that no request meets a connection that closes.
PAGE_SECONDS = 10
LINE = re.compile(r"^(card_\w+_total) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class SetUp:
    """A way to run gunicorn. worker_class: sync or gthread. behind: whether Envoy stands before it."""

    worker_class: str
    behind: bool

    @property
    def options(self) -> list[str]:
        threads = ["--threads", str(THREADS), "--keep-alive", str(KEEP_ALIVE_SECONDS)]
        return [
            "--workers",
            str(PODS),
            "--worker-class",
            self.worker_class,
            *(threads if self.worker_class == "gthread" else []),
        ]

    @property
    def words(self) -> str:
        return f"gunicorn {' '.join(self.options)}{', behind Envoy' if self.behind else ''}"


@dataclass(frozen=True)
class Proxy:
    """A running Envoy. admin_url: of its own page."""

    pid: int
    url: str
    admin_url: str

    def ejections(self) -> int:
        """Return how often Envoy left a pod out since it started."""
        said = _page(f"{self.admin_url}/stats?filter=ejections_enforced_total")
        return sum(int(line.rpartition(" ")[2]) for line in said.splitlines())


@dataclass(frozen=True)
class Side:
    """One of the two that are compared, ready. url: where requests go, path included. pods: empty for gunicorn."""

    url: str
    path: str
    proxy: Proxy | None = None
    pods: tuple[Served, ...] = ()


@dataclass(frozen=True)
class CardUse:
    """A card's counters since its process started: busy seconds, and rows."""

    busy: float
    rows: float

    def __sub__(self, other: "CardUse") -> "CardUse":
        return CardUse(self.busy - other.busy, self.rows - other.rows)


@contextlib.contextmanager
def four_pods() -> Iterator[Side]:
    """Run the pods with Envoy before them."""
    with contextlib.ExitStack() as stack:
        pods = tuple(stack.enter_context(serve(FOLDER)) for _ in range(PODS))
        proxy = stack.enter_context(_envoy([int(pod.url.rpartition(":")[2]) for pod in pods]))
        yield Side(proxy.url, outside_path(), proxy, pods)


@contextlib.contextmanager
def gunicorn(how: SetUp) -> Iterator[Side]:
    """Run gunicorn, with Envoy before it or without."""
    port = free_port()
    command = [str(ENVIRONMENT / "bin" / "gunicorn"), *how.options, "--bind", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        stack.enter_context(_started([*command, "bench.pods.flask_app:app"], f"{url}/"))
        if how.behind:
            proxy = stack.enter_context(_envoy([port]))
            yield Side(proxy.url, outside_path(), proxy)
        else:
            yield Side(url, POD_PATH)


def outside_path() -> str:
    """Return the path of a request outside, which Envoy rewrites to the pod's."""
    plan, _ = envoy.planned(PODS)
    path = plan.paths[0]
    return path.below + POD_PATH.removeprefix(path.pod_below)


def card_use(pod: Served) -> CardUse:
    """Return the counters of a pod's card."""
    return card_use_of(_page(f"{pod.admin_url}/metrics"))


def card_use_of(page: str) -> CardUse:
    """Return the counters of a card from a page of metrics. Raises BenchError where they are not there."""
    found = {name: float(value) for name, value in LINE.findall(page)}
    if not {"card_busy_seconds_total", "card_rows_total"} <= found.keys():
        raise BenchError("the pod's page of metrics has no card_busy_seconds_total or no card_rows_total")
    return CardUse(found["card_busy_seconds_total"], found["card_rows_total"])


def envoy_program() -> Path:
    """Return Envoy's program in the environment. Raises BenchError where it is not there."""
    found = sorted(ENVIRONMENT.glob(f"{PACKAGES}/envoy/_bin/envoy"))
    if not found:
        raise BenchError(f"{ENVIRONMENT} holds no Envoy: `make bench-pods` installs it")
    return found[0]


@contextlib.contextmanager
def _envoy(backends: Sequence[int]) -> Iterator[Proxy]:
    port, admin_port = free_port(), free_port()
    admin_url = f"http://127.0.0.1:{admin_port}"
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(envoy.configuration(*envoy.planned(PODS), port, admin_port, backends), file)
        file.flush()
        command = [str(envoy_program()), "--config-path", file.name, "--disable-hot-restart", "--log-level", "warning"]
        with _started(command, f"{admin_url}/ready") as pid:
            yield Proxy(pid, f"http://127.0.0.1:{port}", admin_url)


@contextlib.contextmanager
def _started(command: Sequence[str], ready: str) -> Iterator[int]:
    """Run a command for the length of a block, in which it answers at the URL ready. Raises BenchError where it does not."""
    with tempfile.NamedTemporaryFile("w+", suffix=".log") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            wait_ready(process, ready, Path(log.name))
            yield process.pid
        finally:
            end_process(process)


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PAGE_SECONDS) as answer:
        text: str = answer.read().decode()
        return text
