"""Requests that are repeated: until an answer, a refusal, or the end of the time."""

import pytest

from conf.remote.cluster import Refused, Unreachable
from conf.rollout import lease
from conf.rollout.lease import repeated


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RETRY_PAUSE", 0.01)
    monkeypatch.setattr(lease, "RETRIED_FOR", 0.2)


class Flickering:
    """An API server that cannot be reached a number of times, and then answers or refuses."""

    def __init__(self, failures: int, refuses: bool = False):
        self.failures, self.refuses, self.asked = failures, refuses, 0

    def ask(self) -> str:
        self.asked += 1
        if self.asked <= self.failures:
            raise Unreachable("lost")
        if self.refuses:
            raise Refused("no")
        return "answered"


def test_a_request_is_repeated_until_it_is_answered_and_each_failure_is_said() -> None:
    server, said, attempts = Flickering(3), list[str](), list[int]()
    assert repeated(server.ask, lambda: attempts.append(1), lambda: True, said.append) == "answered"
    assert (server.asked, len(attempts), said) == (4, 4, ["retrying for 0.2 s: lost"] * 3)


def test_a_refusal_is_not_repeated() -> None:
    server = Flickering(1, refuses=True)
    with pytest.raises(Refused):
        repeated(server.ask, lambda: None, lambda: True, lambda _: None)
    assert server.asked == 2


@pytest.mark.parametrize("may_go_on", [True, False])
def test_a_request_that_fails_each_time_is_given_up(may_go_on: bool) -> None:
    server = Flickering(10**6)
    with pytest.raises(Unreachable):
        repeated(server.ask, lambda: None, lambda: may_go_on, lambda _: None)
    assert (server.asked == 1) is not may_go_on
