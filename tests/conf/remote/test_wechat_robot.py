"""The protocol of a robot: what it takes, and how it refuses."""

import pytest

from conf.remote.wechat_robot import MAX_TEXT_BYTES, refusal, shortened


def test_only_errcode_0_says_that_a_robot_took_a_message() -> None:
    assert refusal(b'{"errcode": 0, "errmsg": "ok"}', robot=True) == ""
    assert refusal(b'{"errcode": 45009, "errmsg": "api freq out of limit"}', robot=True) == "errcode 45009"


@pytest.mark.parametrize(
    "answered", [b"", b"ok", b"{}", b"[]", b"null", b'"errcode"', b"\xff", b"[" * 100_000, b'{"errcode"', b'{"errcode": NaN'],
)  # fmt: skip
def test_an_answer_without_errcode_is_a_robots_refusal_and_another_webhooks_consent(answered: bytes) -> None:
    assert refusal(answered, robot=True) == "an answer without errcode"
    assert refusal(answered, robot=False) == ""


@pytest.mark.parametrize("code", ["false", "null", '"0"', "1e400", "[]", '"' + "x" * 1000 + '"'])
def test_an_errcode_of_another_kind_is_a_refusal_in_few_words(code: str) -> None:
    for robot in (True, False):
        assert 0 < len(refusal(f'{{"errcode": {code}}}'.encode(), robot)) < 40


@pytest.mark.parametrize("letter", ["a", "é", "猫", "🐈", "\ud800"])
def test_a_text_is_shortened_to_bytes_and_stays_text(letter: str) -> None:
    found = shortened(letter * MAX_TEXT_BYTES, MAX_TEXT_BYTES)
    assert MAX_TEXT_BYTES - 4 <= len(found.encode()) <= MAX_TEXT_BYTES
    assert found.strip(letter.encode(errors="replace").decode()) in ("…", "")
    assert shortened("猫", 3) == "猫"
