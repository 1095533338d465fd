"""The health of a track: well, a warning, or critical, with a reason in words for each, and its troubles by its alerts.

Pure: asks nobody. Latency and errors of a few requests say nothing, so they are judged from MIN_REQUESTS on. Offline pods
should use all cores while records wait, so cores are not judged there.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conf.base.matchers import matchers, one_of
from conf.base.quantities import counted, readable_bytes, shares, significant
from conf.observe.figures import PodFigures, TrackFigures
from conf.observe.prometheus import Sample
from conf.plan.burn_rates import COUNTED, COUNTED_FAILED
from conf.plan.platform_alerts import DEAD_LETTERS_WARN, QUEUE_WARNS, SINK_AWAY_WARNS
from conf.render.arms import arm_names
from serving.settings import Settings

WELL, WARNING, CRITICAL, UNKNOWN, TOO_NEW = "well", "warning", "critical", "unknown", "too new to judge"
WORST_FIRST = (CRITICAL, UNKNOWN, TOO_NEW, WARNING, WELL)
MIN_REQUESTS = 10
NEW_SECONDS = 60.0  # for which a version may have too few answers to be judged: two scrapes tell a rate
RESTARTS = (1.0, 3.0)  # in an hour
QUEUE_SHARES = (QUEUE_WARNS, 1.0)  # of timeout_second, the deadline
ERROR_FACTORS = (1.0, 10.0)  # times the share of answers that the objective lets fail
DEAD_LETTERS = (DEAD_LETTERS_WARN, 0.5)  # a share of the records; over half of them, reading stops
AWAY = (60.0, float(SINK_AWAY_WARNS))  # seconds for which a sink or the brokers are not reachable
NEVER = (math.inf, math.inf)
MAX_FAILING = 0.5  # a share of the answers from which on a release is not good, whatever its pods say
FAIL, FIRE = "requests fail", "alerts fire"
Levels = tuple[float, float]  # at which a figure is a warning, and critical


@dataclass(frozen=True)
class Reason:
    """A reason for concern. level: any of WORST_FIRST but WELL. fails: whether answers fail."""

    level: str
    words: str
    fails: bool = False


@dataclass(frozen=True)
class Limits:
    """The levels of each figure. latency, queue_age: seconds. The others are shares of 1, but for restarts.

    still: seconds within which a record must be finished while others wait.
    """

    latency: Levels
    memory: Levels
    cores: Levels
    errors: Levels
    queue_age: Levels
    restarts: Levels = RESTARTS
    still: float = math.inf


def limits_of(settings: Settings, offline: bool = False) -> Limits:
    """Return the levels that a service's settings ask for. offline: of its offline pods."""
    if offline:
        memory, still = shares(settings.memory_levels), 2 * settings.offline_timeout_second
        return Limits(NEVER, memory, NEVER, DEAD_LETTERS, NEVER, still=still)
    return Limits(
        latency=settings.latency_levels,
        memory=shares(settings.memory_levels),
        cores=shares(settings.cpu_levels),
        errors=_scaled(ERROR_FACTORS, 1 - settings.objective_success),
        queue_age=_scaled(QUEUE_SHARES, settings.timeout_second),
    )


def level(value: float | None, levels: Levels) -> str:
    """Return the level that a figure has reached. A figure that is not known is WELL, and another reason tells why."""
    if value is None or value < levels[0]:
        return WELL
    return WARNING if value < levels[1] else CRITICAL


def worst(levels: Sequence[str]) -> str:
    return next((each for each in WORST_FIRST if each in levels), WELL)


def reasons(track: TrackFigures, limits: Limits) -> list[Reason]:
    """Return every reason for concern about a track, the gravest first."""
    if track.trouble:  # what Kubernetes knows is judged all the same
        found = [Reason(UNKNOWN, track.trouble), *(() if track.unseen else _pods(track))]
    else:
        work = _records if track.offline else _requests
        found = [*_pods(track), *_new(track), *work(track, limits), *(each for pod in track.pods for each in _pod(pod, limits))]
    return sorted(found, key=lambda each: WORST_FIRST.index(each.level))


def _pods(track: TrackFigures) -> Iterator[Reason]:
    if track.wanted and not track.ready:
        yield Reason(CRITICAL, f"no pod is ready, and value.py asks for {track.wanted}: `monopod status` says why")
    elif track.ready < track.wanted:
        yield Reason(WARNING, f"{track.ready} of {track.wanted} pods are ready: `monopod status` says why")
    if track.states.lost:
        yield Reason(level(float(len(track.states.lost)), RESTARTS), track.states.lost_words)
    yield from (Reason(WARNING, f"{pod}: {words}") for pod, words in track.states.waiting)


def _new(track: TrackFigures) -> Iterator[Reason]:
    """Yield each version that is new, and has too few answers to be judged."""
    answers = {pod.pod: (pod.valid or 0.0) * track.seconds for pod in track.pods}
    for version in sorted({version for _, version, _ in track.states.ready}):
        pods = [(name, seconds) for name, its, seconds in track.states.ready if its == version]
        told, age = sum(answers.get(name, 0.0) for name, _ in pods), max(seconds for _, seconds in pods)
        # A pod has a rate of its cores from its second scrape on, whether it is asked anything or not.
        is_measured = any(pod.cores is not None for pod in track.pods if pod.pod in dict(pods))
        if told < MIN_REQUESTS and (age < NEW_SECONDS or not is_measured):
            of = f"{told:.0f} of its {'records' if track.offline else 'answers'} are counted"
            yield Reason(TOO_NEW, f"version {version} has been ready for {age:.0f} s, and {of}: ask again in a minute")


def _requests(track: TrackFigures, limits: Limits) -> Iterator[Reason]:
    rate, valid = track.sum("rate") or 0.0, track.sum("valid") or 0.0
    errors, refused = track.sum("errors") or 0.0, track.sum("refused") or 0.0
    if refused > 0:
        yield Reason(
            WARNING, f"{significant(refused, 2)} requests a second are refused with 429, since the queue is full: add pods"
        )
    are_enough = valid * track.seconds >= MIN_REQUESTS
    if are_enough and (found := level(errors / valid, limits.errors)) != WELL:
        yield Reason(
            found, f"{significant(100 * errors / valid, 2)} % of the answers are 5xx (from {_percent(limits.errors)})", True
        )
    if rate * track.seconds >= MIN_REQUESTS and (found := level(track.p95, limits.latency)) != WELL:
        yield Reason(found, f"5 % of the answers take {significant(track.p95 or 0.0)} s or longer ({_from(limits.latency)} s)")


def _records(track: TrackFigures, limits: Limits) -> Iterator[Reason]:
    rate, errors = track.sum("rate") or 0.0, track.sum("errors") or 0.0
    lag = track.sum("queue_rows") or 0.0
    if rate * track.seconds >= MIN_REQUESTS and (found := level(errors / rate, limits.errors)) != WELL:
        yield Reason(
            found,
            f"{significant(100 * errors / rate, 2)} % of the records become dead letters (from {_percent(limits.errors)})",
        )
    if lag and not rate and track.seconds >= limits.still:
        yield Reason(WARNING, f"{lag:.0f} records wait, and none was finished in {track.seconds:.0f} s")
    for pod in track.pods:
        if pod.held:
            yield Reason(CRITICAL, f"{pod.pod} has stopped reading, since the model fails for most records: see `monopod logs`")
        if (found := level(pod.away, AWAY)) != WELL:
            yield Reason(found, f"{pod.pod}: a sink or the brokers have been away for {pod.away:.0f} s ({_from(AWAY)} s)")


def _pod(pod: PodFigures, limits: Limits) -> Iterator[Reason]:
    if (found := level(pod.memory_share, limits.memory)) != WELL and pod.memory and pod.memory_limit:
        of = f"{readable_bytes(pod.memory)} of {readable_bytes(pod.memory_limit)}"
        yield Reason(found, f"{pod.pod} uses {100 * pod.memory / pod.memory_limit:.0f} % of its memory, {of}")
    if (found := level(pod.cores_share, limits.cores)) != WELL and pod.cores and pod.cores_asked:
        of = f"{significant(pod.cores, 2)} of {pod.cores_asked:g}"
        yield Reason(found, f"{pod.pod} uses {100 * pod.cores / pod.cores_asked:.0f} % of the cores it asks for, {of}")
    if (found := level(pod.queue_age, limits.queue_age)) != WELL:
        yield Reason(
            found, f"{pod.pod}: the oldest row waits {significant(pod.queue_age or 0.0)} s ({_from(limits.queue_age)} s)"
        )
    if (found := level(pod.restarts, limits.restarts)) != WELL:
        yield Reason(
            found, f"{pod.pod} restarted {counted(round(pod.restarts or 0), 'time')} in an hour: `monopod status` says why"
        )


def _scaled(levels: Levels, factor: float) -> Levels:
    return levels[0] * factor, levels[1] * factor


def _from(levels: Levels) -> str:
    return f"a warning from {levels[0]:g}, critical from {levels[1]:g}"


def _percent(levels: Levels) -> str:
    return f"{100 * levels[0]:g} % a warning, from {100 * levels[1]:g} % critical"


def troubles_query(service: str, offline: str, namespace: str) -> str:
    """Return one query for the alerts, and for the share of the last two minutes' answers that failed."""
    where = f"{matchers(namespace=namespace)},{one_of('service', (service, *arm_names(service)))}"
    failed, counted = (f"sum(rate(monopod_requests_total{{{where},{which}}}[2m]))" for which in (COUNTED_FAILED, COUNTED))
    either = one_of("service", (service, offline, *arm_names(service)))
    return f'ALERTS{{alertstate="firing",{matchers(namespace=namespace)},{either}}} or {failed} / {counted}'


def present_troubles(samples: Sequence[Sample]) -> list[tuple[str, str]]:
    """Return each trouble, the gravest first: its kind, and a sentence with what to look at."""
    alerts = {each.labels["alertname"]: each.labels.get("severity", "") for each in samples if "alertname" in each.labels}
    failed = next((each.value or 0.0 for each in samples if not each.labels), 0.0)
    found = []
    if failed > MAX_FAILING:
        share = f"{significant(100 * failed, 2)} % of the answers of the last two minutes are 5xx"
        found.append((FAIL, f"{share}: `monopod health` names the pods and their errors"))
    if alerts:
        names = ", ".join(f"{name} ({severity})" if severity else name for name, severity in sorted(alerts.items()))
        found.append((FIRE, f"alerts fire: {names}; docs/runbook.md says what to do"))
    return found
