"""Readiness: how long a release is waited for, and the answers at the gateway. The pods themselves are tested on a cluster."""

import json
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from conf.base.object_references import Ref
from conf.remote.cluster import Cluster
from conf.rollout import readiness
from conf.rollout.diagnosis import QUOTA, Diagnosis
from conf.rollout.readiness import (
    DeploymentState,
    NotReady,
    ProgressDeadline,
    count_by_version,
    gateway_serves,
    wait_for_gateway,
    wait_ready,
)
from conf.rollout.targets import GatewayAddress
from tests.serving.http_server import http_server

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_the_deadline_moves_whenever_one_more_pod_is_ready() -> None:
    waiting = ProgressDeadline(60, 1000)
    assert [waiting.note_ready(ready, 1000 + 50 * ready) for ready in range(1, 6)] == [True] * 5
    assert not waiting.is_over(1000 + 50 * 5 + 59)
    assert waiting.is_over(1000 + 50 * 5 + 61)


def test_a_pod_that_is_ready_again_and_again_gains_no_time() -> None:
    waiting = ProgressDeadline(60, 1000)
    assert [waiting.note_ready(ready, 1010 + at) for at, ready in enumerate((1, 0, 1, 0, 1))] == [True, *[False] * 4]
    assert waiting.is_over(1071)


def test_without_any_ready_pod_the_deadline_stays() -> None:
    waiting = ProgressDeadline(60, 1000)
    assert not waiting.note_ready(0, 1050)
    assert (waiting.is_over(1060), waiting.is_over(1061)) == (False, True)


@pytest.mark.parametrize(("starting", "seconds"), [(False, 78), (True, 334)])
def test_a_spent_quota_ends_the_wait_once_no_pod_can_be_ending_and_none_starts(
    monkeypatch: pytest.MonkeyPatch, starting: bool, seconds: int
) -> None:
    now = [0.0]
    spent = Diagnosis(QUOTA, "", "the namespace's quota is spent")
    pods = ({"metadata": {"name": "new"}},) if starting else ()
    state = DeploymentState(2, 1, False, (spent,), pods, (), drain=48)
    monkeypatch.setattr(readiness, "deployment_state", lambda *_, late: state)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda passed: now.__setitem__(0, now[0] + passed))
    with pytest.raises(NotReady, match="the namespace's quota is spent"):
        wait_ready(cast(Cluster, None), Ref("Deployment", "like", "cats"), 334, lambda _: None)
    assert now[0] == pytest.approx(seconds, abs=1)


def saying(*said: dict[str, str]) -> Callable[[bytes, str], tuple[int, bytes]]:
    """Return a handler that answers each in turn, and the last for ever."""
    left = [*said]
    return lambda *_: (200, json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode())


@pytest.mark.parametrize(
    ("said", "wanted", "same"),
    [
        ({"version": "1", "digest": NEW}, ("1", NEW), True),
        ({"version": "1", "digest": OLD}, ("1", NEW), False),
        ({"version": "2", "digest": NEW}, ("1", NEW), False),
        ({"version": "1"}, ("1", NEW), True),  # an image that was built before pods knew their digests
        ({"version": "1", "digest": OLD}, ("1", ""), True),  # a release that was deployed by its tag
    ],
)
def test_the_gateway_serves_a_release_by_its_version_and_digest(
    said: dict[str, str], wanted: tuple[str, str], same: bool
) -> None:
    with http_server(saying(said)) as url:
        assert gateway_serves(GatewayAddress(url, "*"), wanted) is same


def test_an_old_pod_that_still_answers_one_request_in_ten_is_waited_out() -> None:
    old, new = {"version": "1"}, {"version": "2"}
    asked: list[dict[str, str]] = []
    turns = [*[new] * 9, old] * 3

    def answer(*_: object) -> tuple[int, bytes]:
        asked.append(turns.pop(0) if turns else new)
        return 200, json.dumps(asked[-1]).encode()

    with http_server(answer) as url:
        wait_for_gateway(GatewayAddress(url, "*"), ("2", ""), lambda _: None)
    assert asked.count(old) == 3


def test_old_content_under_the_same_tag_is_waited_out_and_told_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with http_server(saying(*[{"version": "1", "digest": OLD}] * 3, {"version": "1", "digest": NEW})) as url:
        wait_for_gateway(GatewayAddress(url, "*"), ("1", NEW), told.append)
        assert told == [f"{url} answers with version 1 ({NEW[:19]})"]
        monkeypatch.setattr(readiness, "GATEWAY_SECONDS", 0.5)
        with pytest.raises(NotReady) as raised:
            wait_for_gateway(GatewayAddress(url, "*"), ("1", OLD), told.append)
    assert f"{url} answers 1 ({NEW[:19]}) and not version 1 ({OLD[:19]})" in str(raised.value)


def pod(version: str, image: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"version": version}}, "spec": {"containers": [{"image": image}]}}


def test_pods_of_one_version_are_counted_together_unless_their_images_differ() -> None:
    one, other = pod("1", f"r/cats@{OLD}"), pod("1", f"r/cats@{NEW}")
    assert count_by_version([one, one, pod("2", "r/cats:2")]) == {"1": 2, "2": 1}
    assert count_by_version([one, other, other]) == {"1 (sha256:aaaaaaaaaaaa)": 1, "1 (sha256:bbbbbbbbbbbb)": 2}


class Restarted:
    """A cluster of two pods of a canary, of which the second one's container was restarted."""

    def find(self, *_: str) -> list[dict[str, Any]]:
        return [
            {"metadata": {"name": f"cats-canary-{number}"}, "status": {"containerStatuses": [status]}}
            for number, status in enumerate({"name": "cats-canary", "restartCount": count} for count in (0, 1))
        ]

    def logs(self, pod: Ref, container: str, lines: int, *, previous: bool = False) -> str:
        assert (pod.name, container, previous) == ("cats-canary-1", "cats-canary", True)
        return '{"level": "critical", "message": "no memory"}\nKilled'


def test_the_last_lines_of_a_container_that_ended_are_those_of_before_its_restart() -> None:
    found = readiness.dead_container_lines(Restarted(), "like", "cats-canary")  # type: ignore[arg-type]
    assert found == "critical: no memory\nKilled"


class Failing:
    """A cluster of two pods of a canary that log failed requests, beside answers."""

    def find(self, *_: str) -> list[dict[str, Any]]:
        return [{"metadata": {"name": f"cats-canary-{number}"}} for number in (0, 1)]

    def logs(self, pod: Ref, container: str, lines: int, *, previous: bool = False) -> str:
        assert (container, previous) == ("cats", False)
        failed = '{"level": "error", "message": "POST", "traceback": "Traceback:\\nKeyError: 7"}'
        return f'{failed}\n{{"level": "info", "message": "POST"}}\n{failed}'


def test_the_errors_of_a_canary_are_told_from_the_logs_of_all_its_pods() -> None:
    found = readiness.logged_errors(Failing(), "like", "cats-canary", "cats")  # type: ignore[arg-type]
    assert found == "4 times: KeyError: 7"
