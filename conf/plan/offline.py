"""The plan of a service's offline pods: a Deployment that reads records, and answers no request.

In names and in labels they are `<service_name>-offline`. So no selector, rule or query about the online pods finds them: not
the Service, the PodDisruptionBudget, the NetworkPolicy, the monitor nor the alerts.

Knows topics, groups and pods. Does not know the online pods' objects, and asks no broker.
"""

from dataclasses import dataclass, replace

from conf.base.quantities import rounded_up
from conf.clusters.regions import Kafka, Region
from conf.plan.alerts import RuleGroup
from conf.plan.pods import (
    ADMIN_PORT,
    EXIT_MARGIN,
    SCHEDULE_AND_PULL,
    NamespaceAccess,
    NetworkAccess,
    Pairs,
    Pod,
    Port,
    annotations,
    probes,
    startup_time,
)
from conf.plan.scaling import Credential, Scaling, credentials, offline_scaling
from serving.settings import Settings
from serving.settings.offline_names import dead_topic_of, group_of, sinks_of, topic_of

SUFFIX = "-offline"
LEAVE = 30  # Seconds for the sinks to take what is left, and for the group to be left.
CA_FOLDER, CA_FILE = "/etc/kafka", "ca.crt"


@dataclass(frozen=True)
class OfflinePlan:
    """The offline pods of one track of a service in one region. Fields that a Plan has too mean the same.

    source, sinks: as value.py writes them, the sinks with the track's suffix. brokers: () where the region names none.
    """

    name: str
    namespace: str
    replicas: int
    most_replicas: int
    objects: tuple[str, ...]
    sets_replicas: bool
    command: str
    labels: Pairs
    selector: Pairs
    pod: Pod
    scaling: Scaling
    credentials: tuple[Credential, ...]
    namespace_access: tuple[NamespaceAccess, ...]
    network_access: tuple[NetworkAccess, ...]
    pull_secrets: tuple[str, ...]
    monitor_labels: Pairs
    rule_groups: tuple[RuleGroup, ...]
    brokers: tuple[str, ...]
    source: str
    group: str
    sinks: tuple[str, ...]
    dead_letters: str


def offline_name(service_name: str) -> str:
    """Return the name of a service's offline Deployment, of its pods' container and of their series."""
    return f"{service_name}{SUFFIX}"


def runs_offline(settings: Settings) -> bool:
    """Return whether a service has offline pods in a region, in each track that runs there."""
    return bool(settings.offline_source) and settings.offline_replicas > 0


def offline_replicas(settings: Settings, track: str) -> int:
    return settings.offline_replicas if track == "prod" else 1


def most_offline_pods(settings: Settings, track: str) -> int:
    """Return the most offline pods that a track may have; 0 where it has none."""
    most = settings.offline_max_replicas if track == "prod" else 0
    return max(most, offline_replicas(settings, track)) if runs_offline(settings) else 0


def offline_grace_period(settings: Settings) -> int:
    """Return the seconds from a pod's deletion to its kill: what was begun is finished, written and committed, and a margin."""
    return rounded_up(settings.offline_revoke_second + LEAVE + EXIT_MARGIN)


def offline_startup_time(settings: Settings) -> int:
    """Return the seconds to load the model, and until the pods that have its partitions give them up."""
    return startup_time(settings) + rounded_up(settings.offline_revoke_second)


def offline_plan(
    settings: Settings,
    region: Region,
    track: str,
    namespace: str,
    online: Pod,
    labels: Pairs,
    rule_groups: tuple[RuleGroup, ...],
) -> OfflinePlan:
    """Return the plan of a track's offline pods. online: the pod that would answer requests. labels: of its objects."""
    name, kafka = offline_name(settings.service_name), region.kafka or Kafka(())
    own = (("app", name), ("app.kubernetes.io/name", name))
    named = tuple(sorted({**dict(labels), **dict(own)}.items()))
    topic, group = topic_of(settings.offline_source), track_group(settings, track)
    shown, scales = credentials(settings, kafka), track == "prod" and settings.offline_max_replicas > 0
    return OfflinePlan(
        name=name,
        namespace=namespace,
        replicas=offline_replicas(settings, track),
        most_replicas=most_offline_pods(settings, track),
        objects=_objects(scales, bool(shown)),
        sets_replicas=not scales,
        command="offline",
        labels=named,
        selector=(("app.kubernetes.io/name", name),),
        pod=_pod(settings, region, kafka, online, named),
        scaling=offline_scaling(settings, kafka, topic, group, name if shown else ""),
        credentials=shown,
        namespace_access=(NamespaceAccess(ADMIN_PORT, (("kubernetes.io/metadata.name", region.prometheus.namespace),)),),
        network_access=(),
        pull_secrets=region.pull_secrets,
        monitor_labels=tuple(sorted({**region.prometheus.labels, **dict(named)}.items())),
        rule_groups=rule_groups,
        brokers=kafka.brokers,
        source=settings.offline_source,
        group=group,
        sinks=sinks_of(settings.offline_sinks, track),
        dead_letters=dead_topic_of(topic, group),
    )


def track_group(settings: Settings, track: str) -> str:
    """Return the consumer group of a track."""
    return group_of(settings.offline_group, settings.username, settings.service_name, track)


def _objects(scales: bool, has_credentials: bool) -> tuple[str, ...]:
    return (
        "serviceaccount",
        "networkpolicy",
        "deployment",
        *(("triggerauthentication",) if scales and has_credentials else ()),
        *(("scaledobject",) if scales else ()),
        "podmonitor",
        "prometheusrule",
    )


def _pod(settings: Settings, region: Region, kafka: Kafka, online: Pod, labels: Pairs) -> Pod:
    """Return the pod: the online pod without the data port, whose Secrets, times and environment are the offline ones."""
    inject = tuple(pair for pair in online.labels if pair[0] == "sidecar.istio.io/inject")
    startup, grace = offline_startup_time(settings), offline_grace_period(settings)
    secrets = (*online.env_secrets, *((settings.offline_secret,) if settings.offline_secret else ()))
    return replace(
        online,
        env=(*online.env, *_kafka_environment(kafka)),
        env_secrets=tuple(dict.fromkeys(secrets)),
        ports=(Port("admin", ADMIN_PORT),),
        probes=probes(startup),
        pre_stop=0,
        grace_period=grace,
        progress_deadline=startup + SCHEDULE_AND_PULL,
        labels=(*labels, *inject),
        annotations=annotations(region, grace),
        ca_secret=kafka.ca_secret,
    )


def _kafka_environment(kafka: Kafka) -> Pairs:
    return (
        ("KAFKA_BROKERS", ",".join(kafka.brokers)),
        ("KAFKA_SECURITY", kafka.security),
        *((("KAFKA_MECHANISM", kafka.mechanism),) if kafka.mechanism else ()),
        *((("KAFKA_CA", f"{CA_FOLDER}/{CA_FILE}"),) if kafka.ca_secret else ()),
    )
