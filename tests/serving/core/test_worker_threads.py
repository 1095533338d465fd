"""So many threads run jobs in order, outlive any job, and keep nothing of it."""

import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable

import pytest

from serving.core.stages import WorkerThreads
from tests.waiting import until


def done(threads: WorkerThreads) -> None:
    """Wait until the only thread has run all jobs so far."""
    last = threading.Event()
    threads.run(last.set)
    assert last.wait(20)


def test_jobs_run_in_the_order_in_which_they_come() -> None:
    threads, found = WorkerThreads(1, "test"), list[int]()
    for number in range(100):
        threads.run(found.append, number)
    done(threads)
    assert found == list(range(100))


def test_as_many_jobs_as_threads_run_at_once_and_no_more() -> None:
    threads, free = WorkerThreads(3, "test"), threading.Event()
    running, most = list[str](), list[int]()

    def job() -> None:
        running.append(threading.current_thread().name)
        most.append(len(running))
        assert free.wait(20)
        running.pop()

    for _ in range(6):
        threads.run(job)
    until(lambda: len(running) == 3)
    assert sorted(running) == ["test-0", "test-1", "test-2"]
    free.set()
    until(lambda: len(most) == 6 and not running)
    assert max(most) == 3


def raising() -> None:
    raise ValueError("broken")


@pytest.mark.parametrize("job", [raising, sys.exit], ids=["an error", "an exit"])
def test_a_job_that_raises_is_logged_and_its_thread_goes_on(job: Callable[[], None], caplog: pytest.LogCaptureFixture) -> None:
    threads = WorkerThreads(1, "test")
    with caplog.at_level(logging.ERROR):
        threads.run(job)
        done(threads)
    assert [record.message for record in caplog.records] == ["a job failed"]


def test_each_thread_makes_its_first_call_once_before_any_job() -> None:
    calls: list[str] = []
    threads = WorkerThreads(2, "test", lambda: calls.append("first"))
    for _ in range(4):
        threads.run(calls.append, "job")
    until(lambda: len(calls) == 6)
    assert calls.count("first") == 2
    assert calls[0] == "first"


def test_an_idle_thread_keeps_nothing_of_its_last_job() -> None:
    class Request:
        pass

    threads, request = WorkerThreads(1, "test"), Request()
    kept = weakref.ref(request)
    gc.disable()
    try:
        threads.run(lambda one: None, request)
        del request
        until(lambda: kept() is None, 5)
    finally:
        gc.enable()


def test_the_threads_do_not_keep_a_process_alive() -> None:
    WorkerThreads(2, "daemons")
    found = [each for each in threading.enumerate() if each.name.startswith("daemons-")]
    assert [each.daemon for each in found] == [True, True]
