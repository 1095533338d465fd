"""Warnings of an API server: read off the header, passed on once each, shown by the commands that apply."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conf.base.object_references import Ref
from conf.remote.cluster import Cluster, warning_texts

DEPRECATED = "policy/v1beta1 PodDisruptionBudget is deprecated in v1.21+"
QUOTED = 'unknown field "spec.cpu", and a \\'


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers any question with an object, and the headers as Kubernetes writes them."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Warning", f'299 - "{DEPRECATED}"')
        self.send_header("Warning", '299 - "unknown field \\"spec.cpu\\", and a \\\\"')
        self.end_headers()
        self.wfile.write(b'{"kind": "Service"}')

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A context whose API server warns of everything."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    named: dict[str, Any] = {
        "contexts": [{"name": "hk", "context": {"cluster": "it", "user": "who"}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "who", "user": {"token": "any"}}],
    }
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "hk", **named}))
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.setenv("NO_PROXY", "*")
    yield "hk"
    server.shutdown()
    thread.join()
    server.server_close()


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
