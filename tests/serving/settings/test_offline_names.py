"""grey and ab have a group, topics and tables of their own, and a laptop uses the names of prod."""

import pytest

from serving.settings.offline_names import dead_topic_of, group_of, sink_of, sinks_of, topic_of

PLAIN = ("prod", "")


@pytest.mark.parametrize("track", PLAIN)
def test_prod_and_a_laptop_use_the_names_of_the_file(track: str) -> None:
    assert group_of("like-age", "like", "age", track) == "like-age"
    assert sinks_of(("kafka:like-ages", "postgresql:ages", "stdout"), track) == ("kafka:like-ages", "postgresql:ages", "stdout")


def test_a_group_that_is_not_named_is_of_the_user_and_the_service() -> None:
    assert group_of("", "like", "age", "prod") == "like-age"
    assert group_of("", "like", "age", "grey") == "like-age-grey"


@pytest.mark.parametrize(
    ("sink", "grey", "ab"),
    [
        ("kafka:like-ages", "kafka:like-ages-grey", "kafka:like-ages-ab"),
        ("postgresql:ages", "postgresql:ages_grey", "postgresql:ages_ab"),
        ("postgresql:jobs.ages", "postgresql:jobs.ages_grey", "postgresql:jobs.ages_ab"),
        ("stdout", "stdout", "stdout"),
    ],
)
def test_a_sink_of_another_track_is_another_topic_or_table(sink: str, grey: str, ab: str) -> None:
    assert (sink_of(sink, "grey"), sink_of(sink, "ab")) == (grey, ab)


def test_each_track_has_a_topic_of_dead_letters() -> None:
    topic = topic_of("kafka:like-videos")
    names = {dead_topic_of(topic, group_of("like-age", "like", "age", track)) for track in ("prod", "grey", "ab")}
    assert names == {"like-videos-like-age-dead", "like-videos-like-age-grey-dead", "like-videos-like-age-ab-dead"}


def test_what_names_no_topic_has_none() -> None:
    assert [topic_of(name) for name in ("postgresql:ages", "stdout", "")] == ["", "", ""]
