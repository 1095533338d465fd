"""The dashboard of a service's offline pods: what waits, what is finished, what the sinks take, and what is given up."""

from conf.plan.plan import SUFFIX
from dashboards import variables
from dashboards.parts import COUNT, EVENTS, SECONDS, Dashboard, Variable, panel, row
from dashboards.promql import INTERVAL, quantiles, total
from dashboards.variables import INFO, NAMED, OWNER, PODS

LAG = f"monopod_offline_lag_records{{{PODS}}}"
SERVICES = Variable("service", "container", f'{INFO}{{{OWNER},container=~".+{SUFFIX}"}}', "Service", many=False)

RECORD_ROW = row(
    "Records",
    panel(
        "Lag by partition",
        COUNT,
        "Records of each partition that are not committed. A line that only grows says that its records are not finished.",
        (f"max by (topic, partition) ({LAG})", "{{topic}} {{partition}}"),
        width=12,
    ),
    panel(
        "Records by outcome",
        EVENTS,
        "Records finished a second: answered, dead letters, and tombstones, which are passed over.",
        (total(f"monopod_offline_records_total{{{PODS}}}", "outcome"), "{{outcome}}"),
        kind="stacked",
        width=12,
    ),
    panel(
        "Age of the oldest record",
        SECONDS,
        "Age of the oldest record that a pod has read and not finished.",
        (f"max by (pod) (monopod_offline_oldest_record_age_seconds{{{PODS}}})", "{{pod}}"),
    ),
    panel(
        "Records in flight",
        COUNT,
        "Records that a pod has read and not finished. offline_window bounds them for each partition.",
        (f"sum by (pod) (monopod_offline_in_flight_records{{{PODS}}})", "{{pod}}"),
    ),
    panel(
        "Brokers away",
        SECONDS,
        "For how long the brokers have not answered, as the pod tells that has waited the longest.",
        (f"max by (pod) (monopod_offline_brokers_away_seconds{{{PODS}}})", "{{pod}}"),
    ),
    panel(
        "Lost to retention",
        COUNT,
        "Records that the topic's retention deleted before they were read, in the interval.",
        (f"sum(increase(monopod_offline_lost_records_total{{{PODS}}}[{INTERVAL}]))", "lost"),
    ),
)
SINK_ROW = row(
    "Sinks",
    panel(
        "Time of a write",
        SECONDS,
        "Time of one write to a sink, which may hold many answers. p50 and p99.",
        *quantiles((0.5, 0.99), "monopod_offline_sink_duration_seconds", PODS, "sink", "{{sink}}"),
    ),
    panel(
        "Answers that wait",
        COUNT,
        "Answers that wait for a sink. While it is away they grow up to the windows of all partitions.",
        (f"sum by (sink) (monopod_offline_sink_waiting{{{PODS}}})", "{{sink}}"),
    ),
    panel(
        "Away",
        SECONDS,
        "For how long a sink has not been reachable, as the pod tells that has waited the longest.",
        (f"max by (sink) (monopod_offline_sink_away_seconds{{{PODS}}})", "{{sink}}"),
    ),
)
FAILURE_ROW = row(
    "What goes wrong",
    panel(
        "Dead letters by reason",
        EVENTS,
        "Records given up for good a second. No line is good news.",
        (total(f"monopod_offline_dead_letters_total{{{PODS}}}", "reason"), "{{reason}}"),
    ),
    panel(
        "Further tries",
        EVENTS,
        "Tries a second of records whose error may pass.",
        (total(f"monopod_offline_retries_total{{{PODS}}}"), "tries"),
    ),
    panel(
        "Reading is stopped",
        COUNT,
        "1 while the model fails for over half of the records, so that a pod reads none.",
        (f"max by (pod) (monopod_offline_held{{{PODS}}})", "{{pod}}"),
    ),
)
GROUP_ROW = row(
    "The group",
    panel(
        "Partitions by pod",
        COUNT,
        "Partitions that each pod reads. A pod without any waits for one to come free.",
        (f"sum by (pod) (monopod_offline_partitions{{{PODS}}})", "{{pod}}"),
    ),
    panel(
        "Commits by outcome",
        EVENTS,
        "Commits of offsets a second. Failed ones are done again with the next.",
        (total(f"monopod_offline_commits_total{{{PODS}}}", "outcome"), "{{outcome}}"),
    ),
    panel(
        "Rebalances",
        COUNT,
        "Changes of a pod's partitions in the interval. A release and an autoscaler change them without harm.",
        (f"sum by (pod) (increase(monopod_offline_rebalances_total{{{PODS}}}[{INTERVAL}]))", "{{pod}}"),
    ),
)

OFFLINE = Dashboard(
    "monopod-offline",
    "Monopod / Offline",
    "A service's offline pods: the records that wait, those finished, the sinks, dead letters, and a mark at each release.",
    (
        variables.REGION_CHOICE,
        variables.USER_CHOICE,
        SERVICES,
        variables.TRACK_CHOICE,
        variables.namespace(),
        variables.POD_CHOICE,
        *variables.targets(f'{INFO}{{{NAMED},track=~"$track"}}'),
    ),
    (RECORD_ROW, SINK_ROW, FAILURE_ROW, GROUP_ROW),
    releases=variables.releases(PODS),
)
