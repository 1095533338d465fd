"""How long a question to an API server takes at most, and how often it is sent: by one that hears all and answers as told."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.base.object_references import Item, Ref
from conf.remote import cluster
from conf.remote.cluster import CHANGED, LONGEST, Cluster, Unreachable
from conf.rollout.lease import LEASE_SECONDS, RENEWAL_SECONDS
from tests.serving.answering import answering

THERE = Ref("ConfigMap", "like", "cats", "u")
REMOVED = "unable to retrieve container logs for containerd://30a642757d16185ed2703353daa28ebab3b26ab6150c69b155987ec8262341b2"
ITEM: Item = {"kind": "ConfigMap", "metadata": {"name": "cats", "namespace": "like"}}
CHANGES: list[Callable[[Cluster], object]] = [
    lambda asked: asked.apply(ITEM),
    lambda asked: asked.create(ITEM),
    lambda asked: asked.replace(ITEM),
    lambda asked: asked.delete(THERE),
]


def use_kubeconfig(monkeypatch: pytest.MonkeyPatch, file: Path, context: str, url: str) -> None:
    """Write a kubeconfig that names an API server of this machine, and have it used."""
    config = {
        "clusters": [{"name": context, "cluster": {"server": url}}],
        "users": [{"name": "ann", "user": {}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": "ann"}}],
        "current-context": context,
    }
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What a silent API server hears, which the kubeconfig names."""
    found: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "silent", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread = threading.Thread(target=_hear, args=(listener, found))
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _hear(listener: socket.socket, found: list[bytes]) -> None:
    with contextlib.ExitStack() as kept, contextlib.suppress(OSError):  # of the listener that is shut down
        while True:
            wire, _ = listener.accept()
            found.append(kept.enter_context(wire).recv(65536))


@pytest.mark.parametrize("change", CHANGES, ids=["apply", "create", "replace", "delete"])
def test_a_change_that_is_not_answered_is_sent_once_and_given_up(
    heard: list[bytes], monkeypatch: pytest.MonkeyPatch, change: Callable[[Cluster], object]
) -> None:
    monkeypatch.setattr(cluster, "CHANGED", (0.5, 0.5))
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="cluster silent does not answer"):
        change(Cluster("silent"))
    assert time.monotonic() - begin < 5
    assert len(heard) == 1


def test_a_question_that_is_not_answered_is_sent_twice(heard: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ASKED", (0.5, 0.5))
    with pytest.raises(Unreachable):
        Cluster("silent").get(THERE)
    assert len(heard) == 2


def test_a_change_is_over_before_a_lease_that_was_renewed_in_time() -> None:
    assert sum(CHANGED) < LONGEST < LEASE_SECONDS - RENEWAL_SECONDS


@pytest.mark.parametrize(
    ("answers", "text"),
    [(["wrong: no model"], "wrong: no model"), ([REMOVED, "wrong: no model"], "wrong: no model"), ([REMOVED] * 3, "")],
    ids=["as it is", "once the next is known", "never"],
)
def test_that_a_container_was_removed_is_not_taken_for_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[str], text: str
) -> None:
    with answering(lambda *_: (200, answers.pop(0).encode())) as url:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "told", url)
        assert Cluster("told").logs(Ref("Pod", "like", "cats-1"), "cats", 20, previous=True) == text
    assert answers == []
