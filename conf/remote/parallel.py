"""Asks several servers at once, and ends in time: the one way to abandon a thread.

Concurrency: each question has a thread of its own, and AT_ONCE of them work at a time. A thread ends with its answer. A thread
whose time is over is abandoned: it is a daemon, and its late answer goes to a Future that nobody reads any more.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

AT_ONCE = 8
K = TypeVar("K")
T = TypeVar("T")


class TooSlow(Exception):
    """A server has not answered in time, which is given in seconds."""

    def __init__(self, seconds: float):
        super().__init__(f"no answer in {seconds:g} s")


class Answers(Generic[K, T]):
    """The servers' answers: each is a result in `found`, or an exception in `failed`."""

    def __init__(self) -> None:
        self.found: dict[K, T] = {}
        self.failed: dict[K, Exception] = {}


def asked(question: Callable[[], T], turn: threading.Semaphore | None = None) -> "Future[T]":
    """Ask on a daemon thread, and return the answer to come. turn: is held while the question is asked."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            with turn or threading.Semaphore():
                answer.set_result(question())
        except Exception as error:  # the caller decides which of them are expected
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer


def ask_all(questions: Mapping[K, Callable[[], T]], seconds: float) -> Answers[K, T]:
    """Ask all at once, and return their answers in the order of `questions`. seconds: for all of them together."""
    turn, answers = threading.Semaphore(AT_ONCE), Answers[K, T]()
    futures = {key: asked(question, turn) for key, question in questions.items()}
    in_time = wait(futures.values(), seconds).done
    for key, future in futures.items():
        error = future.exception() if future in in_time else TooSlow(seconds)
        if isinstance(error, Exception):
            answers.failed[key] = error
        else:
            answers.found[key] = future.result()
    return answers
