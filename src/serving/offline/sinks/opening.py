"""From the names of sinks to sinks that can be opened.

Knows which name means which sink, and the environment's variables. Opens no connection.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import client_id, connection
from serving.offline.kafka.producer import TopicWriter
from serving.offline.records import Sink
from serving.offline.sinks.kafka_topic import KafkaTopic
from serving.offline.sinks.lines import JsonLines
from serving.offline.sinks.postgresql import PostgresqlTable
from serving.settings import Settings
from serving.settings.offline_names import sinks_of

KINDS = 'sinks are "kafka:<topic>", "postgresql:<table>", "stdout" and "file:<path>"'


def open_sinks(settings: Settings, environ: Mapping[str, str], names: Sequence[str] = ()) -> list[Sink]:
    """Return sinks that are not connected yet.

    names: as offline_sinks has them, or a file's as "file:answers.jsonl". Without any they are offline_sinks. Topics and tables
    get the suffix of MONOPOD_TRACK. environ: of the process. The flags of a command replace its variables before. Raises
    StartError, which names the mistake.
    """
    wanted = list(dict.fromkeys(names)) or list(settings.offline_sinks)
    if not wanted:
        raise StartError("no sink is named: name one by offline_sinks in value.py, or by --to; " + KINDS)
    if settings.offline_source and settings.offline_source in wanted:
        raise StartError(f"{settings.offline_source} is the source, so it is no sink: its answers would be read as records")
    files = [name for name in wanted if name.startswith("file:")]
    others = [name for name in wanted if name not in files]
    suffixed = (*sinks_of(others, environ.get("MONOPOD_TRACK", "")), *files)
    return [_sink(name, settings, environ) for name in suffixed]


def _sink(name: str, settings: Settings, environ: Mapping[str, str]) -> Sink:
    kind, _, rest = name.partition(":")
    if kind == "kafka" and rest:
        return KafkaTopic(name, rest, TopicWriter(connection(environ, client_id(settings, environ))))
    if kind == "postgresql" and rest:
        return PostgresqlTable(name, postgresql_url(environ), rest, settings.offline_key)
    if kind == "file" and rest:
        return JsonLines(name, Path(rest))
    if name == "stdout":
        return JsonLines(name)
    raise StartError(f"{name!r} is no sink; {KINDS}")


def postgresql_url(environ: Mapping[str, str]) -> str:
    """Return where tables are. Raises StartError."""
    if url := environ.get("POSTGRESQL_URL", ""):
        return url
    raise StartError(
        "POSTGRESQL_URL is not set: it names the database, as postgresql://user:password@host:5432/database; "
        "offline_secret names the Secret that has it, and on a laptop --postgresql does the same"
    )
