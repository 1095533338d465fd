"""Messages about deploys over real sockets: delivered in the right form, and never in a deploy's way."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from conf.notices import LONGEST, ROBOT, TIMEOUT, WEBHOOK, tell


class Hook(http.server.ThreadingHTTPServer):
    """Keeps what it was sent, and answers as it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[Any] = []
        self.answer: tuple[int, bytes] = (200, b'{"errcode": 0}')
        self.url = f"http://127.0.0.1:{self.server_port}/send?key=hidden"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def told(environment: dict[str, str], text: str = "cats 4f7cb14 serves in hk") -> list[str]:
    warnings: list[str] = []
    tell(text, {"event": "deployed", "service": "cats"}, environment, warnings.append)
    return warnings


def test_a_robot_of_wechat_work_gets_markdown(hook: Hook) -> None:
    assert told({ROBOT: hook.url}) == []
    assert hook.heard == [{"msgtype": "markdown", "markdown": {"content": "cats 4f7cb14 serves in hk"}}]


def test_any_webhook_gets_the_text_and_the_facts(hook: Hook) -> None:
    assert told({WEBHOOK: hook.url}) == []
    assert hook.heard == [{"text": "cats 4f7cb14 serves in hk", "event": "deployed", "service": "cats"}]


def test_without_an_address_nothing_is_sent() -> None:
    assert told({}) == []
    assert told({ROBOT: "", WEBHOOK: ""}) == []


def test_a_long_message_is_cut_to_what_the_robot_takes_and_stays_text(hook: Hook) -> None:
    assert told({ROBOT: hook.url}, "猫" * 3000) == []
    content = hook.heard[0]["markdown"]["content"]
    assert len(content.encode()) <= LONGEST + 3
    assert set(content) == {"猫", "…"}


@pytest.mark.parametrize(
    ("answer", "words"), [((500, b""), "status 500"), ((200, b'{"errcode": 93000, "errmsg": "invalid key"}'), "errcode 93000")]
)
def test_a_refused_message_is_a_warning_that_keeps_the_address_secret(
    hook: Hook, answer: tuple[int, bytes], words: str
) -> None:
    hook.answer = answer
    warning = "".join(told({ROBOT: hook.url}))
    assert words in warning
    assert ROBOT in warning
    assert "hidden" not in warning


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/hidden", "hidden", "file:///hidden", "http://[hidden"])
def test_an_address_that_cannot_be_reached_is_a_warning(url: str) -> None:
    began = time.monotonic()
    warning = "".join(told({WEBHOOK: url}))
    assert "was not delivered" in warning
    assert "hidden" not in warning
    assert time.monotonic() - began < TIMEOUT + 1
