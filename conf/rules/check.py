"""The check of a service: it is read, planned, judged and rendered, and all mistakes are reported at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

from conf.base.image_names import Image, image
from conf.clusters.regions import Regions
from conf.plan import alerts, own_panels, own_pod
from conf.plan.placement import monthly_price
from conf.plan.plan import NAMESPACES, TRACKS, Own, default_image, mean_pods, plan
from conf.render.templates import Rendered
from conf.rules import canary_rules, model_loading, offline_rules, other_services, pod_fit, rendered_objects, traffic
from conf.rules.context import Rule, RuleContext, Violation
from conf.rules.model_files import ModelFiles, model_files
from conf.rules.other_services import OtherService
from conf.rules.own_alerts import own_alert_mistakes, own_panel_mistakes
from conf.rules.own_image import package_mistakes, service_dockerfile_mistakes
from serving.settings import SettingsError, ValueFile, faults_of_server, load, misnamed_hooks, skip_wrong, skip_wrong_items
from serving.settings.reader import ConfigError

T = TypeVar("T")
RULES: tuple[Rule, ...] = (*pod_fit.RULES, *model_loading.RULES, *traffic.RULES, *offline_rules.RULES)
# Where a service has offline pods alone, no request comes, and these are not asked.
ONLINE_RULES: tuple[Rule, ...] = (*traffic.ONLINE_RULES, *canary_rules.ONLINE_RULES)
SERVICE_RULES = (*other_services.RULES, *offline_rules.SERVICE_RULES, *canary_rules.SERVICE_RULES)


@dataclass(frozen=True)
class Service:
    """A service as its folder describes it. own: what it adds to the platform's."""

    value: ValueFile
    image: Image
    own: Own


@dataclass(frozen=True)
class OfflineRow:
    """The offline pods of a row. Sinks, group and dead letters have the track's suffix."""

    replicas: int
    source: str
    group: str
    sinks: tuple[str, ...]
    dead_letters: str


@dataclass(frozen=True)
class HoursRow:
    """The hours of the online pods of a row of prod. mean_pods: over a week."""

    hours: tuple[str, ...]
    timezone: str
    mean_pods: float


@dataclass(frozen=True)
class Row:
    """One track in one region, for a person.

    replicas: of its online pods, outside the hours. answers: its addresses from outside.
    price: of all its pods for a month, as many as their hours make on average; None where no kind of node takes one.
    hours: None where it has none. offline: None where it has no offline pods.
    """

    region: str
    track: str
    replicas: int
    cpu: float
    memory: str
    gpu_memory: float
    answers: tuple[str, ...]
    price: float | None
    hours: HoursRow | None = None
    offline: OfflineRow | None = None


@dataclass
class Report:
    """The result of a check. service: as far as it was read, None where value.py cannot be read.

    rows: what would run. rendered: its objects. Both are empty where reading found a mistake.
    """

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    rendered: list[Rendered] = field(default_factory=list)
    service: Service | None = None


def read(service: Path, regions: Regions, image_name: str = "") -> tuple[Service | None, list[str]]:
    """Return a service as far as it can be read in spite of mistakes, None where value.py cannot be read, and the mistakes.

    service: a folder. An empty image_name is the name that a build will give.
    """
    mistakes: list[str] = []
    value: ValueFile | None
    try:
        value = load(service / "value.py", tuple(regions.regions))
    except SettingsError as error:
        mistakes.extend(error.mistakes)
        value = error.rest
    own = Own(
        alerts=_read_file(alerts.load, service, mistakes) or (),
        pod=_read_file(own_pod.load, service, mistakes) or own_pod.NOTHING,
        panels=_read_file(own_panels.load, service, mistakes) or (),
    )
    try:
        default = default_image(value.settings, regions) if value else "x:x"
        named = image(image_name or default)
    except ValueError:
        mistakes.append(f"--image: {image_name!r} is not the name of an image; write one as registry.example.com/like/demo:1.0")
        named = image(default)
    return (Service(value, named, own) if value else None), mistakes


def _read_file(load_file: Callable[[Path], T], service: Path, mistakes: list[str]) -> T | None:
    """Return what a file of a service holds. None where it cannot be used; its mistakes are added then."""
    try:
        return load_file(service)
    except ConfigError as error:
        mistakes.extend(error.mistakes)
        return None


def check(
    service: Path, regions: Regions, tracks: Sequence[str] = TRACKS, image_name: str = "", others: Sequence[OtherService] = ()
) -> Report:
    """Return all that is wrong with a service, the objects of its plans included. The arguments are those of `judge`."""
    report = judge(service, regions, tracks, image_name, others)
    report.mistakes = sorted((*report.mistakes, *objections(report.rendered)), key=_place)
    return report


def judge(
    service: Path, regions: Regions, tracks: Sequence[str] = TRACKS, image_name: str = "", others: Sequence[OtherService] = ()
) -> Report:
    """Return what is wrong with a service's settings, model, alerts, panels and Dockerfile. Nothing is rendered yet.

    After a mistake, everything is judged that does not depend on it.
    service: a folder. others: services of the same clusters. An empty image_name is the name that a build will give.
    """
    found, mistakes = read(service, regions, image_name)
    wrong, doubtful = faults_of_server(service)
    report = Report([*mistakes, *wrong], [*misnamed_hooks(service), *doubtful], service=found)
    report.mistakes += [*service_dockerfile_mistakes(service), *package_mistakes(service)]
    if found is None:
        return report
    files = cache(partial(model_files, service))  # tracks and regions share them
    contexts = [context for track in tracks for context in _contexts(found, regions, track, files)]
    _judge(report, found, contexts, others, regions)
    if "prod" in tracks and not any(context.is_prod for context in contexts):
        reads = any(settings.offline_source for settings in (found.value.checkable_in(name) for name in regions.regions))
        what, cure = ("replicas and offline_replicas are", "one of them") if reads else ("replicas is", "it")
        place = found.value.place("replicas")
        report.mistakes.append(f"{place}: {what} 0 in every region, so nothing would run; set {cure} in one")
    if not mistakes:
        report.rows = list(map(_row, contexts))
        report.rendered = [Rendered(context.plan) for context in contexts]
    report.mistakes.sort(key=_place)
    return report


def _judge(
    report: Report, found: Service, contexts: Sequence[RuleContext], others: Sequence[OtherService], regions: Regions
) -> None:
    report.warnings.extend(found.value.warnings)
    report.warnings.extend(skip_wrong(_alert_warnings, found) or ())
    report.mistakes.extend(own_alert_mistakes(found.own.alerts))
    report.mistakes.extend(own_panel_mistakes(found.own.panels))
    asked = [(context, rule) for context in contexts for rule in (*RULES, *(ONLINE_RULES if context.plan.online else ()))]
    _add(report, [(context, item) for context, rule in asked for item in skip_wrong_items(rule(context))])
    beside = [rule(found.value, others, regions) for rule in SERVICE_RULES]
    beside.append(other_services.namespace_is_within_quota(found.value, others, regions, found.own.pod))
    for violations in beside:
        _add(report, [(None, item) for item in skip_wrong_items(violations)], found.value)


def objections(rendered: Iterable[Rendered]) -> list[str]:
    """Return what is wrong with rendered objects. The rules are asked only of objects that their schemas allow."""
    found = []
    for each in rendered:
        wrong = [words for item in each.items for words in rendered_objects.violations(item)]
        wrong = wrong or [words for rule in rendered_objects.RULES for words in rule(each.items)]
        found += [f"templates ({each.plan.region}, {each.plan.track}): {words}" for words in wrong]
    return found


def _alert_warnings(found: Service) -> list[str]:
    own = found.value.checkable_in()
    return alerts.copied_rule_warnings(found.own.alerts, own.service_name, (own.username, *NAMESPACES.values()))


def _place(mistake: str) -> tuple[str, int]:
    """Return the key that orders mistakes by file and line."""
    file, _, rest = mistake.partition(":")
    line = rest.partition(":")[0]
    return file, int(line) if line.isdigit() else 0


def _contexts(found: Service, regions: Regions, track: str, files: Callable[[str], ModelFiles]) -> Iterator[RuleContext]:
    for each in plan(found.value, regions, track, found.image, found.own):
        settings = found.value.checkable_in(each.region)
        model = files(found.value.in_region(each.region).model_path)
        yield RuleContext(found.value, settings, regions, regions.regions[each.region], found.image, model, each)


def _add(report: Report, violations: Iterable[tuple[RuleContext | None, Violation]], value: ValueFile | None = None) -> None:
    """Add a sentence for each violation, and only one where several regions share it. value: where it has no context."""
    places: dict[tuple[str, str, bool], dict[str, None]] = {}
    for context, item in violations:
        file = context.value if context else value
        region = context.region.name if context else ""
        place = item.where if file is None or ":" in item.where or "-" in item.where else file.place(item.where, region)
        places.setdefault((place, item.message, item.hint), {})[region] = None
    for (place, message, hint), names in places.items():
        where = f" (in {', '.join(names)})" if "" not in names else ""
        (report.warnings if hint else report.mistakes).append(f"{place}: {message}{where}")


def _row(context: RuleContext) -> Row:
    settings, each = context.settings, context.plan
    online, offline = each.online, each.offline
    price, mean = monthly_price(settings, context.region, context.own_pod), mean_pods(settings, each.track) if online else 0.0
    has_hours = context.is_prod and bool(online and settings.scale_hours)
    return Row(
        region=each.region,
        track=each.track,
        replicas=online.replicas if online else 0,
        cpu=settings.cpu,
        memory=settings.memory,
        gpu_memory=context.need.gpu,
        answers=tuple(f"{context.region.host}{path.exact}" for path in online.route.paths) if online else (),
        price=None if price is None else price * (mean + (offline.replicas if offline else 0)),
        hours=HoursRow(settings.scale_hours, context.region.timezone, mean) if has_hours else None,
        offline=OfflineRow(offline.replicas, offline.source, offline.group, offline.sinks, offline.dead_letters)
        if offline
        else None,
    )
