"""Rules that offline pods reach their brokers and sinks, and leave the group in time.

Does not know other services, and asks no broker.
"""

from collections.abc import Iterator

from conf.plan.offline import most_offline_pods, offline_grace_period, runs_offline
from conf.rules.case import Case, Rule, Violation
from conf.rules.traffic import NODE_DRAIN


def brokers_are_named(case: Case) -> Iterator[Violation]:
    if runs_offline(case.settings) and case.region.kafka is None:
        name = case.region.name
        yield Violation(
            "offline_source",
            f'offline_source is "{case.settings.offline_source}", and regions.yaml names no brokers in {name}: add'
            f" kafka: {{brokers: [kafka.lan:9092]}} at {case.region_place('')}, or set {name}_offline_replicas = 0",
        )


def each_pod_has_a_partition(case: Case) -> Iterator[Violation]:
    """A topic's partition has one reader at a time. No broker is asked, so only offline_partitions tells their number."""
    s, partitions = case.settings, case.settings.offline_partitions
    pods = most_offline_pods(s, case.plan.track)
    if partitions and pods > partitions:
        yield Violation(
            "offline_max_replicas" if s.offline_max_replicas > partitions else "offline_replicas",
            f"{pods} offline pods, and {s.offline_source} has {partitions} partition{'s' if partitions > 1 else ''}"
            f" (offline_partitions): a pod without a partition reads nothing; make it {partitions}, or correct"
            " offline_partitions",
        )


def the_password_has_a_secret(case: Case) -> Iterator[Violation]:
    kafka = case.region.kafka
    if runs_offline(case.settings) and kafka and kafka.has_password and not case.settings.offline_secret:
        yield Violation(
            "offline_source",
            f"the brokers of {case.region.name} ask for a password ({case.region_place('.kafka')}), and offline_secret is"
            ' empty: make a Secret with KAFKA_USERNAME and KAFKA_PASSWORD, and name it, as offline_secret = "like-offline"',
        )


def the_database_has_a_secret(case: Case) -> Iterator[Violation]:
    s = case.settings
    tables = [sink for sink in s.offline_sinks if sink.startswith("postgresql:")]
    if runs_offline(s) and tables and not s.offline_secret and not s.env_secret:
        yield Violation(
            "offline_sinks",
            f'offline_sinks names "{tables[0]}", and no Secret says where its database is: make one with POSTGRESQL_URL, and'
            ' name it, as offline_secret = "like-offline"',
        )


def records_are_finished_before_a_node_goes(case: Case) -> Iterator[Violation]:
    s = case.settings
    if runs_offline(s) and offline_grace_period(s) > NODE_DRAIN:
        yield Violation(
            "offline_revoke_second",
            f"an offline pod may take {offline_grace_period(s)} s to end, and a node that is taken away waits {NODE_DRAIN} s:"
            " what it has begun may be cut off, and is read again; shorten offline_revoke_second",
            hint=True,
        )


def a_slow_record_is_not_called_hung(case: Case) -> Iterator[Violation]:
    s = case.settings
    if runs_offline(s) and s.stuck_after_second < s.offline_timeout_second:
        yield Violation(
            "stuck_after_second",
            f"a batch counts as hung after {s.stuck_after_second} s, before a record's deadline of"
            f" {s.offline_timeout_second:g} s: a slow one restarts the offline pod; raise stuck_after_second, or lower"
            " offline_timeout_second",
            hint=True,
        )


RULES: tuple[Rule, ...] = (
    brokers_are_named,
    each_pod_has_a_partition,
    the_password_has_a_secret,
    the_database_has_a_secret,
    records_are_finished_before_a_node_goes,
    a_slow_record_is_not_called_hung,
)
