"""The platform's alerts for every track of every service: on its online pods, then on its offline pods.

No rule counts errors that clients cause: malformed requests, slow uploads, deadlines too short for any answer.

The offline pod that has a partition tells its lag. While the partition goes from one pod to another, two may tell it, so the
larger counts. No alert asks how busy an offline pod is: while records wait, it is to use all that it has.
"""

from conf.base.matchers import matchers
from conf.base.quantities import rounded_up, shares
from conf.plan.alerts import CANARY_DRIVEN, AlertingRule, RuleGroup, Watched, alert
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED, MIN_FAILURES, MIN_REQUESTS, POD, burn_rate_group, listed
from conf.plan.pods import gpu_share

# The figures at which the platform warns. A service moves others by its settings: objectives, memory_levels, cpu_levels.
TMP_WARNS = 0.80  # A share of the size of /tmp.
QUEUE_WARNS = 0.50  # A share of timeout_second that the oldest waiting request has waited.
SLOW_WARNS = 0.80  # A share of timeout_second that the slowest hundredth of the answers takes.
ERRORS_WARN = 0.01  # A share of the requests, for tracks without objectives.
RESTARTS_WARN = 3  # Restarts of one pod in half an hour.
SINK_AWAY_WARNS = 300  # Seconds for which a sink takes no answers.
BROKERS_AWAY_WARNS = 300  # Seconds for which the brokers of a topic do not answer.
DEAD_LETTERS_WARN = 0.01  # A share of the records.
MIN_DEAD_LETTERS = 5  # In a quarter of an hour: a single malformed record wakes nobody.
RETRIES_WARN = 10  # Requests in ten minutes that a gateway did not send again though it should.
CANARY_NOT_DRIVEN = 900  # Seconds since a command looked at a canary.
STILL = 600  # Seconds without a finished record, at least, after which records that wait stand still.

GIVEN_UP = ("retry_or_shadow_abandoned", "upstream_rq_retry_overflow", "upstream_rq_retry_limit_exceeded")  # Envoy's counters


def rule_groups(watched: Watched) -> tuple[RuleGroup, ...]:
    """Return the platform's rules for a track. grey and ab have an alert on errors in place of those on objectives."""
    own = (*_answers(watched), *_memory(watched), _leaking(watched), *_cores(watched), *_space(watched))
    own = (*own, *_pods(watched), *_release(watched))
    if watched.has_objectives:
        return RuleGroup(watched.name, "", (), own), burn_rate_group(watched)
    return (RuleGroup(watched.name, "", (), (*own, _errors(watched))),)


def _answers(watched: Watched) -> tuple[AlertingRule, ...]:
    where, timeout = watched.where, watched.settings.timeout_second
    ready = f"(sum(monopod_ready{{{where}}}) or vector(0))"
    refused = f'sum(rate(monopod_shed_total{{{where},reason="queue_full"}}[5m]))'
    slow = f"histogram_quantile(0.99, sum by (le) (rate(monopod_answer_duration_seconds_bucket{{{where}}}[5m])))"
    late = "the slowest requests come near the deadline"
    age = f"max by (model) (monopod_queue_oldest_age_seconds{{{where}}})"
    waits = "a request has waited {{ $value | humanizeDuration }} for {{ $labels.model }}, over half of its deadline"
    return (
        alert(watched, "NoPodAnswers", f"{ready} < 1", "2m", "critical", "no pod is ready"),
        _not_scraped(watched),
        alert(watched, "Overloaded", f"{refused} > 0", "10m", "warning", "requests are refused, add pods"),
        alert(watched, "Slow", f"{slow} > {SLOW_WARNS * timeout:.4g}", "10m", "warning", late),
        alert(watched, "QueueOld", f"{age} > {QUEUE_WARNS * timeout:.4g}", "1m", "warning", waits),
    )


def _errors(watched: Watched) -> AlertingRule:
    requests, failed = (
        f"sum(rate(monopod_requests_total{{{watched.where},{which}}}[5m]))" for which in (COUNTED, COUNTED_FAILED)
    )
    enough = f"300 * {requests} >= {MIN_REQUESTS} and 300 * {failed} >= {MIN_FAILURES}"
    expr = f"{failed} / {requests} > {ERRORS_WARN} and {enough}"
    words = "{{ $value | humanizePercentage }} of the requests fail"
    return alert(watched, "ServerErrors", expr, "5m", "warning", words)


def _not_scraped(watched: Watched) -> AlertingRule:
    words = "Prometheus reads no pod's metrics"
    return alert(watched, "NothingScraped", f"absent(up{{{watched.where}}} == 1)", "5m", "warning", words)


def _cores(watched: Watched) -> tuple[AlertingRule, ...]:
    where = watched.where
    warn, act = shares(watched.settings.cpu_levels)
    cores = f"sum(rate(process_cpu_seconds_total{{{where}}}[5m])) / sum(monopod_cpu_cores{{{where}}})"
    busy = "the pods use {{ $value | humanizePercentage }} of the cores that they ask for"
    return (
        alert(watched, "CoresHigh", f"{cores} > {warn:g}", "15m", "warning", busy),
        alert(watched, "CoresNearLimit", f"{cores} > {act:g}", "15m", "critical", busy),
    )


def _memory(watched: Watched) -> tuple[AlertingRule, ...]:
    where = watched.where
    warns, acts = shares(watched.settings.memory_levels)
    memory = f"max by (pod) (process_resident_memory_bytes{{{where}}} / monopod_memory_limit_bytes{{{where}}})"
    holds = "{{ $labels.pod }} holds {{ $value | humanizePercentage }} of its memory"
    return (
        alert(watched, "MemoryHigh", f"{memory} > {warns:g}", "15m", "warning", holds),
        alert(watched, "MemoryNearLimit", f"{memory} > {acts:g}", "2m", "critical", f"{holds}, over it it is killed"),
    )


def _leaking(watched: Watched) -> AlertingRule:
    """A pod that ends for its memory is not a restart of `Restarts`, and counts here. One without a sibling only tells."""
    times = f"sum(changes(monopod_recycles{{{watched.where}}}[1h])) + sum(monopod_recycle_due{{{watched.where}}})"
    words = "{{ $value }} pods an hour grow above recycle_at_memory"
    return alert(watched, "Leaking", f"{times} > 0", "0s", "warning", words)


def _space(watched: Watched) -> tuple[AlertingRule, ...]:
    where = watched.where
    tmp = f"max by (pod) (monopod_tmp_bytes{{{where}}} / monopod_tmp_limit_bytes{{{where}}})"
    full = "{{ $labels.pod }} has filled {{ $value | humanizePercentage }} of /tmp, and is evicted when it is full"
    return (alert(watched, "TmpNearlyFull", f"{tmp} > {TMP_WARNS}", "5m", "warning", full), *_card(watched))


def _card(watched: Watched) -> tuple[AlertingRule, ...]:
    """A card tells only what all its pods use. So for shared cards the fleet's rules compare the sums of a node."""
    gpu = watched.region.gpu
    if gpu is None or gpu.unit != "card" or not gpu_share(watched.settings, watched.region):
        return ()
    used, declared = (f"monopod_gpu_{each}_bytes{{{watched.where}}}" for each in ("device_used", "memory_declared"))
    words = "{{ $labels.pod }} uses {{ $value | humanizePercentage }} of the card's memory that it declares"
    return (
        alert(watched, "CardOverDeclared", f"max by (pod) ({used} / ignoring (card) {declared}) > 1", "5m", "warning", words),
    )


def _pods(watched: Watched) -> tuple[AlertingRule, ...]:
    """A pod fails where it is evicted, or where its node refuses it or ends. Its object stays, and another pod comes."""
    pods = f"{watched.name}(-canary|-baseline)?-[0-9a-z]+-[0-9a-z]{{5}}"
    failed = f'kube_pod_status_phase{{{matchers(namespace=watched.namespace)},pod=~"{pods}",phase="Failed"}}'
    lost = f"{failed} == 1 unless on (pod) ({failed} offset 1h == 1)"
    gone = "{{ $value }} pods were evicted or failed in the last hour"
    where, container = watched.where, matchers(namespace=watched.namespace, container=watched.name)
    counted = f"max by (pod) (increase(kube_pod_container_status_restarts_total{{{container}}}[30m]))"
    seen = f"max by (pod) (changes(process_start_time_seconds{{{where}}}[30m]))"  # where nothing reads Kubernetes' state
    failing = f"max by (pod, file) (monopod_reload_failed{{{where}}})"
    restarts = "{{ $labels.pod }} restarts again and again"
    reload = "a changed file cannot be loaded and the older one is used, the log tells why"
    return (
        alert(watched, "Restarts", f"({counted} or {seen}) >= {RESTARTS_WARN}", "0s", "warning", restarts),
        alert(watched, "PodsLost", f"count({lost}) > 0", "0s", "warning", gone + listed(f"topk(3, {lost})", ": ", POD)),
        alert(watched, "ReloadFailing", f"{failing} > 0", "1m", "warning", reload),
    )


def _rollout(watched: Watched) -> AlertingRule:
    """A rollout that still brings up pods is not stuck, however long it takes."""
    which = f"{{{matchers(namespace=watched.namespace, deployment=watched.name)}}}"
    unavailable, updated, wanted = (
        f"max(kube_deployment_{each}{which})"
        for each in ("status_replicas_unavailable", "status_replicas_updated", "spec_replicas")
    )
    moves = f"max(changes(kube_deployment_status_replicas_updated{which}[5m]))"
    stuck = f"({unavailable} > 0 or {updated} < {wanted}) unless {moves} > 0"
    words = "pods of the release do not come up"
    return alert(watched, "ReleaseStuck", stuck, f"{watched.progress_deadline}s", "warning", words)


def _release(watched: Watched) -> tuple[AlertingRule, ...]:
    """charts/monitoring gives the gateway's series the labels that name a service."""
    to = matchers(destination_namespace=watched.namespace, destination_service=watched.name)
    given_up = " + ".join(f"(sum(increase(envoy_cluster_{each}{{{to}}}[10m])) or vector(0))" for each in GIVEN_UP)
    lost = "the gateway did not send {{ $value | humanize }} failed requests again"
    driven = f"{CANARY_DRIVEN}{{{watched.where_recorded}}}"
    left = f"time() - max by (namespace, service, track) ({driven}) > {CANARY_NOT_DRIVEN}"
    alone = "no command has driven its canary for {{ $value | humanizeDuration }}"
    return (
        _rollout(watched),
        alert(watched, "CanaryNotDriven", left, "0s", "warning", alone + listed(driven, ": ", "{{ $each.Labels.step }}")),
        alert(watched, "RetriesGivenUp", f"{given_up} >= {RETRIES_WARN}", "0s", "warning", lost),
    )


def offline_rule_groups(watched: Watched) -> tuple[RuleGroup, ...]:
    of_pods = (*_memory(watched), *_space(watched), *_pods(watched), _rollout(watched))
    return (RuleGroup(watched.name, "", (), (*_reading(watched), *_writing(watched), *_records(watched), *of_pods)),)


def _reading(watched: Watched) -> tuple[AlertingRule, ...]:
    """Records stand still when none is finished in the time of two of the longest tries, and of three at offline_rate."""
    s, where = watched.settings, watched.where
    lag = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{where}}}))"
    before = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{where}}} offset 5m))"
    pause = rounded_up(max(STILL, 2 * s.offline_timeout_second, 3 / s.offline_rate if s.offline_rate else 0))
    done = f"sum(rate(monopod_offline_records_total{{{where}}}[{pause}s]))"
    ready = f"(sum(monopod_ready{{{where}}}) or vector(0))"
    silent = "the brokers have not answered for {{ $value | humanizeDuration }}, so that nobody reads"
    away = f"max(monopod_offline_brokers_away_seconds{{{where}}}) > {BROKERS_AWAY_WARNS}"
    longer = f"{lag} > {s.offline_lag_per_replica} and {lag} > {before}"
    still = "{{ $value | humanize }} records wait, and none is finished"
    grows = "{{ $value | humanize }} records wait, and they become more"
    return (
        alert(watched, "OfflineNotReady", f"{ready} < 1", "5m", "critical", "no offline pod is ready, so that nobody reads"),
        _not_scraped(watched),
        alert(watched, "OfflineBrokersAway", away, "0s", "critical", silent),
        alert(watched, "OfflineStandsStill", f"{lag} > 0 unless {done} > 0", "5m", "critical", still),
        alert(watched, "OfflineLagGrows", longer, "15m", "warning", grows),
    )


def _writing(watched: Watched) -> tuple[AlertingRule, ...]:
    where = watched.where
    held = "reading has stopped, since the model fails for most records"
    waits = "{{ $labels.sink }} has been away for {{ $value | humanizeDuration }}, and its answers wait"
    away = f"max by (sink) (monopod_offline_sink_away_seconds{{{where}}})"
    return (
        alert(watched, "OfflineHeld", f"max(monopod_offline_held{{{where}}}) > 0", "0s", "critical", held),
        alert(watched, "OfflineSinkWaits", f"{away} > {SINK_AWAY_WARNS}", "0s", "warning", waits),
    )


def _records(watched: Watched) -> tuple[AlertingRule, ...]:
    """Records may be lost before Prometheus first reads a new pod."""
    where = watched.where
    every = f"monopod_offline_records_total{{{where}}}"
    dead = f'monopod_offline_records_total{{{where},outcome="dead"}}'
    share = f"sum(rate({dead}[15m])) / sum(rate({every}[15m]))"
    enough = f"sum(increase({dead}[15m])) >= {MIN_DEAD_LETTERS}"
    lost = f"monopod_offline_lost_records_total{{{where}}}"
    gone = f"sum(increase({lost}[15m])) > 0 or sum({lost} unless {lost} offset 15m) > 0"
    dead_words = "{{ $value | humanizePercentage }} of the records become dead letters"
    lost_words = "the topic's retention took {{ $value | humanize }} records before they were read"
    return (
        alert(watched, "OfflineDeadLetters", f"{share} > {DEAD_LETTERS_WARN} and {enough}", "0s", "warning", dead_words),
        alert(watched, "OfflineRecordsLost", gone, "0s", "critical", lost_words),
    )
