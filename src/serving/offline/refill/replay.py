"""The replay of dead letters: a source of the records that a group gave up.

Knows which topic and group a replay has. Does not read it.
"""

from serving.offline.kafka.client_configuration import Configuration
from serving.offline.kafka.dead_letters import open_partitions
from serving.offline.refill.open_source import Opened, refill_of
from serving.offline.refill.tracks import Tracks
from serving.settings import Settings
from serving.settings.offline_names import dead_topic_of

REPLAY = "-replay"


def open_replay(
    connected: Configuration, topic: str, group: str, settings: Settings, dry_run: bool = False, limit: int = 0
) -> Opened:
    """Return the source of a group's dead letters, up to the end that their topic has now.

    connected: of client_configuration.connection. topic, group: whose dead letters, with the track's suffix. dry_run: it
    commits nothing. limit: the most records, 0 for all. Raises StartError.
    """
    partitions, commits = open_partitions(connected, dead_topic_of(topic, group), f"{group}{REPLAY}")
    tracks = Tracks(partitions, None if dry_run else commits, commits.close)
    return Opened(refill_of(tracks, settings, limit), None, None)
