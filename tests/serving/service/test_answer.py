"""An answer that a service's own code makes is one that HTTP can send, and its mistakes are named where they are made."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.service.service import Answer
from tests.running import make_service, running
from tests.serving.echo_service import PING, PONG, Client

SERVER = """
from serving.api import Answer, Request, Service

class Bad(Service):
    def handle(self, request: Request) -> Answer:
        return Answer(*eval(request.value("answer", str)))
"""
WRONG = {  # as a service's code writes the arguments
    "text": '("PNG", "image/png")',
    "a view, whose length need not be bytes": '(memoryview(b"PNG"), "image/png")',
    "no content type": '(b"PNG", None)',
    "a header of its own": '(b"PNG", "image/png\\r\\nSet-Cookie: a=b")',
    "a body of its own": '(b"PNG", "image/png\\r\\n\\r\\n<script>")',
    "not Latin-1": '(b"PNG", "image/€")',
    "an interim status": '(b"PNG", "image/png", 100)',
    "no status": '(b"PNG", "image/png", 7)',
    "a status of five digits": '(b"PNG", "image/png", 99999)',
    "a status in words": '(b"PNG", "image/png", "200")',
    "a status that is True": '(b"PNG", "image/png", True)',
}


@pytest.mark.parametrize("arguments", WRONG.values(), ids=WRONG)
def test_what_http_cannot_send_is_refused_with_its_value(arguments: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^Answer: the (body|content type|status) is .*must be "):
        Answer(*eval(arguments))


def test_what_http_can_send_is_taken() -> None:
    assert Answer(b"", "text/plain; charset=utf-8").status == 200
    array: Any = bytearray(b"PNG")
    assert Answer(array, "image/png", 404).body == b"PNG"


def test_wrong_answers_are_a_500_each_and_the_connection_and_the_metrics_stay_good(tmp_path: Path) -> None:
    with running(make_service(tmp_path / "small", "", SERVER)) as service, Client(service.port) as client:
        for arguments in WRONG.values():
            body = json.dumps({"answer": arguments}).encode()
            fields = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            client.send(b"POST /api/small HTTP/1.1\r\n" + fields.encode() + body)
            found = client.answer()
            assert found is not None
            assert (found.status, found.headers["content-type"]) == (500, "application/json"), found
        client.send(PING)
        pong = client.answer()
        assert pong is not None
        assert pong.body == PONG
        counted = 'monopod_requests_total{code="500",reason="service_failed",route="service"}'
        assert service.metric(counted) == len(WRONG)
