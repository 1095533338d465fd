"""make soak: a memory limit that really holds, what counts as growth, and a service that keeps its requests."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bench import soak
from bench.cgroup import V1, V2, group, places
from bench.served import BenchError
from serving.settings import Settings
from tests.bench.termination import terminated
from tests.memory import MIB
from tests.running import make_service

KEEPS = """
from serving.service.service import Service

class Keeps(Service):
    def setup(self):
        self.kept = []

    def handle(self, request):
        self.kept.append(b"x" * BYTES)
        return len(self.kept)
"""
SPEED = "## Speed\n```\nmonopod bench --data '{}' --rate 40 --warm-up 0\n```\n"
V1_MOUNTS = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
V2_MOUNTS = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"


def settings() -> Settings:
    return Settings(service_name="small", username="like", memory="1Gi")


def told(kinds: dict[str, int]) -> dict[str, Any]:
    return {
        "requests": sum(kinds.values()),
        "good": kinds.get("200", 0),
        "ms": {"p99": 12.0} if "200" in kinds else None,
        "kinds": [{"name": name, "count": count, "text": "words"} for name, count in kinds.items()],
        "load": {"rate": 0, "concurrency": 8},
    }


def judged(samples: list[float], kinds: dict[str, int] | None = None, kills: int = 0, ended: str = "") -> tuple[str, ...]:
    return soak.judge(settings(), told(kinds or {"200": 5}), samples, kills, ended).failures


def test_memory_that_fills_up_first_and_jumps_later_does_not_grow() -> None:
    warm = [100.0 + number for number in range(100)] + [200.0] * 300
    assert soak.growth(warm) == 0
    spikes = [value + (300 if number % 5 == 0 else 0) for number, value in enumerate(warm)]
    assert soak.growth(spikes) == 0


def test_memory_that_keeps_growing_grows_by_half_of_all() -> None:
    assert soak.growth([100 + number * 0.1 for number in range(400)]) == pytest.approx(20)


def test_the_least_leak_that_would_fail_is_told_for_each_service() -> None:
    row = soak.judge(settings(), told({"200": 1000}), [1.0] * 8, 0, "")
    kept = soak.GROWTH_MB * 1000 / 500  # half of the requests lie between the two medians
    assert soak.as_table([row], 60).splitlines()[2].split(" | ")[-2] == f"{kept:.0f} KB"
    assert soak.as_table([soak.judge(settings(), told({}), [1.0] * 8, 0, "")], 60).splitlines()[2].split(" | ")[-2] == "-"


def test_the_memory_after_each_quarter_is_told() -> None:
    assert soak.quarters([float(number) for number in range(400)]) == pytest.approx((94.5, 194.5, 294.5, 394.5))


def test_a_refusal_is_no_failure_and_everything_else_is() -> None:
    assert judged([1.0] * 8, {"200": 5, "429": 100}) == ()
    assert judged([1.0] * 8, {"200": 5, "500": 1}) == ("1 requests ended with 500 words",)
    assert judged([1.0] * 8, {"timeout": 2}) == ("2 requests ended with timeout words", "no request was answered")
    assert judged([1.0] * 8, kills=1) == ("over its memory of 1Gi it was killed",)
    assert judged([1.0] * 8, ended="its process ended") == ("its process ended",)


def test_a_group_is_made_below_the_process_own_group_or_below_the_root() -> None:
    assert places(V1_MOUNTS, "9:name=systemd:/\n4:memory:/a/b\n0::/\n") == [
        (Path("/sys/fs/cgroup/memory/a/b"), V1),
        (Path("/sys/fs/cgroup/memory"), V1),
    ]
    assert places(V2_MOUNTS, "0::/user.slice/x.scope\n") == [
        (Path("/sys/fs/cgroup/user.slice/x.scope"), V2),
        (Path("/sys/fs/cgroup"), V2),
    ]
    assert places("proc /proc proc rw 0 0\n", "0::/\n") == []


def limits_can_be_set() -> bool:
    """Return whether this machine allows memory limits. Where it does not, assert that the message says so."""
    try:
        with group("monopod-test", 64 * MIB):
            return True
    except BenchError as error:
        words = str(error)
    assert "run it as root or" in words
    return False


def test_a_process_over_its_memory_limit_is_killed_and_counted() -> None:
    if limits_can_be_set():
        with group("monopod-test", 64 * MIB) as held:
            eats = [*held.command, sys.executable, "-c", "x = bytearray(300 << 20); print(len(x))"]
            assert subprocess.run(eats, capture_output=True).returncode == -9
            assert held.kills() == 1
        assert not held.folder.exists()


def test_the_memory_of_a_groups_processes_is_measured() -> None:
    if limits_can_be_set():
        with group("monopod-test", 256 * MIB) as held:
            assert held.resident() == 0
            eats = [*held.command, sys.executable, "-c", "x = bytearray(100 << 20); print(1, flush=True); input()"]
            with subprocess.Popen(eats, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout
                process.stdout.readline()
                assert 100 < held.resident() < 150
                process.communicate("\n")
            assert held.kills() == 0


def test_a_service_that_keeps_its_requests_fails_and_one_that_forgets_them_passes(tmp_path: Path) -> None:
    if limits_can_be_set():
        keeps = make_service(tmp_path / "keeps", 'memory = "1Gi"', KEEPS.replace("BYTES", "2_000_000"))
        (keeps / "README.md").write_text(SPEED)
        row = soak.soak(keeps, soak.load_of(keeps), 2)
        assert row.requests == row.answered == 80
        assert "its memory grows by" in "".join(row.failures)
        assert row.quarters[3] - row.quarters[0] > 60
        forgets = make_service(tmp_path / "forgets", 'memory = "1Gi"', KEEPS.replace("BYTES", "0"))
        assert soak.soak(forgets, "--data '{}' --rate 40 --warm-up 0", 1).failures == ()


def test_a_service_that_outgrows_its_limit_is_reported_as_killed(tmp_path: Path) -> None:
    if limits_can_be_set():
        folder = make_service(tmp_path / "keeps", 'memory = "256Mi"', KEEPS.replace("BYTES", "20_000_000"))
        began = time.monotonic()
        row = soak.soak(folder, "--data '{}' --rate 20 --warm-up 0", 2)
        assert row.failures[0] == "over its memory of 256Mi it was killed"
        assert row.answered < row.requests
        assert time.monotonic() - began < 30


def test_a_soak_that_is_told_to_end_leaves_no_group_and_no_process(tmp_path: Path) -> None:
    if limits_can_be_set():
        folder = make_service(tmp_path / "keeps", 'memory = "1Gi"', KEEPS.replace("BYTES", "0"))
        (folder / "README.md").write_text(SPEED)
        arguments = ("--service", str(folder), "--seconds", "60")
        pid, status, left = terminated("bench.soak", *arguments, children=2)  # the server and its load
        assert (status, left) == (130, [])
        mounts, own = Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text()
        assert [parent for parent, _ in places(mounts, own) if (parent / f"monopod-soak-small-{pid}").exists()] == []


def test_a_service_that_does_not_start_is_a_row_and_not_the_end(tmp_path: Path) -> None:
    if limits_can_be_set():
        folder = make_service(tmp_path / "broken", 'memory = "1Gi"', "import nothing_of_that_name")
        row = soak.soak(folder, "--data '{}'", 1)
        assert "the server is not ready (exit code 1)" in row.failures[0]
        assert "|" not in soak.as_table([row], 1).splitlines()[2].split(" | ")[-1].removesuffix(" |")
