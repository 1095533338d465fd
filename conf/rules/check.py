"""A service judged before anything is applied: read, planned, rendered, and every mistake told at once.

Knows the order of the steps. Does not know any rule, and prints nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conf.base.image_names import Image, image
from conf.base.yamls import documents
from conf.clusters.region import Regions
from conf.plan import alerts
from conf.plan.placement import monthly_price
from conf.plan.plan import NAMESPACES, TRACKS, Plan, default_image, plan
from conf.render.templates import render
from conf.rules import kubernetes_schemas, model_loading, other_services, pod_fit, rendered_objects, traffic
from conf.rules.case import Case, Rule, Violation
from conf.rules.other_services import OtherService
from conf.rules.service_folder import ModelFiles, model_files
from serving.settings import SettingsError, ValueFile, all_judged, judged, load

CASE_RULES: tuple[Rule, ...] = (*pod_fit.RULES, *model_loading.RULES, *traffic.RULES)


@dataclass(frozen=True)
class Service:
    """A service as its folder has it."""

    value: ValueFile
    image: Image
    alerts: tuple[alerts.Alert, ...]


@dataclass(frozen=True)
class Row:
    """What runs where, for a person. price: a month; None where the pod fits no node."""

    region: str
    track: str
    replicas: int
    cpu: float
    memory: str
    gpu_memory: float
    answers: tuple[str, ...]
    price: float | None


@dataclass
class Report:
    """What is wrong, what is doubtful, what would run, and its objects as text by plan.

    service: as it was read, in spite of mistakes; None where value.py cannot be read at all.
    """

    mistakes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    rendered: list[tuple[Plan, str]] = field(default_factory=list)
    service: Service | None = None


def read(service: Path, regions: Regions, image_name: str = "") -> tuple[Service | None, list[str]]:
    """Read a service's folder; no service where there is a mistake. image_name: "" for what a build will be called."""
    found, mistakes = read_partly(service, regions, image_name)
    return (None if mistakes else found), mistakes


def read_partly(service: Path, regions: Regions, image_name: str = "") -> tuple[Service | None, list[str]]:
    """Read a service's folder in spite of mistakes, as far as it goes; no service where value.py cannot be read at all."""
    mistakes: list[str] = []
    own: tuple[alerts.Alert, ...] = ()
    value: ValueFile | None
    try:
        value = load(service / "value.py", tuple(regions.regions))
    except SettingsError as error:
        mistakes.extend(error.mistakes)
        value = error.rest
    try:
        own = alerts.load(service)
    except alerts.AlertsError as error:
        mistakes.extend(error.mistakes)
    try:
        default = default_image(value.settings, regions) if value else "x:x"
        named = image(image_name or default)
    except ValueError:
        mistakes.append(f"--image: {image_name!r} is no image's name; write one as registry.example.com/like/demo:1.0")
        named = image(default)
    return (Service(value, named, own) if value else None), mistakes


def check(
    service: Path,
    regions: Regions,
    tracks: Sequence[str] = TRACKS,
    image_name: str = "",
    others: Sequence[OtherService] = (),
) -> Report:
    """Judge a service: in spite of what is wrong, all that does not depend on it. others: services of the same clusters."""
    found, mistakes = read_partly(service, regions, image_name)
    report = Report(mistakes, service=found)
    if found is None:
        return report
    is_whole = not mistakes
    report.warnings.extend(found.value.warnings)
    report.warnings.extend(judged(_strange_alerts, found) or ())
    models: dict[str, ModelFiles] = {}  # by path: tracks and regions share them
    cases = [case for track in tracks for case in _cases(service, found, regions, track, models)]
    _say(report, [(case, item) for case in cases for rule in CASE_RULES for item in all_judged(rule(case))])
    for rule in other_services.RULES:
        _say(report, [(None, item) for item in all_judged(rule(found.value, others, regions))], found.value)
    if "prod" in tracks and not any(case.is_prod for case in cases):
        report.mistakes.append(
            f"{found.value.place('replicas')}: replicas is 0 in every region, so nothing would run; set it in one"
        )
    for case in cases if is_whole else ():
        report.rows.append(_row(case))
        text = render(case.plan)
        report.rendered.append((case.plan, text))
        report.mistakes.extend(f"templates ({case.plan.region}, {case.plan.track}): {words}" for words in _objections(text))
    report.mistakes.sort(key=_place)
    return report


def _strange_alerts(found: Service) -> list[str]:
    own = found.value.judged_in()
    return alerts.copied_rule_warnings(found.alerts, own.service_name, (own.username, *NAMESPACES.values()))


def _place(mistake: str) -> tuple[str, int]:
    """Order mistakes as a person goes through the files."""
    file, _, rest = mistake.partition(":")
    line = rest.partition(":")[0]
    return file, int(line) if line.isdigit() else 0


def _cases(service: Path, found: Service, regions: Regions, track: str, models: dict[str, ModelFiles]) -> Iterator[Case]:
    for each in plan(found.value, regions, track, found.image, found.alerts):
        settings = found.value.judged_in(each.region)
        path = found.value.in_region(each.region).model_path
        models[path] = models.get(path) or model_files(service, path)
        yield Case(found.value, settings, regions, regions.regions[each.region], found.image, models[path], each)


def _objections(text: str) -> Iterator[str]:
    items = documents(text)
    found = [words for item in items for words in kubernetes_schemas.violations(item)]
    yield from found or (words for rule in rendered_objects.RULES for words in rule(items))


def _say(report: Report, broken: Iterable[tuple[Case | None, Violation]], value: ValueFile | None = None) -> None:
    """Add a sentence for each broken rule; one that several regions share is said once."""
    places: dict[tuple[str, str, bool], dict[str, None]] = {}
    for case, item in broken:
        said = case.value if case else value
        region = case.region.name if case else ""
        place = item.where if said is None or ":" in item.where or "-" in item.where else said.place(item.where, region)
        places.setdefault((place, item.message, item.hint), {})[region] = None
    for (place, message, hint), names in places.items():
        where = f" (in {', '.join(names)})" if "" not in names else ""
        (report.warnings if hint else report.mistakes).append(f"{place}: {message}{where}")


def _row(case: Case) -> Row:
    settings, each = case.settings, case.plan
    price = monthly_price(settings, case.region)
    return Row(
        region=each.region,
        track=each.track,
        replicas=each.replicas,
        cpu=settings.cpu,
        memory=settings.memory,
        gpu_memory=case.need.gpu,
        answers=tuple(f"{case.region.host}{path.exact}" for path in each.route.paths),
        price=None if price is None else price * each.replicas,
    )
