"""Requests to an API server end in time and are repeated only where that is safe; a job without a kubeconfig is told why."""

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
from conf.remote.cluster import LONGEST_WRITE, WRITE_TIMEOUTS, BadCredentials, Cluster, Unreachable, missing_kubeconfig
from conf.rollout.lease import LEASE_SECONDS, RENEWAL_SECONDS
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
JOB = {"CI_ENVIRONMENT_NAME": "hk/cats", "CI_COMMIT_REF_NAME": "cats", "CI_COMMIT_REF_PROTECTED": "false"}


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


def test_a_job_without_a_kubeconfig_names_the_scope_that_the_variable_needs() -> None:
    words = missing_kubeconfig({**JOB, "CI_COMMIT_REF_PROTECTED": "true"})
    assert words == "this job sees no KUBECONFIG: make it a variable of type File, whose environment scope is hk/*"


def test_a_job_of_an_unprotected_branch_says_that_it_sees_no_protected_variable() -> None:
    assert missing_kubeconfig(JOB).endswith("since cats is no protected branch: protect it")


def test_a_kubeconfig_that_is_a_text_and_not_a_file_is_told_without_its_text() -> None:
    words = missing_kubeconfig({**JOB, "KUBECONFIG": "apiVersion: v1\nusers: [secret]\n"})
    assert "make its type File" in words
    assert "secret" not in words


@pytest.mark.parametrize("environ", [{}, {**JOB, "KUBECONFIG": "/builds/like/cats.tmp/KUBECONFIG"}])
def test_nothing_is_said_on_a_laptop_or_where_a_file_is_named(environ: dict[str, str]) -> None:
    assert missing_kubeconfig(environ) == ""


def test_a_cluster_that_a_job_has_no_kubeconfig_for_ends_in_the_jobs_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**JOB, "KUBECONFIG": "", "HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadCredentials, match=r"context 'hk' cannot be used: .*; this job sees no KUBECONFIG"):
        Cluster("hk")
