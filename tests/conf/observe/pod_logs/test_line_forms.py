"""Lines of pods for people and for programs: any bytes are shown, and none reaches a terminal as a command."""

import json

import pytest

from conf.observe.pod_logs.line_forms import Line, for_people, for_programs, lines_of

STAMP = "2026-11-22T16:22:05.123456789Z"


def line(text: str, stamp: str = STAMP) -> Line:
    return Line("hk", "cats-1", stamp, text)


def event(**fields: object) -> str:
    return json.dumps({"time": "2026-11-22T16:22:04.500Z", "level": "info", "message": "ready", **fields})


def test_an_event_is_its_time_region_pod_level_and_message() -> None:
    assert for_people(line(event())) == "2026-11-22T16:22:04.500Z hk cats-1 info     ready"


def test_the_line_of_a_request_has_its_code_and_duration() -> None:
    assert for_people(line(event(code=200, milliseconds=1.5))).endswith("ready 200 1.5 ms")


def test_a_text_has_the_kubelets_time() -> None:
    assert for_people(line("plain")) == "2026-11-22T16:22:05.123Z hk cats-1 text     plain"
    assert json.loads(for_programs(line("plain"))) == {
        "time": STAMP,
        "level": "text",
        "message": "plain",
        "region": "hk",
        "pod": "cats-1",
    }


def test_a_node_in_another_time_zone_is_shown_in_utc() -> None:
    assert for_people(line("plain", "2026-11-23T00:22:05.123456789+08:00")).startswith("2026-11-22T16:22:05.123Z ")


def test_a_traceback_follows_on_lines_of_its_own() -> None:
    shown = for_people(line(event(traceback="Traceback:\n  File x\nValueError")))
    assert shown.splitlines()[1:] == ["    Traceback:", "      File x", "    ValueError"]


@pytest.mark.parametrize("rubbish", ["".join(map(chr, range(256))), "\x1b[2J\x1b]0;title\x07", "\u202e\u2028\ud800", "\r\b"])
def test_no_character_that_moves_the_cursor_is_printed(rubbish: str) -> None:
    for text in (rubbish, event(message=rubbish), event(traceback=rubbish, level=rubbish, code=rubbish)):
        shown = for_people(line(text)).split("\n")
        assert all(each.isprintable() for each in shown)
        "\n".join(shown).encode()
        assert for_programs(line(text)).isascii()
        assert for_programs(line(text)).isprintable()


@pytest.mark.parametrize("text", ["{", "[1]", "{}x", "{" * 100_000, '{"a":' * 50_000, "", '"x"'])
def test_what_only_looks_like_json_is_a_text(text: str) -> None:
    assert json.loads(for_programs(line(text)))["message"] == text


NO_TIMES = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]  # in UTC their years are 0 and 10000


@pytest.mark.parametrize("time", [None, 1, "now", {"a": 1}, "2026-11-22T16:22:04", *NO_TIMES])
def test_an_odd_time_is_the_kubelets(time: object) -> None:
    assert for_people(line(event(time=time))).startswith("2026-11-22T16:22:05.123Z ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_know_is_a_string_for_programs(number: str) -> None:
    shown = for_programs(line(f'{{"message":"odd","loss":[{number},0.5]}}'))

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    assert json.loads(shown, parse_constant=refuse)["loss"] == [number, 0.5]


def test_an_answer_is_cut_into_lines_and_words_of_the_kubelet_are_left_out() -> None:
    answer = f"{STAMP} one\n{STAMP} \n{STAMP} two words\rx\nunable to retrieve container logs for containerd://x"
    assert [each.text for each in lines_of("hk", "cats-1", answer)] == ["one", "", "two words\rx"]
