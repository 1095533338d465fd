"""The rules between settings. A rule returns None where it holds.

Otherwise it returns the names of the settings that it compares, and a sentence that says what to change.
"""

from collections import Counter
from collections.abc import Callable
from itertools import combinations

from serving.settings.declarations import SESSION_GIB, Settings, process_memory
from serving.settings.gpu_memory import remaining, shares
from serving.settings.offline_names import MAX_TOPIC, SUFFIXED, dead_topic_of, group_of, sink_of, topic_of
from serving.settings.validators import size_in_bytes
from serving.settings.weekly_hours import WEEK, fault, hours_of, overlap, spans

Violation = tuple[tuple[str, ...], str]
Rule = Callable[[Settings], Violation | None]

LEAST_MEMORY = 64 * 2**20  # bytes for the process beside /dev/shm, as little as memory may be
MAX_OFFLINE_NAME = 32  # characters of service_name, which "-offline" and Kubernetes' and KEDA's additions follow


def _covers(limit: str, least: str, without: str) -> Rule:
    """Return the rule that a limit, where it is set, is at least another setting. without: what 0 stands for, in words."""

    def rule(s: Settings) -> Violation | None:
        high, low = getattr(s, limit), getattr(s, least)
        if not high or high >= low:
            return None
        return (limit, least), f"{limit} is {high:g} and {least} {low:g}: make {limit} at least {least}, or 0 for {without}"

    return rule


def _differ(names: str) -> Rule:
    """Return the rule that no item of a list stands in it twice."""

    def rule(s: Settings) -> Violation | None:
        twice = [name for name, count in Counter(getattr(s, names)).items() if count > 1]
        return ((names,), f'{names} has "{twice[0]}" more than once: name it once') if twice else None

    return rule


def memory_covers_its_request(s: Settings) -> Violation | None:
    if size_in_bytes(s.memory_request) <= size_in_bytes(s.memory):
        return None
    return ("memory_request", "memory"), (
        f"memory_request is {s.memory_request} and memory {s.memory}, which is the most that a pod may take: ask for"
        f" {s.memory} or less, or take memory_request out"
    )


def shared_memory_leaves_some(s: Settings) -> Violation | None:
    if not size_in_bytes(s.shared_memory) or process_memory(s) >= LEAST_MEMORY:
        return None
    return ("shared_memory", "memory"), (
        f"shared_memory is {s.shared_memory} and counts against memory, which is {s.memory}, so that less than"
        f" {LEAST_MEMORY // 2**20}Mi are left for the process: raise memory, or lower shared_memory"
    )


def gpu_provider_has_gpu(s: Settings) -> Violation | None:
    if s.provider not in ("cuda", "tensorrt") or s.gpu_memory or s.gpu_num:
        return None
    return ("provider", "gpu_memory"), f'provider is "{s.provider}" and gpu_memory is 0: set gpu_memory, or provider = "cpu"'


def shares_fit_gpu_memory(s: Settings) -> Violation | None:
    """Compare nothing where gpu_memory is 0, as in a region without GPUs: there is nothing to share."""
    least, left = (SESSION_GIB if s.model_path else 0.0), remaining(s)
    if not s.gpu_memory or not shares(s) or left > least or (left == least == 0):
        return None
    taken = sum(shares(s).values())
    rest = f", which leaves model_path's model {max(left, 0):g}, and it needs more than {least:g}" if s.model_path else ""
    words = ", ".join(f"{name} {gib:g}" for name, gib in shares(s).items())
    return ("model_gpu_memory", "on_demand_gpu_memory", "gpu_memory"), (
        f"gpu_memory is {s.gpu_memory:g} GiB, and its shares take {taken:g} ({words}){rest}: lower them, or set"
        f" gpu_memory = {taken + 2 * least:g} or more"
    )


def shares_hold_a_session(s: Settings) -> Violation | None:
    if not 0 < s.on_demand_gpu_memory <= SESSION_GIB:
        return None
    return ("on_demand_gpu_memory",), (
        f"on_demand_gpu_memory is {s.on_demand_gpu_memory:g}, and a session takes {SESSION_GIB:g} GiB beside its arena:"
        f" set more than {SESSION_GIB:g}, or 0 where no model is loaded on first use"
    )


def shares_name_other_models(s: Settings) -> Violation | None:
    if not s.model_path or s.service_name not in s.model_gpu_memory:
        return None
    return ("model_gpu_memory",), (
        f"model_gpu_memory names {s.service_name!r}, which is model_path's model and has what the others leave: take it out"
    )


def fp16_has_tensorrt(s: Settings) -> Violation | None:
    if not s.fp16 or s.provider == "tensorrt":
        return None
    return ("fp16", "provider"), f'fp16 works with provider = "tensorrt" alone, and provider is "{s.provider}"'


def hours_can_be_read(s: Settings) -> Violation | None:
    for text in s.scale_hours:
        if words := fault(text):
            return ("scale_hours",), f'scale_hours has "{text}": {words}'
    return None


def hours_do_not_overlap(s: Settings) -> Violation | None:
    for one, other in combinations(hours_of(s.scale_hours), 2):
        if when := overlap(one, other):
            return ("scale_hours",), (
                f'scale_hours has "{one.text}" and "{other.text}", which both hold on {when}: let one end where'
                " the other begins"
            )
    return None


def hours_leave_a_part_of_the_week(s: Settings) -> Violation | None:
    hours = hours_of(s.scale_hours)
    whole = next((each for each in spans(hours) if each.minutes >= WEEK), None)
    if whole is None:
        return None
    return ("scale_hours", "replicas"), (
        f"scale_hours asks for {whole.pods} pods all week: set replicas = {whole.pods}, and take those hours out"
    )


def hours_add_pods(s: Settings) -> Violation | None:
    """A region without replicas runs none in its hours either."""
    low = next((each for each in hours_of(s.scale_hours) if s.replicas and each.pods < s.replicas), None)
    if low is None:
        return None
    return ("scale_hours", "replicas"), (
        f'scale_hours has "{low.text}", and replicas is {s.replicas}, which is the least at any hour: set replicas ='
        f" {low.pods}, and give the other hours more"
    )


def hours_fit_max_replicas(s: Settings) -> Violation | None:
    high = next((each for each in hours_of(s.scale_hours) if s.max_replicas and each.pods > s.max_replicas), None)
    if high is None:
        return None
    return ("scale_hours", "max_replicas"), (
        f'scale_hours has "{high.text}", and max_replicas is {s.max_replicas}: raise max_replicas to {high.pods} or more, or'
        " ask for fewer pods"
    )


def latency_objective_is_below_timeout(s: Settings) -> Violation | None:
    most = 1000 * s.timeout_second
    if s.objective_latency_ms < most:
        return None
    return ("objective_latency_ms", "timeout_second"), (
        f"objective_latency_ms is {s.objective_latency_ms:g} and timeout_second {s.timeout_second:g}, so that every answer"
        f" would be good: set less than {most:g} ms, or 0 for half of timeout_second"
    )


def srv_has_a_port(s: Settings) -> Violation | None:
    if not s.use_srv or s.host_port:
        return None
    return ("use_srv", "host_port"), "use_srv is True and host_port is not set: name a port of the node, or set use_srv = False"


def cache_redis_has_an_address(s: Settings) -> Violation | None:
    if s.cache != "redis" or s.env_secret:
        return None
    return ("cache", "env_secret"), (
        'cache is "redis" and env_secret is not set: put REDIS_URL, as redis://host:6379/0, into a Secret and name it, as'
        ' env_secret = "redis"; or set cache = "local"'
    )


def offline_source_has_sinks(s: Settings) -> Violation | None:
    if not s.offline_source or s.offline_sinks:
        return None
    return ("offline_source", "offline_sinks"), (
        f'offline_source is "{s.offline_source}" and offline_sinks is empty, so that no answer would be kept: name a sink, as'
        ' offline_sinks = ["kafka:like-ages"]'
    )


def offline_source_is_no_sink(s: Settings) -> Violation | None:
    if not s.offline_source or s.offline_source not in s.offline_sinks:
        return None
    return ("offline_sinks", "offline_source"), (
        f'"{s.offline_source}" is offline_source and one of offline_sinks: each answer would be read as a record again, for'
        " ever; take it out of the one or the other"
    )


def offline_tracks_stay_apart(s: Settings) -> Violation | None:
    """The sinks of grey and ab have a suffix, and may not be called as what prod reads or writes."""
    taken = (s.offline_source, *s.offline_sinks) if s.offline_source else ()
    clash = [(sink, track) for sink in s.offline_sinks for track in SUFFIXED if sink_of(sink, track) != sink]
    found = next(((sink, track) for sink, track in clash if sink_of(sink, track) in taken), None)
    if found is None:
        return None
    sink, track = found
    return ("offline_sinks", "offline_source"), (
        f'the track {track} writes to "{sink_of(sink, track)}" in place of "{sink}", and prod uses that name already: rename'
        " one of them"
    )


def offline_dead_letters_have_a_topic(s: Settings) -> Violation | None:
    if not s.offline_source:
        return None
    group = group_of(s.offline_group, s.username, s.service_name, "grey")
    dead = dead_topic_of(topic_of(s.offline_source), group)
    if len(dead) > MAX_TOPIC:
        return ("offline_group", "offline_source"), (
            f"the topic of grey's dead letters, {dead[:40]}..., has {len(dead)} characters, and Kafka allows {MAX_TOPIC}:"
            " shorten offline_group"
        )
    own = dead_topic_of(topic_of(s.offline_source), group_of(s.offline_group, s.username, s.service_name, "prod"))
    if f"kafka:{own}" in s.offline_sinks:
        return ("offline_sinks",), f'"kafka:{own}" is the topic of the dead letters: name another sink'
    return None


def offline_name_leaves_room(s: Settings) -> Violation | None:
    if not s.offline_source or len(s.service_name) <= MAX_OFFLINE_NAME:
        return None
    return ("service_name", "offline_source"), (
        f"service_name has {len(s.service_name)} characters, and with offline_source it may have {MAX_OFFLINE_NAME}, since"
        f" the offline pods are called {s.service_name}-offline: shorten it"
    )


def offline_key_has_a_table(s: Settings) -> Violation | None:
    if not s.offline_key or any(sink.startswith("postgresql:") for sink in s.offline_sinks):
        return None
    return ("offline_key", "offline_sinks"), (
        "offline_key is the key of a table's rows, and offline_sinks names no table: take offline_key out, or add a sink as"
        ' "postgresql:ages"'
    )


def offline_retry_cap_covers_the_first(s: Settings) -> Violation | None:
    if s.offline_retry_cap_second >= s.offline_retry_second:
        return None
    return ("offline_retry_cap_second", "offline_retry_second"), (
        f"offline_retry_cap_second is {s.offline_retry_cap_second:g} and offline_retry_second {s.offline_retry_second:g}: the"
        " longest time between two tries cannot be below the first; raise the one or lower the other"
    )


RULES: tuple[Rule, ...] = (
    _covers("cpu_limit", "cpu", "none"),
    memory_covers_its_request,
    shared_memory_leaves_some,
    gpu_provider_has_gpu,
    shares_fit_gpu_memory,
    shares_hold_a_session,
    shares_name_other_models,
    fp16_has_tensorrt,
    _covers("max_replicas", "replicas", "no scaling"),
    hours_can_be_read,
    hours_do_not_overlap,
    hours_leave_a_part_of_the_week,
    hours_add_pods,
    hours_fit_max_replicas,
    latency_objective_is_below_timeout,
    srv_has_a_port,
    cache_redis_has_an_address,
    offline_source_has_sinks,
    offline_source_is_no_sink,
    _differ("offline_sinks"),
    offline_tracks_stay_apart,
    offline_dead_letters_have_a_topic,
    _covers("offline_max_replicas", "offline_replicas", "no scaling"),
    offline_name_leaves_room,
    offline_key_has_a_table,
    _differ("offline_key"),
    offline_retry_cap_covers_the_first,
)
