"""Threads that compute yield the cores, at any niceness of the process, and without a privilege."""

import subprocess
import sys

import pytest

from tests.running import PYTHONPATH

# As in a pod: the user nobody, whose threads may only become nicer.
CODE = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from serving.base.priority import yield_to_others
os.setpriority(os.PRIO_PROCESS, 0, {nice})  # whatever the niceness of the tests is
if os.getuid() == 0:
    os.setuid(65534)
def told():
    yield_to_others()  # a thread that such a thread starts does it again
    return os.getpriority(os.PRIO_PROCESS, 0)
print(ThreadPoolExecutor(1, initializer=yield_to_others).submit(told).result(), os.getpriority(os.PRIO_PROCESS, os.getpid()))
"""


@pytest.mark.parametrize(("nice", "threads"), [(0, 10), (5, 15), (15, 19), (19, 19)])
def test_threads_yield_to_the_process_that_they_are_of_however_nice_it_is(nice: int, threads: int) -> None:
    command = [sys.executable, "-c", CODE.format(nice=nice)]
    done = subprocess.run(
        command, env={"PYTHONPATH": PYTHONPATH, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.split()) == (0, [str(threads), str(nice)]), done.stderr
