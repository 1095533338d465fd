"""The ids of requests are unlike each other, in every process and on every thread."""

import os
import re
import subprocess
import sys

from serving.base.request_ids import new_request_id
from tests.running import ROOT
from tests.threads import in_threads


def test_an_id_is_32_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{32}", new_request_id())


def test_no_two_threads_get_one_id() -> None:
    found: list[str] = []
    in_threads(4, lambda _: found.extend([new_request_id() for _ in range(5000)]))
    assert len(set(found)) == 4 * 5000


def test_no_two_processes_get_one_id() -> None:
    program = "from serving.base.request_ids import new_request_id as new; print(new())"
    command, environment = [sys.executable, "-c", program], {"PYTHONPATH": str(ROOT / "src")}
    found = [subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout for _ in range(3)]
    assert all(len(each) == 33 for each in found)
    assert len({each[:16] for each in found}) == 3


def test_a_forked_process_gets_ids_of_its_own() -> None:
    """The program forks while it has one thread."""
    program = """
import os
from serving.base.request_ids import new_request_id
child = os.fork()
os.write(1, f"{new_request_id()} ".encode())
if child:
    os.waitpid(child, 0)
"""
    command, environment = [sys.executable, "-c", program], {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout.split()
    assert len({each[:16] for each in found}) == 2
