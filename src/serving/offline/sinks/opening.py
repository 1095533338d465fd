"""The sinks that value.py and the command line name, and a topic as one of them. Opens no connection."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving.base.errors import StartError
from serving.offline.kafka.client_configuration import client_id, connection
from serving.offline.kafka.producer import Refused, TopicWriter
from serving.offline.records import Answer, Refusal, Sink, Unreachable
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
        raise StartError(f"{settings.offline_source} is the source, so it cannot be a sink: its answers would be read again")
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
    raise StartError(f"{name!r} is not a sink; {KINDS}")


def postgresql_url(environ: Mapping[str, str]) -> str:
    if url := environ.get("POSTGRESQL_URL", ""):
        return url
    raise StartError(
        "POSTGRESQL_URL is not set: it names the database, as postgresql://user:password@host:5432/database; "
        "offline_secret names the Secret that has it, and on a laptop --postgresql does the same"
    )


class KafkaTopic:
    """A sink that writes records. name: as in value.py, with the track's suffix. topic: of the same name."""

    def __init__(self, name: str, topic: str, writer: TopicWriter):
        self.name = name
        self._topic, self._writer = topic, writer

    async def open(self) -> None:
        await self._writer.check(self._topic)

    async def write(self, answers: Sequence[Answer]) -> Sequence[Refusal | None]:
        """Write answers in their order, and return for each None once all replicas in step have it, or the refusal.

        Raises Unreachable once it is known of each answer whether it was written.
        """
        sent = [self._writer.send(self._topic, item.record.key, item.body, headers(item)) for item in answers]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, Refused):
                raise Unreachable(str(outcome)) if isinstance(outcome, Unreachable) else outcome
        return [outcome.refusal if isinstance(outcome, Refused) else None for outcome in outcomes]

    async def close(self) -> None:
        await self._writer.close()


def headers(answer: Answer) -> list[tuple[str, bytes]]:
    """Return the headers of an answer's record: where its own record stands, and the model's version."""
    topic, partition, offset = answer.record.origin
    return [
        ("origin-topic", topic.encode()),
        ("origin-partition", b"%d" % partition),
        ("origin-offset", b"%d" % offset),
        ("model-version", answer.version.encode()),
    ]
