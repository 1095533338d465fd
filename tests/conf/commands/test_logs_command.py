"""`monopod logs`: how far back it reads."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

import monopod
from conf.base.object_references import Ref
from conf.commands import logs_command
from conf.observe import pod_logs
from conf.observe.pod_logs import lines_of, once
from tests.conf import golden

STAMP = "2026-11-20T10:00:00.000000000Z"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The starts of the lines that the API server of the only region is asked for. Its only pod died days ago."""
    starts: list[str] = []

    class Cluster:
        def find(self, *words: str) -> list[dict[str, Any]]:
            return [{"metadata": {"name": "cats-1"}, "status": {}}]

        def timed_lines(self, pod: Ref, container: str, since: str, most: int, *, previous: bool) -> str:
            starts.append(since)
            return f"{STAMP} the death\n" if since < STAMP else ""

    watched = SimpleNamespace(region=golden.regions().regions["hk"], track="prod", namespace="like", service="cats")
    monkeypatch.setattr(logs_command, "observed_tracks", lambda arguments: [watched])
    monkeypatch.setattr(pod_logs, "Cluster", lambda context: Cluster())
    return starts


def test_previous_reads_all_that_the_node_keeps_of_the_container(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert monopod.main(["logs", "--previous"]) == 0
    assert asked == [""]
    assert capsys.readouterr().out == "2026-11-20T10:00:00.000Z hk cats-1 text     the death\n"


def test_previous_with_a_time_and_all_else_reads_since_then(asked: list[str]) -> None:
    assert monopod.main(["logs"]) == 0
    assert monopod.main(["logs", "--previous", "--since", "1d"]) == 0
    assert [len(each) for each in asked] == [len("2026-11-20T10:00:00+00:00")] * 2
    assert asked[1] < asked[0]


def test_following_begins_now_unless_a_time_is_given(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_command, "follow", once)  # which ends
    began = datetime.now(UTC).isoformat(timespec="seconds")
    assert monopod.main(["logs", "--follow"]) == 0
    assert monopod.main(["logs", "--follow", "--since", "5m"]) == 0
    assert asked[1] < began <= asked[0]


def test_a_time_before_all_calendars_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        monopod.main(["logs", "--since", "999999d"])
    assert "'999999d' is too long ago" in capsys.readouterr().err


WRITTEN = "\n".join(
    f"2026-11-20T10:00:0{second}.000000000Z {text}"
    for second, text in enumerate(
        (
            '{"level": "info", "message": "POST /cats", "code": 200}',
            '{"level": "warning", "message": "slow"}',
            "a text",
            '{"level": "error", "message": "failed", "code": 500}',
            '{"level": "info", "message": "POST /cats", "code": 429}',
        )
    )
)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), ["POST /cats 200", "slow", "a text", "failed 500", "POST /cats 429"]),
        (("--level", "warning"), ["slow", "failed 500"]),
        (("--grep", r"cats [45]\d\d|text"), ["a text", "POST /cats 429"]),
        (("--tail", "2"), ["failed 500", "POST /cats 429"]),
        (("--tail", "1", "--level", "info", "--grep", "200|slow"), ["slow"]),
        (("--tail", "9", "--grep", "nothing like it"), []),
    ],
)
def test_lines_are_chosen_by_their_level_by_an_expression_and_from_the_end(
    words: tuple[str, ...],
    shown: list[str],
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pod_logs, "lines_of", lambda region, pod, text: lines_of(region, pod, WRITTEN))
    assert monopod.main(["logs", "--previous", *words]) == 0
    assert [line[44:] for line in capsys.readouterr().out.splitlines()] == shown


def test_an_expression_that_cannot_be_read_and_the_end_of_what_has_none_are_refused(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        monopod.main(["logs", "--grep", "("])
    assert "'(' is not a regular expression: missing )" in capsys.readouterr().err
    assert monopod.main(["logs", "--follow", "--tail", "5"]) == 2
    assert "--follow has none" in capsys.readouterr().err
