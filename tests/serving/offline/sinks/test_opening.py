"""Names of sinks become sinks, with the track's suffix and what the environment says."""

from dataclasses import replace

import pytest

from serving.base.errors import StartError
from serving.offline.sinks.opening import open_sinks
from serving.settings import Settings

ENVIRON = {"KAFKA_BROKERS": "kafka-1.example:9092", "POSTGRESQL_URL": "postgresql://a:secret@db.example/likes"}
SETTINGS = Settings(
    service_name="demo",
    username="like",
    offline_source="kafka:videos",
    offline_sinks=("kafka:ages", "postgresql:likes.ages", "stdout"),
)


@pytest.mark.parametrize(
    ("track", "names"),
    [
        ("", ["kafka:ages", "postgresql:likes.ages", "stdout"]),
        ("prod", ["kafka:ages", "postgresql:likes.ages", "stdout"]),
        ("grey", ["kafka:ages-grey", "postgresql:likes.ages_grey", "stdout"]),
        ("ab", ["kafka:ages-ab", "postgresql:likes.ages_ab", "stdout"]),
    ],
)
def test_a_tracks_sinks_are_those_of_value_py_with_its_suffix(track: str, names: list[str]) -> None:
    sinks = open_sinks(SETTINGS, {**ENVIRON, "MONOPOD_TRACK": track})
    assert [sink.name for sink in sinks] == names


def test_a_command_names_other_sinks_and_each_once() -> None:
    names = ["stdout", "file:out/answers.jsonl", "stdout", "postgresql:b"]
    sinks = open_sinks(SETTINGS, {**ENVIRON, "MONOPOD_TRACK": "grey"}, names)
    assert {sink.name for sink in sinks} == {"stdout", "file:out/answers.jsonl", "postgresql:b_grey"}


@pytest.mark.parametrize("name", ["", "ages", "kafka:", "postgresql:", "file:", "mysql:ages", "stdout:"])
def test_what_names_no_sink_is_told_with_the_kinds(name: str) -> None:
    with pytest.raises(StartError, match='sinks are "kafka:<topic>"'):
        open_sinks(SETTINGS, ENVIRON, [name])


def test_no_sink_at_all_is_a_mistake() -> None:
    with pytest.raises(StartError, match="name one by offline_sinks in value.py, or by --to"):
        open_sinks(replace(SETTINGS, offline_sinks=()), ENVIRON)


def test_the_source_is_no_sink() -> None:
    with pytest.raises(StartError, match="kafka:videos is the source"):
        open_sinks(SETTINGS, ENVIRON, ["kafka:videos"])


@pytest.mark.parametrize("variable", ENVIRON)
def test_a_variable_that_a_sink_needs_is_named(variable: str) -> None:
    with pytest.raises(StartError, match=f"{variable} is not set"):
        open_sinks(SETTINGS, {**ENVIRON, variable: ""})
    assert len(open_sinks(SETTINGS, {}, ["stdout"])) == 1
