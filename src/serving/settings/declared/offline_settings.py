"""The settings of `monopod offline`: where records come from, where answers go, and how a record is tried.

Knows kinds of values. Does not know brokers, databases or clusters.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from serving.settings import kinds
from serving.settings.declared.setting import setting

TOPIC = r"[A-Za-z0-9._-]{1,200}"  # Kafka allows 249; a suffix must fit
COLUMN = r"[a-z_][a-z0-9_]{0,50}"  # PostgreSQL allows 63; a suffix must fit
# The columns that a table has beside its key stand for the record itself.
KEY = rf"(?!(topic|partition|offset|time|results|version)$){COLUMN}"
SOURCE = re.compile(rf"(kafka:{TOPIC})?")
SINK = re.compile(rf"kafka:{TOPIC}|postgresql:({COLUMN}\.)?{COLUMN}|stdout")
GROUP = re.compile(rf"({TOPIC})?")
START = re.compile(r"earliest|latest|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d))?")


def _start() -> kinds.Kind:
    """Where reading begins. A time is one of the calendar: no 13th month."""
    form = kinds.text(START, '"latest", "earliest", or a time as "2026-11-22T08:00:00Z"', '"earliest"')

    def convert(value: Any) -> str:
        text: str = form.convert(value)
        if text not in ("earliest", "latest"):
            datetime.fromisoformat(text)
        return text

    return replace(form, convert=convert)


@dataclass(frozen=True, kw_only=True)
class OfflineSettings:
    """The settings of the offline pods, which read records and answer no request. Without offline_source there are none."""

    offline_source: str = setting(
        "",
        kinds.text(SOURCE, 'a topic as "kafka:like-videos", or nothing', '"kafka:like-videos"'),
        "The topic whose records `monopod offline` runs through the model. Empty, the service has no offline pods.",
        group="Offline",
    )
    offline_sinks: tuple[str, ...] = setting(
        (),
        kinds.strings(SINK, 'sinks as "kafka:like-ages", "postgresql:ages" or "stdout"', '["kafka:like-ages"]'),
        "Where each answer goes. An offset is committed once all of them have acknowledged it.",
    )
    offline_group: str = setting(
        "",
        kinds.text(GROUP, "a consumer group's name, of letters, digits, ., _ and -, 200 at most", '"like-age"'),
        "The consumer group, which no other service may use; empty, <username>-<service_name>. grey and ab add -grey and -ab.",
    )
    offline_start: str = setting(
        "latest",
        _start(),
        "The first record for a group that has committed nothing yet.",
    )
    offline_protocol: str = setting(
        "consumer",
        kinds.choice("consumer", "classic"),
        "The group's protocol: consumer is KIP-848's. classic is for brokers before 4.0.",
    )
    offline_replicas: int = setting(
        1, kinds.whole(0, 1000), "Offline pods in each region that sets no number of its own. 0 runs none there.", unit="pods"
    )
    offline_max_replicas: int = setting(
        0,
        kinds.whole(0, 1000),
        "The most offline pods that KEDA may start when records wait. 0 means no autoscaler.",
        unit="pods",
    )
    offline_partitions: int = setting(
        0,
        kinds.whole(0, 100_000),
        "The topic's partitions, so that `check` refuses more pods, which would find nothing to read. 0, they are not known.",
        unit="partitions",
    )
    offline_lag_per_replica: int = setting(
        1000,
        kinds.whole(1, 100_000_000),
        "Waiting records for each offline pod, above which the autoscaler adds pods.",
        unit="records",
    )
    offline_secret: str = setting(
        "",
        kinds.named("a Secret", "like-offline"),
        "A Secret whose keys become environment variables of the offline pods: KAFKA_USERNAME, KAFKA_PASSWORD, POSTGRESQL_URL.",
    )
    offline_window: int = setting(
        500,
        kinds.whole(1, 100_000),
        "The most records of a partition between its committed offset and the newest one read.",
        unit="records",
    )
    offline_rate: float = setting(
        0.0, kinds.number(0, 1_000_000), "The most records that a pod reads in a second. 0 sets no bound.", unit="records/s"
    )
    offline_timeout_second: float = setting(
        60.0, kinds.number(0.05, 3600), "The longest time that one try of a record may take in the model.", unit="s"
    )
    offline_revoke_second: float = setting(
        20.0,
        kinds.number(0, 600),
        "The time in which records that were begun are finished when a partition goes to another pod, and on SIGTERM.",
        unit="s",
    )
    offline_max_record: str = setting(
        "1Mi", kinds.memory("1Ki", "1Gi"), "The largest value of a record. A larger one becomes a dead letter."
    )
    offline_key: tuple[str, ...] = setting(
        (),
        kinds.strings(
            re.compile(KEY), 'fields as "postid", but none of topic, partition, offset, time, results and version', '["postid"]'
        ),
        "The fields of an answer that are the key of PostgreSQL's rows. Empty, it is topic, partition and offset.",
    )
    offline_retries: int = setting(
        5, kinds.whole(0, 1000), "Further tries of a record after an error that may pass, before it becomes a dead letter."
    )
    offline_retry_second: float = setting(0.5, kinds.number(0.01, 3600), "The time before the first further try.", unit="s")
    offline_retry_factor: float = setting(2.0, kinds.number(1, 100), "What the time grows by with each further try.")
    offline_retry_cap_second: float = setting(
        30.0, kinds.number(0.01, 3600), "The longest time between two tries, of sinks that are away too.", unit="s"
    )
    offline_retry_jitter: float = setting(
        0.5, kinds.number(0, 1), "The share of each such time that is left to chance, so that pods do not try together."
    )
