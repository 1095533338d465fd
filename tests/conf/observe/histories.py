"""A history of nine days of a service, as series of its metrics: an hour that failed, one that was slow, a release.

The release brought another objective_latency_ms: the histogram of the pod before it has a bound of 2 s, and none of 1 s.
The series are written by promtool into a real Prometheus.
"""

from collections.abc import Mapping, Sequence

DAYS = 9
STEP = 240.0  # seconds between two samples
HOUR = 15  # steps
STEPS = DAYS * 24 * HOUR
LABELS = 'namespace="like",service="small",pod="small-1"'
LABELS_BEFORE = 'namespace="like",service="small",pod="small-0"'
BOUNDS = ("0.02", "0.1", "1.0", "15.0", "+Inf")
BOUNDS_BEFORE = ("0.02", "0.1", "2.0", "15.0", "+Inf")
BAD_HOUR, SLOW_HOUR, RELEASE = STEPS - 30 * HOUR, STEPS - 50 * HOUR, STEPS - 72 * HOUR
RATE = 60.0  # requests in each step
MEMORY = 200 * 2.0**20  # bytes

Metric = tuple[str, Sequence[float | None]]


def offline_history() -> Mapping[str, Metric]:
    """Return each series of an offline pod with its type and its values: an hour of dead letters, and one of lag."""
    labels = 'namespace="like",service="small-offline",pod="small-offline-1"'
    answered, dead, lag = ([0.0] * STEPS for _ in range(3))
    for step in range(1, STEPS):
        is_bad, is_slow = (at <= step < at + HOUR for at in (BAD_HOUR, SLOW_HOUR))
        answered[step] = answered[step - 1] + RATE
        dead[step] = dead[step - 1] + (30.0 if is_bad else 0.0)
        lag[step] = 7000.0 if is_slow else 5.0
    return {
        f'monopod_offline_records_total{{{labels},outcome="answered"}}': ("counter", answered),
        f'monopod_offline_records_total{{{labels},outcome="dead"}}': ("counter", dead),
        f'monopod_offline_dead_letters_total{{{labels},reason="bad_input"}}': ("counter", dead),
        f'monopod_offline_lag_records{{{labels},topic="videos",partition="0"}}': ("gauge", lag),
        f"monopod_ready{{{labels}}}": ("gauge", [1.0] * STEPS),
        f"process_resident_memory_bytes{{{labels}}}": ("gauge", [MEMORY] * STEPS),
        f"process_cpu_seconds_total{{{labels}}}": ("counter", [230.0 * step for step in range(STEPS)]),
        f'monopod_price_per_month{{{labels},currency="CNY"}}': ("gauge", [73.0] * STEPS),
        f'monopod_release_info{{{labels},version="7"}}': ("gauge", [1.0] * STEPS),
    }


def history() -> Mapping[str, Metric]:
    """Return each series with its type and its values."""
    requests, failed, refused, slow = ([0.0] * STEPS for _ in range(4))
    for step in range(1, STEPS):
        is_bad, is_slow = (at <= step < at + HOUR for at in (BAD_HOUR, SLOW_HOUR))
        requests[step] = requests[step - 1] + RATE
        failed[step] = failed[step - 1] + (30.0 if is_bad else 0.0)
        refused[step] = refused[step - 1] + (20.0 if is_bad else 0.0)
        slow[step] = slow[step - 1] + (40.0 if is_slow else 0.0)
    found: dict[str, Metric] = {
        f'monopod_requests_total{{{LABELS},route="service",code="200",reason=""}}': ("counter", requests),
        f'monopod_requests_total{{{LABELS},route="service",code="500",reason="internal"}}': ("counter", failed),
        f'monopod_requests_total{{{LABELS},route="refused",code="429",reason="queue_full"}}': ("counter", refused),
        f'monopod_shed_total{{{LABELS},reason="queue_full"}}': ("counter", refused),
        f"monopod_ready{{{LABELS}}}": ("gauge", [1.0] * STEPS),
        f"process_resident_memory_bytes{{{LABELS}}}": ("gauge", [MEMORY] * STEPS),
        f"process_cpu_seconds_total{{{LABELS}}}": ("counter", [120.0 * step for step in range(STEPS)]),
        f'monopod_price_per_month{{{LABELS},currency="CNY"}}': ("gauge", [73.0] * STEPS),
        f'monopod_release_info{{{LABELS},version="<b>old</b>"}}': ("gauge", [*[1.0] * RELEASE, *[None] * (STEPS - RELEASE)]),
        f'monopod_release_info{{{LABELS},version="<b>new</b>"}}': ("gauge", [*[None] * RELEASE, *[1.0] * (STEPS - RELEASE)]),
    }
    answers = "monopod_answer_duration_seconds"
    in_time = [each - late for each, late in zip(requests, slow, strict=True)]
    for bound, counts in zip(BOUNDS, ([0.0] * STEPS, in_time, in_time, requests, requests), strict=True):
        found[f'{answers}_bucket{{{LABELS},route="service",le="{bound}"}}'] = ("histogram", counts)
    until_release = [RATE * step if step < RELEASE else None for step in range(STEPS)]
    for bound in BOUNDS_BEFORE:
        found[f'{answers}_bucket{{{LABELS_BEFORE},route="service",le="{bound}"}}'] = ("histogram", until_release)
    batches = "monopod_batch_rows"
    for bound, share in (("1.0", 0.1), ("2.0", 0.2), ("4.0", 0.3), ("8.0", 1.0), ("+Inf", 1.0)):
        found[f'{batches}_bucket{{{LABELS},model="small",le="{bound}"}}'] = ("histogram", [share * each for each in requests])
    for stage, seconds in (("queue", 0.05), ("infer", 0.02)):
        for part, values in (("sum", [seconds * each for each in requests]), ("count", requests)):
            found[f'monopod_stage_duration_seconds_{part}{{{LABELS},stage="{stage}"}}'] = ("histogram", values)
    return found
