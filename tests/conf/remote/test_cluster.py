"""Requests to an API server end in time and are repeated only where that is safe."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.base.object_references import Item, Ref
from conf.remote import cluster
from conf.remote.cluster import LONGEST_WRITE, WRITE_TIMEOUTS, Cluster, Unreachable
from conf.rollout.lease import LEASE_SECONDS, RENEWAL_SECONDS
from tests.conf.kubeconfigs import use_kubeconfig
from tests.serving.http_server import http_server

THERE = Ref("ConfigMap", "like", "cats", "u")
REMOVED = "unable to retrieve container logs for containerd://30a642757d16185ed2703353daa28ebab3b26ab6150c69b155987ec8262341b2"
ITEM: Item = {"kind": "ConfigMap", "metadata": {"name": "cats", "namespace": "like"}}
CHANGES: list[Callable[[Cluster], object]] = [
    lambda asked: asked.apply(ITEM),
    lambda asked: asked.create(ITEM),
    lambda asked: asked.replace(ITEM),
    lambda asked: asked.delete(THERE),
]


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The requests to an API server that never answers, which the kubeconfig names."""
    found: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "silent", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_hear, args=(listener, found))
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hear(listener: socket.socket, found: list[bytes]) -> None:
    with contextlib.ExitStack() as kept, contextlib.suppress(OSError):  # the listener is shut down
        while True:
            wire, _ = listener.accept()
            found.append(kept.enter_context(wire).recv(65536))


@pytest.mark.parametrize("change", CHANGES, ids=["apply", "create", "replace", "delete"])
def test_a_write_that_is_not_answered_is_sent_once_and_given_up(
    heard: list[bytes], monkeypatch: pytest.MonkeyPatch, change: Callable[[Cluster], object]
) -> None:
    monkeypatch.setattr(cluster, "WRITE_TIMEOUTS", (0.5, 0.5))
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="cluster silent does not answer"):
        change(Cluster("silent"))
    assert time.monotonic() - begin < 5
    assert len(heard) == 1


def test_a_read_that_is_not_answered_is_sent_twice(heard: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "READ_TIMEOUTS", (0.5, 0.5))
    with pytest.raises(Unreachable):
        Cluster("silent").get(THERE)
    assert len(heard) == 2


def test_a_write_is_over_before_a_lease_that_was_renewed_in_time() -> None:
    assert sum(WRITE_TIMEOUTS) < LONGEST_WRITE < LEASE_SECONDS - RENEWAL_SECONDS


@pytest.mark.parametrize(
    ("answers", "text"),
    [(["wrong: no model"], "wrong: no model"), ([REMOVED, "wrong: no model"], "wrong: no model"), ([REMOVED] * 3, "")],
    ids=["as it is", "once the next is known", "never"],
)
def test_the_answer_for_a_removed_container_is_not_taken_for_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], text: str
) -> None:
    with http_server(lambda *_: (200, answers.pop(0).encode())) as url:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "told", url)
        assert Cluster("told").logs(Ref("Pod", "like", "cats-1"), "cats", 20, previous=True) == text
    assert answers == []
