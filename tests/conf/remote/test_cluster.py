"""An API server's answers, refusals and warnings, and a job without a kubeconfig."""

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.base.object_references import Item, Ref
from conf.remote import cluster
from conf.remote.cluster import (
    MAX_WRITE_SECONDS,
    WRITE_TIMEOUTS,
    BadCredentials,
    Cluster,
    ClusterError,
    NoNamespace,
    NoRights,
    Refused,
    Unreachable,
    kubectl,
    missing_kubeconfig,
    refusal,
    warning_texts,
)
from conf.rollout.lease import LEASE_SECONDS, RENEWAL_SECONDS
from tests.conf.kubeconfigs import use_kubeconfig
from tests.conf.local_servers import LocalServer, QuietHandler, running_server
from tests.running import ROOT
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
    assert sum(WRITE_TIMEOUTS) < MAX_WRITE_SECONDS < LEASE_SECONDS - RENEWAL_SECONDS


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


def body(message: str, reason: str = "", **details: str) -> str:
    return json.dumps({"kind": "Status", "message": message, "reason": reason, "details": details})


NO_RIGHT = 'leases.coordination.k8s.io is forbidden: User "ann" cannot create resource "leases" in API group "x"'
ANONYMOUS = 'namespaces is forbidden: User "system:anonymous" cannot list resource "namespaces"'
ENDING = 'leases "x" is forbidden: unable to create new content in namespace like because it is being terminated'
QUOTA = 'pods "cats" is forbidden: exceeded quota: team, requested: cpu=2, used: cpu=3, limited: cpu=4'
POLICY = 'admission webhook "policy.example.com" denied the request: no'


@pytest.mark.parametrize(
    ("status", "text", "kind", "told"),
    [
        (0, "", Unreachable, "is the network up"),
        (401, body("Unauthorized"), BadCredentials, "expired or withdrawn"),
        (403, body(ANONYMOUS), BadCredentials, "does not know these credentials"),
        (403, body(NO_RIGHT), NoRights, "ask who runs it for this right"),
        (403, body(ENDING), NoNamespace, "wait until it is gone"),
        (403, body(QUOTA), Refused, "exceeded quota"),
        (403, body(POLICY), Refused, "denied the request"),
        (
            404,
            body('namespaces "like" not found', "NotFound", kind="namespaces", name="like"),
            NoNamespace,
            "kubectl --context hk create namespace like",
        ),
        (404, "404 page not found\n", Refused, "does not know this type of object"),
        (409, body("the object has been modified", "Conflict"), Refused, "modified"),
        (422, body('Deployment "cats" is invalid: spec.selector: field is immutable', "Invalid"), Refused, "immutable"),
        (429, body("too many requests"), Unreachable, "cannot answer \\(429\\)"),
        (500, body('failed calling webhook "x": timeout', "InternalError"), Refused, "failed calling webhook"),
        (500, body("etcdserver: leader changed"), Unreachable, "leader changed"),
        (503, "<html>no healthy upstream</html>", Unreachable, "run it again in a moment"),
        (400, "[1]", Refused, "does not accept it"),
    ],
)
def test_a_refusal_is_told_apart_in_words(status: int, text: str, kind: type[ClusterError], told: str) -> None:
    error = refusal("hk", "PATCH", "/apis/x/v1/namespaces/like/things/cats", status, text)
    assert type(error) is kind
    assert error.status == status
    with pytest.raises(kind, match=told):
        raise error


def test_a_command_to_type_goes_to_the_cluster_that_is_meant_whatever_its_context_is_called() -> None:
    assert kubectl("hk", "get pods") == "kubectl --context hk get pods"
    assert kubectl("ann's cluster", "get pods").split(" get ")[0] == """kubectl --context 'ann'"'"'s cluster'"""
    files = sorted((ROOT / "conf").rglob("*.py"))
    assert [file.name for file in files if re.search(r"kubectl (?!--context)[a-z-]", file.read_text())] == []


@pytest.mark.parametrize("text", ["", "no kubeconfig", "- a\n- b", "apiVersion: v1\nkind: Config\n"])
def test_a_file_that_is_no_kubeconfig_is_told_in_a_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("home") / "config"
    file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(file))
        with pytest.raises(BadCredentials, match="'hk' cannot be used.*set KUBECONFIG"):
            Cluster("hk")


DEPRECATED = "policy/v1beta1 PodDisruptionBudget is deprecated in v1.21+"
QUOTED = 'unknown field "spec.cpu", and a \\'


class Handler(QuietHandler):
    """Answers any question with an object, and the headers as Kubernetes writes them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Warning", f'299 - "{DEPRECATED}"')
        self.send_header("Warning", '299 - "unknown field \\"spec.cpu\\", and a \\\\"')
        self.end_headers()
        self.wfile.write(b'{"kind": "Service"}')


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A context whose API server warns of everything."""
    with running_server(LocalServer(Handler)) as server:
        use_kubeconfig(monkeypatch, tmp_path / "kubeconfig", "hk", f"http://127.0.0.1:{server.server_port}")
        yield "hk"


def test_each_warning_is_passed_on_once_however_often_it_is_sent(context: str) -> None:
    heard: list[str] = []
    cluster = Cluster(context, heard.append)
    asked = [threading.Thread(target=cluster.get, args=(Ref("Service", "like", "cats"),)) for _ in range(5)]
    for each in asked:
        each.start()
    for each in asked:
        each.join()
    assert sorted(heard) == sorted([DEPRECATED, QUOTED])


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([], []),
        (['299 - "one"', '299 - "two"'], ["one", "two"]),
        (['299 - "one", 299 host:80 "two" "Sat, 25 Aug 2012 23:34:45 GMT"'], ["one", "two"]),
        (['299 - ""'], [""]),
        (["nothing", '299 "no agent"', '299 - "not ended'], []),
    ],
)
def test_texts_are_read_off_any_form_that_the_header_may_have(headers: list[str], told: list[str]) -> None:
    assert warning_texts(headers) == told


JOB = {"CI_ENVIRONMENT_NAME": "hk/cats", "CI_COMMIT_REF_NAME": "cats", "CI_COMMIT_REF_PROTECTED": "false"}


@pytest.mark.parametrize(
    ("protected", "end"), [("true", "whose environment scope is hk/*"), ("false", "cats is not protected: protect it")]
)
def test_a_job_without_a_kubeconfig_names_the_scope_or_the_protection_that_it_lacks(protected: str, end: str) -> None:
    assert missing_kubeconfig({**JOB, "CI_COMMIT_REF_PROTECTED": protected}).endswith(end)


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
    with pytest.raises(BadCredentials, match=r"'hk' .*; this job sees no KUBECONFIG"):
        Cluster("hk")
