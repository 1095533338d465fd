"""Messages about deploys, over real sockets: each is delivered in the right form, and a failure is only a warning."""

import time
from collections.abc import Iterator

import pytest

from conf.remote.notices import ROBOT, TIMEOUT, WEBHOOK, send
from conf.remote.wechat_robot import MAX_TEXT_BYTES
from tests.conf.webhook import Webhook, running_webhook


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as server:
        yield server


def told(environment: dict[str, str], text: str = "cats 4f7cb14 serves in hk", seconds: float = TIMEOUT) -> list[str]:
    warnings: list[str] = []
    send(text, {"event": "deployed", "service": "cats"}, environment, warnings.append, seconds)
    return warnings


def test_a_robot_of_wechat_work_gets_markdown(webhook: Webhook) -> None:
    assert told({ROBOT: webhook.url}) == []
    assert webhook.received == [{"msgtype": "markdown", "markdown": {"content": "cats 4f7cb14 serves in hk"}}]


def test_any_webhook_gets_the_text_and_the_facts(webhook: Webhook) -> None:
    assert told({WEBHOOK: webhook.url}) == []
    assert webhook.received == [{"text": "cats 4f7cb14 serves in hk", "event": "deployed", "service": "cats"}]


def test_without_an_address_nothing_is_sent() -> None:
    assert told({}) == []
    assert told({ROBOT: "", WEBHOOK: ""}) == []


def test_a_long_message_is_cut_to_what_the_robot_takes_and_stays_text(webhook: Webhook) -> None:
    assert told({ROBOT: webhook.url}, "猫" * 3000) == []
    content = webhook.received[0]["markdown"]["content"]
    assert MAX_TEXT_BYTES - 3 < len(content.encode()) <= MAX_TEXT_BYTES
    assert set(content) == {"猫", "…"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((500, b""), "status 500"),
        ((200, b'{"errcode": 93000, "errmsg": "invalid key"}'), "errcode 93000"),
        ((200, b"<html>"), "an answer without errcode"),
    ],
)
def test_a_refused_message_is_a_warning_that_keeps_the_address_secret(
    webhook: Webhook, answer: tuple[int, bytes], words: str
) -> None:
    webhook.answer = answer
    warning = "".join(told({ROBOT: webhook.url}))
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


def test_each_address_gets_the_message_even_if_the_other_fails(webhook: Webhook) -> None:
    warnings = told({ROBOT: "http://127.0.0.1:1/hidden", WEBHOOK: f" {webhook.url}\n"})
    assert [each["text"] for each in webhook.received] == ["cats 4f7cb14 serves in hk"]
    assert [each.partition(" was ")[0] for each in warnings] == [f"the message to {ROBOT}"]
    assert "(ConnectionRefusedError)" in warnings[0]


@pytest.mark.parametrize("both", [False, True])
def test_an_answer_that_comes_byte_by_byte_is_given_up_when_the_time_is_over(webhook: Webhook, both: bool) -> None:
    webhook.slow = True
    began = time.monotonic()
    warnings = told({ROBOT: webhook.url, **({WEBHOOK: webhook.url} if both else {})}, seconds=0.5)
    assert time.monotonic() - began < 5  # the answer has no end
    assert len(warnings) == 1 + both
    assert all("was not delivered (no answer in 0.5 s)" in each for each in warnings)
    assert len(webhook.received) == 1 + both


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_counts_as_not_delivered(webhook: Webhook, status: int) -> None:
    webhook.answer, webhook.headers = (status, b""), {"Location": webhook.url}
    warning = "".join(told({WEBHOOK: webhook.url}))
    assert f"status {status}" in warning
    assert "hidden" not in warning
    assert len(webhook.received) == 1
