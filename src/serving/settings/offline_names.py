"""The names that a track uses in Kafka and in databases, so that grey and ab never touch what prod reads and writes."""

from collections.abc import Sequence

SUFFIXED = ("grey", "ab")  # the tracks beside prod; on a laptop there is no track, and the names are prod's
MAX_TOPIC = 249  # characters of a topic's name: Kafka's bound
DEAD = "-dead"


def group_of(group: str, username: str, service_name: str, track: str) -> str:
    """Return a track's consumer group. group: offline_group of value.py; "" stands for <username>-<service_name>."""
    return (group or f"{username}-{service_name}") + suffix_of(track, "-")


def sink_of(sink: str, track: str) -> str:
    """Return a track's sink. sink: of offline_sinks, such as "postgresql:ages". grey writes to "postgresql:ages_grey"."""
    kind, colon, name = sink.partition(":")
    return f"{kind}{colon}{name}" + (suffix_of(track, "_" if kind == "postgresql" else "-") if name else "")


def sinks_of(sinks: Sequence[str], track: str) -> tuple[str, ...]:
    """Return a track's sinks, in the order of offline_sinks."""
    return tuple(sink_of(sink, track) for sink in sinks)


def topic_of(name: str) -> str:
    """Return the topic of a source or of a sink as value.py writes it, "" where it names no topic."""
    kind, _, topic = name.partition(":")
    return topic if kind == "kafka" else ""


def dead_topic_of(topic: str, group: str) -> str:
    """Return the topic of dead letters. group: of the track, as `group_of` returns it, so that each track has its own."""
    return f"{topic}-{group}{DEAD}"


def suffix_of(track: str, joint: str) -> str:
    """Return what a track adds to a name: nothing for prod and on a laptop. joint: the character before it."""
    return joint + track if track in SUFFIXED else ""
