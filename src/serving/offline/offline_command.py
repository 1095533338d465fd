"""`monopod offline`: records of a topic, of files or of a query through the model, to sinks."""

import contextlib
import os
import time
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from signal import SIGINT

from serving.base.errors import StartError
from serving.inputs.files import PICTURES
from serving.offline.backfill.opening import Opened, open_replay, open_source, summary
from serving.offline.kafka import groups
from serving.offline.kafka.checks import check_source
from serving.offline.kafka.client_configuration import Configuration, client_id, connection, reading_plan
from serving.offline.kafka.dead_letters import DeadTopic
from serving.offline.kafka.kafka_reader import KafkaReader
from serving.offline.kafka.producer import TopicWriter
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.offline_run import Job, MakeJob, run
from serving.offline.records import NoDeadLetters, Sink
from serving.offline.sinks.lines import JsonLines
from serving.offline.sinks.opening import open_sinks
from serving.offline.sinks.postgresql import definition
from serving.service.loader import read_settings
from serving.service.service import files_of
from serving.settings import Settings, SettingsError, size_in_bytes
from serving.settings.offline_names import dead_topic_of, group_of, sinks_of, topic_of
from serving.telemetry.logs import stdout_number
from serving.web import process
from serving.web.process import ServiceContext

STDOUT = "stdout"
TAKEN = {  # flags that not every step takes, by their attributes
    "limit": ("--limit", ("run", "replay")),
    "dry_run": ("--dry-run", ("run", "replay")),
    "inputs": ("--from", ("run",)),
    "again": ("--again", ("run",)),
    "key": ("--key", ("run",)),
    "to": ("--to", ("run", "replay", "seek")),
}


def offline_command(arguments: Namespace) -> int:
    """Run one step and return its exit status. Mistakes are told on standard error, in a pod in the log."""
    try:
        _check(arguments)
        if arguments.step == "seek":
            return _seek(arguments)
        if arguments.step == "table":
            return _table(arguments)
        sinks = arguments.to or _settings(arguments).offline_sinks
    except SettingsError as error:
        return process.give_up(*error.mistakes)
    except StartError as error:
        return process.give_up(str(error))
    log_to_error = bool(arguments.dry_run or arguments.inputs or arguments.step == "replay" or STDOUT in sinks)
    folder = arguments.service.resolve()
    return run(folder, _make_job(arguments), arguments.admin_port, arguments.platform, log_to_error)


def _check(arguments: Namespace) -> None:
    for name, (flag, steps) in TAKEN.items():
        if getattr(arguments, name) and arguments.step not in steps:
            raise StartError(f"`monopod offline {arguments.step}` takes no {flag}; leave it out")
    if not arguments.inputs and (arguments.again or arguments.key):
        raise StartError("--again and --key belong to a backfill: name files or a query by --from")
    if arguments.dry_run and arguments.to:
        raise StartError("--dry-run writes to no sink, but to standard output: leave --to out")


def _settings(arguments: Namespace) -> Settings:
    return read_settings(arguments.service.resolve())[0]


def _environ(arguments: Namespace) -> dict[str, str]:
    """Return the environment, with what flags replace."""
    given = {"KAFKA_BROKERS": arguments.brokers, "POSTGRESQL_URL": arguments.postgresql}
    return {**os.environ, **{name: value for name, value in given.items() if value}}


def _make_job(arguments: Namespace) -> MakeJob:
    if arguments.step == "replay":
        return partial(_replay_job, arguments)
    return partial(_backfill_job if arguments.inputs else _topic_job, arguments)


def _topic_job(arguments: Namespace, context: ServiceContext, metrics: OfflineMetrics) -> Job:
    settings, environ = context.settings, _environ(arguments)
    topic, group, connected = _topic(settings, environ)
    sinks = _sinks(arguments, settings, environ)
    plan = reading_plan(connected, topic, group, settings, arguments.limit or 0, arguments.dry_run)
    dead = NoDeadLetters() if arguments.dry_run else _dead_topic(settings, topic, group, connected)
    return Job(KafkaReader(plan, metrics), sinks, dead, partial(check_source, connected, topic, plan.group))


def _backfill_job(arguments: Namespace, context: ServiceContext, metrics: OfflineMetrics) -> Job:
    settings, environ, began = context.settings, _environ(arguments), time.monotonic()
    sinks = _sinks(arguments, settings, environ)
    opened = open_source(
        arguments.inputs,
        [sink.name for sink in sinks],
        settings,
        again=arguments.again,
        dry_run=arguments.dry_run,
        key=arguments.key,
        postgresql=environ.get("POSTGRESQL_URL", ""),
        limit=arguments.limit or 0,
        kinds=files_of(context.service) or PICTURES,
    )
    return Job(opened.source, sinks, opened.dead or NoDeadLetters(), ended=partial(_summarize, arguments, opened, began, ""))


def _replay_job(arguments: Namespace, context: ServiceContext, metrics: OfflineMetrics) -> Job:
    settings, environ, began = context.settings, _environ(arguments), time.monotonic()
    topic, group, connected = _topic(settings, environ)
    sinks = _sinks(arguments, settings, environ)
    opened = open_replay(connected, topic, group, settings, arguments.dry_run, arguments.limit or 0)
    dead = NoDeadLetters() if arguments.dry_run else _dead_topic(settings, topic, group, connected)
    again = "" if arguments.dry_run else dead_topic_of(topic, group)
    return Job(opened.source, sinks, dead, ended=partial(_summarize, arguments, opened, began, again))


def _summarize(
    arguments: Namespace, opened: Opened, began: float, dead_topic: str, signal: int, outcomes: Mapping[str, int]
) -> int:
    """Print what a backfill or a replay did on stdout, or on stderr where answers go there, and return its exit status."""
    dead = outcomes.get("dead", 0)
    done = summary(opened, outcomes.get("answered", 0), dead, time.monotonic() - began, dead_topic if dead else "")
    to_error = arguments.dry_run or STDOUT in (arguments.to or _settings(arguments).offline_sinks)
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2 if to_error else stdout_number(), done.json() if arguments.json else done.text().encode())
    return done.status(interrupted=signal == SIGINT)


def _sinks(arguments: Namespace, settings: Settings, environ: Mapping[str, str]) -> list[Sink]:
    return [JsonLines(STDOUT)] if arguments.dry_run else open_sinks(settings, environ, arguments.to)


def _topic(settings: Settings, environ: Mapping[str, str]) -> tuple[str, str, Configuration]:
    """Return the source's topic, the track's group, and how to connect. Raises StartError."""
    topic = topic_of(settings.offline_source)
    if not topic:
        raise StartError('value.py: no offline_source; name the topic, as offline_source = "kafka:like-videos"')
    group = group_of(settings.offline_group, settings.username, settings.service_name, environ.get("MONOPOD_TRACK", ""))
    return topic, group, connection(environ, client_id(settings, environ))


def _dead_topic(settings: Settings, topic: str, group: str, connected: Configuration) -> DeadTopic:
    writer = TopicWriter(connected)
    return DeadTopic(dead_topic_of(topic, group), writer, size_in_bytes(settings.offline_max_record))


def _seek(arguments: Namespace) -> int:
    if len(arguments.to) != 1:
        raise StartError("say where to: `monopod offline seek --to earliest`, latest, or a time as 2026-11-22T08:00:00Z")
    if arguments.to[0] not in ("earliest", "latest"):
        groups.milliseconds(arguments.to[0])  # a text that is not a time is told before any broker is asked
    topic, group, connected = _topic(_settings(arguments), _environ(arguments))
    check_source(connected, topic, group)
    for partition, (old, new) in sorted(groups.seek(connected, topic, group, arguments.to[0]).items()):
        print(f"{topic} [{partition}]: {'no commit' if old is None else old} -> {new}")
    return 0


def _table(arguments: Namespace) -> int:
    settings = _settings(arguments)
    names = sinks_of(settings.offline_sinks, os.environ.get("MONOPOD_TRACK", ""))
    relations = [name.partition(":")[2] for name in names if name.startswith("postgresql:")]
    if not relations:
        raise StartError('value.py: no table among offline_sinks; name one, as offline_sinks = ["postgresql:ages"]')
    for relation in relations:
        print(definition(relation, settings.offline_key))
    return 0
