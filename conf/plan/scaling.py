"""The limits and the measures of an autoscaler: by the cpu, the queue or the hours of online pods, by the lag of offline pods.

By the queue, KEDA asks two questions, and the larger answer counts. Each answer is a number of pods, so that both thresholds
are 1. The waiting rows tell within seconds that there are too few pods. They cannot tell how many are needed once no row waits:
the busy time of the models can.

In the hours of `scale_hours` their pods are the least. Kubernetes' own autoscaler knows no hours, so KEDA then follows the cpu
too. By KEDA's code the hours of a cron trigger hold while its next end comes before its next start: its spans must not touch.

Sources: KEDA's documentation of its Prometheus, cpu, cron and Kafka triggers, and its cron_scaler.go. The Kafka trigger takes
the lag of all partitions, and starts no more pods than there are partitions. Partitions without lag count too: their next
records need a reader. Kafka 4 refuses requests in the form of brokers before 2.1 (KIP-896), which KEDA would send where no
version is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from conf.base.matchers import matchers
from conf.clusters.regions import Kafka, Region
from conf.plan.pods import Pairs
from serving.settings import Settings
from serving.settings.declarations import latency_objective
from serving.settings.weekly_hours import DAY, hours_of, most_pods, spans

PROTOCOL = "2.8.0"  # the version of brokers whose requests KEDA is to send: of 2021, and understood by all since
KEDA_MECHANISMS = {"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}
CPU_PERCENT = 80  # of the requested cores
FALLBACK_FAILURES = 3  # questions in a row without an answer, after which the pods stay as many as they are
BUSY = 0.7  # the part of its time for which an instance may work: above it, the wait for a free one grows steeply
WAIT = 0.5  # the part of the objective that a full pod's queue may take; the rest is for the batch, and for new pods to come
FULL = 0.25  # the part of queue_limit above which pods are added, whatever the rows cost: at queue_limit they are refused
FRESH = "1m"  # four scrapes: an older sample says nothing, though Prometheus shows it for five minutes
SETTLED = 90  # seconds: FRESH, a scrape and a look of the autoscaler; after them the busy time shows a load that has risen
KNOWN = "1h"  # a pod that was read within this time, and is still a target, has load


@dataclass(frozen=True)
class Trigger:
    """A measure for KEDA. authentication: the name of a TriggerAuthentication, "" for none. name, query: "" without PromQL."""

    type: str
    metadata: Pairs
    metric_type: str = "AverageValue"
    authentication: str = ""
    name: str = ""
    query: str = ""


@dataclass(frozen=True)
class Credential:
    """A parameter of KEDA's trigger for the brokers, and the Secret and the key that hold it."""

    parameter: str
    secret: str
    key: str


@dataclass(frozen=True)
class Scaling:
    """The limits and the measures of an autoscaler.

    cpu_percent: of the requested cpu, where it scales by cpu. scale_down_window: seconds for which fewer pods must suffice.
    triggers: the largest answer counts. fallback: the failures after which the number of pods stays.
    credentials: what KEDA shows the brokers, none where they ask for nothing.
    """

    min_replicas: int
    max_replicas: int
    cpu_percent: int
    scale_down_window: int
    triggers: tuple[Trigger, ...]
    fallback: int = FALLBACK_FAILURES
    credentials: tuple[Credential, ...] = ()


def online_scaling(settings: Settings, region: Region, namespace: str) -> Scaling:
    """Return the scaling of online pods: by cpu, or by the rows in the queue and the busy time, and by the hours."""
    load = _load_triggers(settings, region, namespace) if settings.max_replicas else ()
    return Scaling(
        min_replicas=settings.replicas,
        max_replicas=max(settings.max_replicas, most_pods(settings.scale_hours)),
        cpu_percent=CPU_PERCENT,
        scale_down_window=settings.scale_down_after_second,
        triggers=(*load, *hour_triggers(settings.scale_hours, region.timezone)),
    )


def hour_triggers(texts: Sequence[str], timezone: str) -> tuple[Trigger, ...]:
    """Return a trigger for all spans of `scale_hours` that have the same times and pods."""
    days: dict[tuple[int, int, int, int], list[int]] = {}
    for each in spans(hours_of(texts)):
        nights = each.end // DAY - each.begin // DAY
        days.setdefault((each.begin % DAY, each.end % DAY, nights, each.pods), []).append(each.begin // DAY)
    return tuple(
        Trigger(
            "cron",
            (
                ("timezone", timezone),
                ("start", _cron(begin, found)),
                ("end", _cron(end, [day + nights for day in found])),
                ("desiredReplicas", str(pods)),
            ),
            name=f"hours-{number}",
        )
        for number, ((begin, end, nights, pods), found) in enumerate(days.items(), start=1)
    )


def _cron(minute: int, days: Sequence[int]) -> str:
    """Return a time on some days in cron's notation. minute: of the day. days: 0 is Monday, 7 the next one."""
    numbers = sorted((day + 1) % 7 for day in days)  # cron's 0 is Sunday
    row = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    text = f"{numbers[0]}-{numbers[-1]}" if row else ",".join(map(str, numbers))
    return f"{minute % 60} {minute // 60} * * {text}"


def _load_triggers(settings: Settings, region: Region, namespace: str) -> tuple[Trigger, ...]:
    if settings.autoscale_by == "cpu":
        metadata = (("containerName", settings.service_name), ("value", str(CPU_PERCENT)))
        return (Trigger("cpu", metadata, metric_type="Utilization", name="cpu"),)
    where = matchers(namespace=namespace, service=settings.service_name, arm="")
    queries = {"queue": queue_query(settings, where), "busy": busy_query(settings, where)}
    server, usual = ("serverAddress", region.prometheus.url), (("threshold", "1"), ("ignoreNullValues", "false"))
    return tuple(
        Trigger("prometheus", (server, ("query", query), *usual), name=name, query=query) for name, query in queries.items()
    )


def queue_query(settings: Settings, where: str) -> str:
    """Return PromQL for the pods that the waiting rows need. where: matchers of the service's own pods' series."""
    rows = f"sum by (pod) (last_over_time(monopod_queue_rows{{{where}}}[{FRESH}]))"
    return f"{_of_all_pods(rows, where)} / {_rows_of_a_pod(settings, where)}"


def busy_query(settings: Settings, where: str) -> str:
    """Return PromQL for the pods that the batches need, so that an instance works for BUSY of its time."""
    busy = f"sum by (pod) (rate(monopod_batch_duration_seconds_sum{{{where}}}[{FRESH}]))"
    return f"{_of_all_pods(busy, where)} / {BUSY * settings.ins_num_per_gpu:g}"


def _of_all_pods(measure: str, where: str) -> str:
    """Return PromQL for a measure of all pods, where some could not be read. measure: PromQL for each pod that was read.

    A sum over three of four pods would be a quarter too small. A lost pod is a target that does not answer now and has
    answered before: it counts as much as the average of the others. In the first minute its own last samples count instead, so
    that a pod that ends makes no peak, to which pods would be added. They may be too few: the wait on the way down outlasts
    that. A pod that never answered does not count, for it is still starting and has no load. If it counted, each new pod would
    ask for another one. Where no pod was read there is no result, and KEDA falls back.
    """
    lost = f"up{{{where}}} == 0 and on (pod) max_over_time(up{{{where}}}[{KNOWN}]) == 1 unless on (pod) {measure}"
    return f"sum({measure}) * (1 + (count({lost}) or vector(0)) / count({measure}))"


def _rows_of_a_pod(settings: Settings, where: str) -> str:
    """Return the waiting rows of one pod above which another one is needed: a number, or PromQL for it.

    A pod works them off in WAIT of the objective, by the cost of a full batch that its warm-up measured. They are at most FULL
    of queue_limit, and at least one row. The cost of the warm-up does not change with the load, so that the target stands
    still. One instance counts, since several share a card. A model that was not warmed has no cost: then FULL of queue_limit
    counts.
    """
    if settings.autoscale_queue_rows:
        return str(settings.autoscale_queue_rows)
    batch, most = max(1, settings.max_batch_size), max(1.0, FULL * settings.queue_limit)
    cost = f"max(monopod_warmup_seconds{{{where},{matchers(rows=str(batch))}}})"
    worked_off = WAIT * latency_objective(settings) * batch
    return f"(clamp({worked_off:g} / {cost}, 1, {most:g}) or vector({most:g}))"


def offline_scaling(settings: Settings, kafka: Kafka, topic: str, group: str, name: str) -> Scaling:
    """Return the scaling of offline pods, by the records that wait. name: of them and of a TriggerAuthentication."""
    shown = _credentials(settings, kafka)
    metadata = (
        ("bootstrapServers", ",".join(kafka.brokers)),
        ("consumerGroup", group),
        ("topic", topic),
        ("lagThreshold", str(settings.offline_lag_per_replica)),
        ("offsetResetPolicy", "earliest" if settings.offline_start == "earliest" else "latest"),
        ("allowIdleConsumers", "false"),
        ("limitToPartitionsWithLag", "false"),
        ("version", PROTOCOL),
        *((("sasl", KEDA_MECHANISMS[kafka.mechanism]),) if kafka.mechanism else ()),
        *((("tls", "enable"),) if kafka.has_tls else ()),
    )
    return Scaling(
        min_replicas=settings.offline_replicas,
        max_replicas=settings.offline_max_replicas,
        cpu_percent=0,
        scale_down_window=settings.scale_down_after_second,
        triggers=(Trigger("kafka", metadata, authentication=name if shown else ""),),
        credentials=shown,
    )


def _credentials(settings: Settings, kafka: Kafka) -> tuple[Credential, ...]:
    secret = settings.offline_secret
    password = (Credential("username", secret, "KAFKA_USERNAME"), Credential("password", secret, "KAFKA_PASSWORD"))
    ca = (Credential("ca", kafka.ca_secret, "ca.crt"),)
    return (*(password if kafka.has_password else ()), *(ca if kafka.ca_secret else ()))
