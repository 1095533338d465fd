"""Rules that offline pods reach their brokers and sinks, leave the group in time, and share no name or group with others."""

from collections.abc import Iterator, Mapping, Sequence

from conf.clusters.regions import Regions
from conf.plan.plan import TRACKS, most_offline_pods, offline_grace_period, offline_name, runs, runs_offline, track_group
from conf.rules.context import Rule, RuleContext, Violation, hint
from conf.rules.other_services import OtherService
from conf.rules.traffic import NODE_DRAIN
from serving.settings import Settings, ValueFile

Groups = Mapping[tuple[str, str], str]  # (broker, group) -> the track that has it


def no_service_has_the_offline_name(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    """A service and the offline pods of another one would be objects of the same names, in grey for different users too."""
    mine = value.checkable_in()
    for other in others:
        theirs = other.value.settings
        pairs = ((mine, value, theirs), (theirs, other.value, mine))
        if not any(_is_offline_name(one, its, another, regions) for one, its, another in pairs):
            continue
        same = theirs.username == mine.username
        owner, name = (mine, theirs) if offline_name(mine.service_name) == theirs.service_name else (theirs, mine)
        where = "would replace each other" if same else "cannot be in grey or ab-test at a time"
        yield Violation(
            "service_name",
            f"{name.username}/{name.service_name} and the offline pods of {owner.username}/{owner.service_name} have one name"
            f" ({other.folder}), and {where}: choose another service_name",
            hint=not same,
        )


def _is_offline_name(one: Settings, value: ValueFile, another: Settings, regions: Regions) -> bool:
    """Return whether a service has offline pods anywhere that are called as another service is."""
    if offline_name(one.service_name) != another.service_name:
        return False
    return any(runs_offline(value.checkable_in(region)) for region in regions.regions)


def the_group_is_free(value: ValueFile, others: Sequence[OtherService], regions: Regions) -> Iterator[Violation]:
    """Two services in one group would share the records, so that each sees a part of them."""
    mine = _groups(value, regions)
    for other in others:
        theirs = _groups(other.value, regions)
        for broker, group in sorted(mine.keys() & theirs.keys(), key=lambda each: (each[1], each[0])):
            yield Violation(
                "offline_group",
                f'the group "{group}" ({mine[broker, group]}) at {broker} is that of {other.name} ({other.folder},'
                f" {theirs[broker, group]}): the two would share the records, and each would miss some; choose another group",
            )
            break


def _groups(value: ValueFile, regions: Regions) -> Groups:
    """Return the groups of a service's tracks at each broker. One cluster of brokers may serve several regions."""
    found: dict[tuple[str, str], str] = {}
    for name, region in regions.regions.items():
        settings = value.checkable_in(name)
        if region.kafka is None or not runs_offline(settings):
            continue
        for track in (each for each in TRACKS if runs(settings, name, regions, each)):
            for broker in region.kafka.brokers:
                found.setdefault((broker, track_group(settings, track)), track)
    return found


SERVICE_RULES = (no_service_has_the_offline_name, the_group_is_free)


def brokers_are_named(context: RuleContext) -> Iterator[Violation]:
    if runs_offline(context.settings) and context.region.kafka is None:
        name = context.region.name
        yield Violation(
            "offline_source",
            f'offline_source is "{context.settings.offline_source}", and regions.yaml names no brokers in {name}: add'
            f" kafka: {{brokers: [kafka.lan:9092]}} at {context.region_place('')}, or set {name}_offline_replicas = 0",
        )


def each_pod_has_a_partition(context: RuleContext) -> Iterator[Violation]:
    """A topic's partition has one reader at a time. No broker is asked, so only offline_partitions tells their number."""
    s, partitions = context.settings, context.settings.offline_partitions
    pods = most_offline_pods(s, context.plan.track)
    if partitions and pods > partitions:
        yield Violation(
            "offline_max_replicas" if s.offline_max_replicas > partitions else "offline_replicas",
            f"{pods} offline pods, and {s.offline_source} has {partitions} partition{'s' if partitions > 1 else ''}"
            f" (offline_partitions): a pod without a partition reads nothing; make it {partitions}, or correct"
            " offline_partitions",
        )


def the_password_has_a_secret(context: RuleContext) -> Iterator[Violation]:
    kafka = context.region.kafka
    if runs_offline(context.settings) and kafka and kafka.has_password and not context.settings.offline_secret:
        yield Violation(
            "offline_source",
            f"the brokers of {context.region.name} ask for a password ({context.region_place('.kafka')}), and offline_secret is"
            ' empty: make a Secret with KAFKA_USERNAME and KAFKA_PASSWORD, and name it, as offline_secret = "like-offline"',
        )


def the_database_has_a_secret(context: RuleContext) -> Iterator[Violation]:
    s = context.settings
    tables = [sink for sink in s.offline_sinks if sink.startswith("postgresql:")]
    if runs_offline(s) and tables and not s.offline_secret and not s.env_secret:
        yield Violation(
            "offline_sinks",
            f'offline_sinks names "{tables[0]}", and no Secret says where its database is: make one with POSTGRESQL_URL, and'
            ' name it, as offline_secret = "like-offline"',
        )


def records_are_finished_before_a_node_goes(context: RuleContext) -> Iterator[Violation]:
    s = context.settings
    if runs_offline(s) and offline_grace_period(s) > NODE_DRAIN:
        yield hint(
            "offline_revoke_second",
            f"an offline pod may take {offline_grace_period(s)} s to end, and a node that is taken away waits {NODE_DRAIN} s:"
            " what it has begun may be cut off, and is read again; shorten offline_revoke_second",
        )


def a_slow_record_is_not_called_hung(context: RuleContext) -> Iterator[Violation]:
    s = context.settings
    if runs_offline(s) and s.stuck_after_second < s.offline_timeout_second:
        yield hint(
            "stuck_after_second",
            f"a batch counts as hung after {s.stuck_after_second} s, before a record's deadline of"
            f" {s.offline_timeout_second:g} s: a slow one restarts the offline pod; raise stuck_after_second, or lower"
            " offline_timeout_second",
        )


RULES: tuple[Rule, ...] = (
    brokers_are_named,
    each_pod_has_a_partition,
    the_password_has_a_secret,
    the_database_has_a_secret,
    records_are_finished_before_a_node_goes,
    a_slow_record_is_not_called_hung,
)
