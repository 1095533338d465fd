"""The platform's alerts about offline pods: records that nobody reads, answers that no sink takes, and dead letters.

Knows the metrics of offline pods. Does not know brokers.

The pod that has a partition tells its lag. While it goes from one pod to another, two may tell it, so the larger counts.
No alert asks how busy an offline pod is: while records wait, it is to use all that it has.
"""

from conf.base.quantities import rounded_up
from conf.plan import thresholds as at
from conf.plan.alerts import AlertingRule, RuleGroup
from conf.plan.platform_alerts import memory_alerts, not_scraped_alert, pod_alerts, rollout_alert, space_alerts
from conf.plan.watched import Watched, alert

STILL = 600  # Seconds without a finished record, at least, after which records that wait stand still.


def offline_rule_groups(watched: Watched) -> tuple[RuleGroup, ...]:
    """Return the platform's rules for a track's offline pods, without the labels that alerts.labelled adds."""
    of_pods = (*memory_alerts(watched), *space_alerts(watched), *pod_alerts(watched), rollout_alert(watched))
    return (RuleGroup(watched.name, "", (), (*_reading(watched), *_writing(watched), *_records(watched), *of_pods)),)


def _reading(watched: Watched) -> tuple[AlertingRule, ...]:
    """Return the alerts on records that wait.

    They stand still when none is finished in the time of two of the longest tries, and of three records at offline_rate.
    """
    s, where = watched.settings, watched.where
    lag = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{where}}}))"
    before = f"sum(max by (topic, partition) (monopod_offline_lag_records{{{where}}} offset 5m))"
    pause = rounded_up(max(STILL, 2 * s.offline_timeout_second, 3 / s.offline_rate if s.offline_rate else 0))
    done = f"sum(rate(monopod_offline_records_total{{{where}}}[{pause}s]))"
    ready = f"(sum(monopod_ready{{{where}}}) or vector(0))"
    silent = "the brokers have not answered for {{ $value | humanizeDuration }}, so that nobody reads"
    away = f"max(monopod_offline_brokers_away_seconds{{{where}}}) > {at.BROKERS_AWAY_WARNS}"
    still = "{{ $value | humanize }} records wait, and none is finished"
    grows = "{{ $value | humanize }} records wait, and they become more"
    return (
        alert(watched, "OfflineNotReady", f"{ready} < 1", "5m", "critical", "no offline pod is ready, so that nobody reads"),
        not_scraped_alert(watched),
        alert(watched, "OfflineBrokersAway", away, "0s", "critical", silent),
        alert(watched, "OfflineStandsStill", f"{lag} > 0 unless {done} > 0", "5m", "critical", still),
        alert(
            watched,
            "OfflineLagGrows",
            f"{lag} > {s.offline_lag_per_replica} and {lag} > {before}",
            "15m",
            "warning",
            grows,
        ),
    )


def _writing(watched: Watched) -> tuple[AlertingRule, ...]:
    where = watched.where
    held = "reading has stopped, since the model fails for most records"
    waits = "{{ $labels.sink }} has been away for {{ $value | humanizeDuration }}, and its answers wait"
    away = f"max by (sink) (monopod_offline_sink_away_seconds{{{where}}})"
    return (
        alert(watched, "OfflineHeld", f"max(monopod_offline_held{{{where}}}) > 0", "0s", "critical", held),
        alert(watched, "OfflineSinkWaits", f"{away} > {at.SINK_AWAY_WARNS}", "0s", "warning", waits),
    )


def _records(watched: Watched) -> tuple[AlertingRule, ...]:
    """Return the alerts on records that were given up or lost. Records may be lost before Prometheus first reads a new pod."""
    where = watched.where
    every = f"monopod_offline_records_total{{{where}}}"
    dead = f'monopod_offline_records_total{{{where},outcome="dead"}}'
    share = f"sum(rate({dead}[15m])) / sum(rate({every}[15m]))"
    enough = f"sum(increase({dead}[15m])) >= {at.FEWEST_DEAD_LETTERS}"
    lost = f"monopod_offline_lost_records_total{{{where}}}"
    gone = f"sum(increase({lost}[15m])) > 0 or sum({lost} unless {lost} offset 15m) > 0"
    dead_words = "{{ $value | humanizePercentage }} of the records become dead letters"
    lost_words = "the topic's retention took {{ $value | humanize }} records before they were read"
    return (
        alert(watched, "OfflineDeadLetters", f"{share} > {at.DEAD_LETTERS_WARN} and {enough}", "0s", "warning", dead_words),
        alert(watched, "OfflineRecordsLost", gone, "0s", "critical", lost_words),
    )
