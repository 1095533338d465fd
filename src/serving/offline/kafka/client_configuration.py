"""The configuration of librdkafka and the plan of a reader, from the environment and the settings. It opens no connection."""

import logging
import re
import ssl
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.base.errors import StartError
from serving.settings import Settings, size_in_bytes
from serving.telemetry.logs import LogThrottle

Configuration = dict[str, Any]  # librdkafka's properties. It may hold a password, so it is never logged.

PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
BROKER = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
MIB = 1 << 20
FETCHED_SHARE = 32  # records that were fetched ahead take this part of the pod's memory at most
MIN_FETCHED, MAX_FETCHED = 4 * MIB, 64 * MIB
POLL_INTERVAL = 300  # seconds
VALUES_SHARE = 8  # values of records that were handed over take this part of the pod's memory at most
RATE_SECONDS = 0.5  # of the rate are read at once, so that none of them waits long


class _Seldom(logging.Filter):
    """Lets a line through now and then, whatever its milliseconds: a client logs each try to reach a broker, 20 a second."""

    def __init__(self) -> None:
        super().__init__()
        self._lines = LogThrottle()

    def filter(self, record: logging.LogRecord) -> bool:
        return self._lines.allows(re.sub(r"\d+ms", "", record.getMessage()))


client_logger = logging.getLogger("monopod.kafka.client")
client_logger.addFilter(_Seldom())


def client_id(settings: Settings, environment: Mapping[str, str]) -> str:
    """Return by which name brokers and other services know a track of a service: its user, its name and the track."""
    return f"{settings.username}/{settings.service_name}/{environment.get('MONOPOD_TRACK') or 'prod'}"


def connection(environment: Mapping[str, str], client_id: str, brokers: str = "") -> Configuration:
    """Return what every client of the brokers is told.

    client_id: by which brokers and other services know this one. brokers: replaces KAFKA_BROKERS. Raises StartError, which
    names the variable.
    """
    addresses = _addresses(brokers or environment.get("KAFKA_BROKERS", ""), "--brokers" if brokers else "KAFKA_BROKERS")
    security = _choice(environment, "KAFKA_SECURITY", PROTOCOLS)
    return {
        "bootstrap.servers": addresses,
        "client.id": client_id,
        "security.protocol": security,
        "reconnect.backoff.max.ms": 2_000,
        "socket.keepalive.enable": True,
        "logger": client_logger,
        **_credentials(environment, security),
        **_trusted(environment, security),
    }


def consumer(connected: Configuration, settings: Settings, group: str) -> Configuration:
    """Return what the reader's consumer is told. connected: of connection(). group: with the track's suffix."""
    fetched = min(max(size_in_bytes(settings.memory) // FETCHED_SHARE, MIN_FETCHED), MAX_FETCHED)
    # The group's protocol is answered within the poll interval, and a revocation holds the thread so long.
    seconds = max(POLL_INTERVAL, settings.offline_revoke_second + 60)
    return {
        **connected,
        "group.id": group,
        "group.protocol": settings.offline_protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",  # lost records are counted before reading goes on
        "max.poll.interval.ms": int(seconds * 1000),
        "queued.max.messages.kbytes": fetched // 1024,
        "queued.min.messages": max(1000, settings.offline_window),
        "fetch.max.bytes": fetched,
        "fetch.message.max.bytes": min(MIB, fetched),
        "fetch.queue.backoff.ms": 20,  # by default a full queue is looked at again after a second
        **_classic(settings.offline_protocol),
    }


def _classic(protocol: str) -> Configuration:
    """Return what only the classic protocol takes: KIP-848's refuses a strategy, since the broker assigns."""
    return {"partition.assignment.strategy": "cooperative-sticky"} if protocol == "classic" else {}


def _addresses(text: str, where: str) -> str:
    """Return the brokers' addresses, or raise StartError where one of them is not a host and a port."""
    addresses = [item.strip() for item in text.split(",") if item.strip()]
    if not addresses:
        raise StartError(
            "KAFKA_BROKERS is not set. It names the brokers, as kafka-1.example:9092,kafka-2.example:9092. "
            "On a laptop, --brokers does the same. In a cluster, regions.yaml has them at kafka."
        )
    for address in addresses:
        found = BROKER.fullmatch(address)
        if not found or not 0 < int(found[1]) < 65536:
            raise StartError(
                f"{where} holds {address!r}, which is not a broker's address. Write host:port, as kafka-1.example:9092."
            )
    return ",".join(addresses)


def _choice(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(name) or allowed[0]
    if value not in allowed:
        raise StartError(f"{name} is {value!r}. It may be {', '.join(allowed)}.")
    return value


def _credentials(environment: Mapping[str, str], security: str) -> Configuration:
    names = "KAFKA_USERNAME", "KAFKA_PASSWORD"
    given = [name for name in names if environment.get(name)]
    if not security.startswith("sasl"):
        if given:
            raise StartError(
                f"{given[0]} is set, but KAFKA_SECURITY is {security}, which sends no credentials. "
                "Set KAFKA_SECURITY to sasl_ssl, or leave the credentials out."
            )
        return {}
    for name in names:
        if name not in given:
            raise StartError(
                f"{name} is not set, but KAFKA_SECURITY is {security}. offline_secret names the Secret that has it."
            )
    return {
        "sasl.mechanism": _choice(environment, "KAFKA_MECHANISM", MECHANISMS),
        "sasl.username": environment["KAFKA_USERNAME"],
        "sasl.password": environment["KAFKA_PASSWORD"],
    }


def _trusted(environment: Mapping[str, str], security: str) -> Configuration:
    """Return which certificates are trusted. Without KAFKA_CA they are the system's."""
    path = environment.get("KAFKA_CA", "")
    if not path or not security.endswith("ssl"):
        return {}
    if not Path(path).is_file():
        raise StartError(f"KAFKA_CA is {path!r}, and there is no such file. It names a PEM file of the brokers' CA.")
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise StartError(
            f"KAFKA_CA is {path!r}, which holds no certificate. It names a PEM file of the brokers' CA."
        ) from error
    return {"ssl.ca.location": path}


@dataclass(frozen=True)
class ReadingPlan:
    """Where a reader reads, as which group, and within which bounds. limit: records, 0 for all. dry: it commits nothing."""

    connected: Configuration  # of connection()
    topic: str
    group: str  # with the track's suffix
    settings: Settings
    limit: int = 0
    dry: bool = False

    def max_read(self) -> int:
        """Return how many records one turn may read by the rate, 0 where there is no bound."""
        rate = self.settings.offline_rate
        return max(1, int(rate * RATE_SECONDS)) if rate else 0

    def max_bytes(self) -> int:
        return size_in_bytes(self.settings.memory) // VALUES_SHARE


def reading_plan(
    connected: Configuration, topic: str, group: str, settings: Settings, limit: int = 0, dry: bool = False
) -> ReadingPlan:
    """Return the plan of a service. A dry run has a group of its own."""
    member_of = f"{group}-dry-run-{uuid.uuid4().hex[:12]}" if dry else group
    return ReadingPlan(connected, topic, member_of, settings, limit, dry)
