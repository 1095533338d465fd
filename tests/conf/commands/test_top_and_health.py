"""`monopod top` and `health` over a real Prometheus that scrapes a real service, on a terminal and without one."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from rich.console import Console

import monopod
from conf.clusters.regions import load
from conf.commands.health_command import failure_causes
from conf.commands.top_command import HEAD, fitting_table, rows
from conf.observe.figures import ObservedTrack, PodFigures, TrackFigures
from conf.observe.health import limits_of
from serving.settings import Settings
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import running_server
from tests.conf.observe.api_server import ApiServer, pod
from tests.conf.observe.folders import write_regions, write_value
from tests.conf.observe.prometheus_server import prometheus
from tests.running import PYTHONPATH, Running, post_json
from tests.waiting import until

DIGIT = {"data": [[[[0.5] * 8] * 8]]}
SCRAPED = {"namespace": "like", "service": "small", "pod": "small-1"}


@pytest.fixture(scope="module")
def scraping(digits: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, [(digits.admin_port, SCRAPED)]) as url:
        mine = write_value(folder / "service")
        regions = write_regions(folder, {"hk": url})

        def is_loaded() -> bool:
            for _ in range(10):
                assert post_json(f"{digits.url}/api/small", DIGIT)[0] == 200
            done = run("top", mine, regions, "--json", "--track", "prod")
            tracks = json.loads(done.out)
            return bool(tracks[0]["pods"] and tracks[0]["p95"])

        until(is_loaded, pause=0.2)
        yield url


def command(verb: str, service: Path, regions: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "monopod", verb, "--service", str(service), "--regions", str(regions), *words]


def environment(**more: str) -> dict[str, str]:
    unset = ("NO_COLOR", "KUBECONFIG", "COLUMNS", "LINES")  # the last two go before the terminal's own size
    without = {name: value for name, value in os.environ.items() if name not in unset}
    return {**without, "PYTHONPATH": PYTHONPATH, "TERM": "xterm", **more}


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str


def run(*words: str | Path) -> Done:
    """Run a command in this process, since to import all that it needs takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    verb, service, regions, *more = map(str, words)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = monopod.main([verb, "--service", service, "--regions", regions, *more])
    return Done(status, out.getvalue(), err.getvalue())


def test_without_a_terminal_the_table_is_printed_once(scraping: str, tmp_path: Path) -> None:
    done = run("top", write_value(tmp_path / "service"), write_regions(tmp_path, {"hk": scraping}), "--track", "prod")
    head, total, pod = done.out.splitlines()[:3]
    assert head.split() == [*HEAD]
    assert total.startswith("hk      prod   1 of 1 ready")
    assert pod.split()[0] == "small-1"
    assert "of 2 GiB" in pod
    assert "\x1b" not in done.out
    assert done.status == 0


def test_a_region_that_is_away_is_named_while_the_others_are_shown(scraping: str, tmp_path: Path) -> None:
    regions = write_regions(tmp_path, {"hk": scraping, "eu": "http://127.0.0.1:1"})
    service = write_value(tmp_path / "service")
    done = run("top", service, regions, "--track", "prod")
    assert re.search(r"^hk +prod +1 of 1 ready", done.out, re.MULTILINE)
    assert re.search(r"^eu +prod +unknown", done.out, re.MULTILINE)
    assert "eu, prod: unknown: http://127.0.0.1:1 " in done.out
    done = run("health", service, regions, "--track", "prod")
    assert done.status == 42
    assert re.search(r"^hk, prod: well: 1 pod, \S+ requests .* \S+ ms$", done.out, re.MULTILINE)


def test_forks_lists_the_release_of_the_platform_that_each_version_runs_on(scraping: str, tmp_path: Path) -> None:
    regions = write_regions(tmp_path, {"hk": scraping, "eu": "http://127.0.0.1:1"})
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert monopod.main(["forks", "--regions", str(regions)]) == 42
        assert monopod.main(["forks", "--regions", str(regions), "--region", "hk", "--json"]) == 0
    head, row, *rest = out.getvalue().splitlines()
    assert head.split() == ["platform", "region", "user", "service", "track", "version", "pods"]
    assert row.split() == [monopod.VERSION, "hk", "like", "small", "dev", "1"]
    (found,) = json.loads("\n".join(rest))
    assert (found["platform"], found["region"], found["service"], found["pods"]) == (monopod.VERSION, "hk", "small", 1)
    assert err.getvalue().startswith("eu: http://127.0.0.1:1 ")


def test_the_offline_pods_of_a_service_have_a_line_of_their_own(scraping: str, tmp_path: Path) -> None:
    reads = write_value(tmp_path / "service", offline_source="kafka:videos", offline_sinks=["kafka:ages"])
    done = run("top", reads, write_regions(tmp_path, {"hk": scraping}), "--track", "prod")
    assert re.search(r"^hk +prod +1 of 1 ready", done.out, re.MULTILINE)
    assert re.search(r"^hk +prod offline +unknown", done.out, re.MULTILINE)
    assert "like/small-offline: has its PodMonitor" in done.out


def test_the_pods_of_a_canary_have_a_line_of_their_own(digits: Running, tmp_path: Path) -> None:
    canary = {"namespace": "like", "service": "small", "arm": "canary", "arm_of": "small", "pod": "small-canary-1"}
    with prometheus(tmp_path, [(digits.admin_port, SCRAPED), (digits.admin_port, canary)]) as url:
        mine, regions = write_value(tmp_path / "service"), write_regions(tmp_path, {"hk": url})
        found: list[Done] = []

        def both_are_scraped() -> bool:
            found[:] = [run("top", mine, regions, "--track", "prod")]
            return found[0].out.count("1 of 1 ready") == 2

        until(both_are_scraped, pause=0.5)
        lines = found[0].out.splitlines()
        assert re.match("hk +prod +1 of 1 ready", lines[1])
        assert re.match("hk +prod canary +1 of 1 ready", lines[3])
        assert lines[4].split()[0] == "small-canary-1"
        health = run("health", mine, regions)
        assert re.findall("^hk, (.*): well", health.out, re.MULTILINE) == ["prod", "prod canary"]


def test_health_is_the_gravest_reason(scraping: str, tmp_path: Path) -> None:
    regions = write_regions(tmp_path, {"hk": scraping})
    well = run("health", write_value(tmp_path / "well"), regions)
    assert (well.status, well.out.count("\n")) == (0, 1)
    warned = run("health", write_value(tmp_path / "warned", memory_levels=[0.1, 100]), regions)
    assert (warned.status, warned.out.count("\n")) == (40, 1)
    assert re.match(r"hk, prod: warning: small-1 uses .*2 GiB\n", warned.out)
    critical = run("health", write_value(tmp_path / "critical", memory_levels=[0.1, 0.2], replicas=2), regions, "--json")
    assert critical.status == 41
    (track,) = json.loads(critical.out)
    assert [each["level"] for each in track["reasons"]] == ["critical", "warning"]
    assert track["reasons"][1]["words"].startswith("1 of 2 pods are ready")


def test_a_release_that_prometheus_has_not_scraped_yet_is_too_new_to_judge(
    scraping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, regions = write_value(tmp_path / "service"), write_regions(tmp_path, {"hk": scraping})
    with running_server(ApiServer()) as server:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "no-context-of-hk", f"http://127.0.0.1:{server.server_port}")
        server.pods = [pod(2, age=10.0)]
        done = run("health", service, regions)
        assert re.fullmatch(r"hk, prod: too new to judge: version 7 .* 1\d s.*\n", done.out)
        assert (done.status, done.err) == (42, "")
        server.pods = [
            {**(known := pod(1)), "metadata": {**known["metadata"], "name": "small-1"}},
            {**pod(3, age=100.0), "status": {"phase": "Failed", "reason": "Evicted", "message": "/tmp is full"}},
        ]
        done = run("health", service, regions)
        assert (done.status, done.out.count("\n")) == (40, 1)
        assert "small-03 was evicted: /tmp is full" in done.out


def test_what_kubernetes_does_not_tell_is_named_beside_the_judgement(scraping: str, tmp_path: Path) -> None:
    done = run("health", write_value(tmp_path / "service"), write_regions(tmp_path, {"hk": scraping}))
    assert done.status == 0
    assert done.err.startswith("hk: pods that are new, wait or were lost")
    assert done.err.count("\n") == 1


class Terminal:
    """A pseudo-terminal on which `monopod top` runs."""

    def __init__(self, words: list[str], columns: int, **more: str):
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, columns, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**more),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
        )
        os.set_blocking(self._own, False)
        self.seen = ""

    def shows(self, words: str) -> None:
        """Wait until some words were drawn."""

        def are_there() -> bool:
            self.read()
            assert self.process.poll() is None or words in self.seen, self.seen
            return words in self.seen

        until(are_there, pause=0.05)

    def read(self) -> None:
        try:
            self.seen += os.read(self._own, 1_000_000).decode()
        except BlockingIOError:
            return

    def press(self, key: bytes) -> int:
        """Press a key, and return the exit status."""
        os.write(self._own, key)
        status = self.process.wait(20)
        self.read()
        return status

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self._theirs) == self.before

    def lines(self) -> list[str]:
        """Return the lines of the last frame, without control sequences."""
        frame = self.seen.rpartition("\x1b[H")[2].partition("\x1b[J")[0]
        return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).split("\r\n")]


def test_on_a_terminal_it_is_drawn_in_place_until_q_is_pressed(scraping: str, tmp_path: Path) -> None:
    service = write_value(tmp_path / "service", memory_levels=[0.1, 100])
    terminal = Terminal(command("top", service, write_regions(tmp_path, {"hk": scraping}), "--every", "2"), 200)
    terminal.shows("small-1")
    assert "\x1b[33m" in terminal.seen  # memory is a warning
    assert terminal.lines()[0] == "small of like, every 2 s; q ends"
    assert terminal.press(b"q") == 0
    assert terminal.seen.endswith("\x1b[?25h\x1b[?1049l")  # the cursor and the first screen are back
    assert terminal.is_as_before()


def test_a_narrow_terminal_without_colours_is_respected_and_ctrl_c_ends_it_too(scraping: str, tmp_path: Path) -> None:
    service = write_value(tmp_path / "service", memory_levels=[0.1, 100])
    terminal = Terminal(command("top", service, write_regions(tmp_path, {"hk": scraping})), 60, NO_COLOR="1")
    terminal.shows("small-1")
    lines = terminal.lines()
    assert max(map(len, lines)) <= 60
    assert lines[2].split() == ["region", "track", "pods", "req/s", "p95", "memory"]
    assert not re.search(r"\x1b\[[0-9;]*m", terminal.seen)
    assert terminal.press(b"\x03") == 130
    assert terminal.is_as_before()


LIMITS = limits_of(Settings(service_name="small", username="like"))


def shown(track: TrackFigures) -> str:
    console = Console(width=1000, file=io.StringIO())
    with console.capture() as captured:
        console.print(fitting_table(rows(track, LIMITS), console))
    return captured.get()


def test_malformed_requests_and_refusals_do_not_hide_failures() -> None:
    pod = PodFigures("small-1", ready=1.0, rate=1000.0, valid=10.0, errors=5.0, refused=400.0)
    head, total, of_pod = shown(TrackFigures("hk", "prod", "like", "small", pods=(pod,))).splitlines()
    assert "50 %" in total
    assert "50 %" in of_pod


def test_characters_that_would_move_the_cursor_are_escaped_as_in_logs() -> None:
    track = TrackFigures("hk", "prod", "like", "small", wanted=1, pods=(PodFigures("small-1", "\x1b[2J", ready=1.0),))
    assert "\x1b" not in shown(track)
    assert "\\x1b[2J" in shown(track)


def test_the_pods_that_fail_are_named_and_so_is_what_cannot_be_read(tmp_path: Path) -> None:
    region = load(write_regions(tmp_path, {"hk": "http://127.0.0.1:1"})).regions["hk"]
    pods = [PodFigures(f"small-{number}", valid=10.0, errors=float(number)) for number in range(5)]
    track = TrackFigures("hk", "prod", "like", "small", pods=tuple(pods))
    found = failure_causes(ObservedTrack(region, "prod", "like", Settings(service_name="small", username="like"), 1), track)
    assert found[0] == "4 pods of 5: small-4 40 %, small-3 30 %, small-2 20 %, and 1 more pod"
    assert found[1].startswith("the errors in the logs: not known")
    assert found[2].startswith("the last release: not known")
