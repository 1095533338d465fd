"""Commands that ask no cluster, as they print: settings, check, render, gateway.

Knows how results look to a person and to a program. Does not know how a command line is parsed: monopod.py does.
"""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from conf.base.image_names import image
from conf.base.mistakes import mistaken
from conf.base.quantities import binary, money
from conf.base.text_tables import table
from conf.base.yamls import documents
from conf.clusters.region import Regions
from conf.clusters.regions_file import RegionsError, load
from conf.commands import settings_manual
from conf.plan.gateway import buffer_limit, gateway_plan
from conf.plan.plan import TRACKS, Plan, plan
from conf.remote.image_registry import RegistryError, resolved
from conf.render.templates import render, render_gateway, write
from conf.rules.check import Report, Service, check, read
from conf.rules.neighbours import Neighbour, neighbours

ROOT = Path(__file__).parents[2]
HEAD = ("region", "track", "pods", "cpu", "memory", "GPU GiB", "answers at", "a month")
NUMBERS = ("pods", "cpu", "memory", "GPU GiB", "a month")


def settings_command(arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps(settings_manual.data(), indent=2))
    else:
        print(settings_manual.markdown() if arguments.markdown else settings_manual.terminal(), end="")
    return 0


def check_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    others: tuple[Neighbour, ...] = ()
    warnings: tuple[str, ...] = ()
    if arguments.others:
        if not arguments.others.is_dir():
            return mistaken(
                arguments, [f"--others: {arguments.others} is no folder; name one that holds a folder for each service"]
            )
        others, warnings = neighbours(arguments.others, arguments.service, regions)
    tracks = (arguments.track,) if arguments.track else TRACKS
    report = check(arguments.service, regions, tracks, arguments.image, others)
    report.warnings.extend(warnings)
    print(_as_json(report, regions) if arguments.json else _as_text(report, regions), end="")
    return 1 if report.mistakes else 0


def render_command(arguments: Namespace) -> int:
    found = planned(arguments, TRACKS if arguments.output else ("prod",))
    if found is None:
        return 1
    plans = found.plans
    if arguments.image:
        try:
            named = image(resolved(arguments.image, found.regions))
        except RegistryError as error:
            return mistaken(arguments, [str(error)])
        plans = _plans(arguments, replace(found.service, image=named), found.regions, {each.track: None for each in plans})
    if not arguments.output:
        return _print(plans, arguments.json)
    print(*write(plans, arguments.output), sep="\n")
    return 0


def _print(plans: list[Plan], as_json: bool) -> int:
    if as_json:
        print(json.dumps([item for each in plans for item in documents(render(each))], indent=2))
    else:
        for each in plans:
            print(f"# {each.region}, {each.track}\n{render(each)}", end="")
    return 0


def gateway_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None:
        return 1
    region = regions.regions.get(arguments.region)
    if region is None:
        return mistaken(arguments, [_no_region(arguments.region, regions)])
    planned = gateway_plan(region)
    if planned is None:
        own = binary(buffer_limit(region))
        words = (
            f"{regions.place(f'regions.{region.name}.gateway')}: gateway has no buffer_limit, so the proxies' own counts, {own}"
        )
        return mistaken(arguments, [f"{words}; add buffer_limit: 16Mi, or as much as the largest max_body of the services"])
    text = render_gateway(planned)
    print(json.dumps(documents(text), indent=2) + "\n" if arguments.json else text, end="")
    return 0


def _no_region(name: str, regions: Regions) -> str:
    return f"--region: no region {name!r}; name one of {', '.join(regions.regions)}"


def load_regions(arguments: Namespace) -> Regions | None:
    """Return what regions.yaml says, or None when its mistakes have been told."""
    path: Path | None = arguments.regions
    try:
        return load(path, str(path)) if path else load(ROOT / "conf" / "regions.yaml")
    except RegionsError as error:
        mistaken(arguments, error.mistakes)
        return None


@dataclass(frozen=True)
class Planned:
    """What --service, --region and --track choose."""

    regions: Regions
    service: Service
    plans: list[Plan]


def planned(arguments: Namespace, tracks: Sequence[str]) -> Planned | None:
    """Return what a command is about, or None when it is told why there is nothing. tracks: where --track names none."""
    regions = load_regions(arguments)
    if regions is None:
        return None
    if arguments.region and arguments.region not in regions.regions:
        mistaken(arguments, [_no_region(arguments.region, regions)])
        return None
    service, mistakes = read(arguments.service, regions, arguments.image)
    if service is None:
        mistaken(arguments, mistakes)
        return None
    chosen = (arguments.track,) if arguments.track else tracks
    plans = _plans(arguments, service, regions, chosen)
    if not plans:
        where = arguments.region or "any region"
        mistaken(arguments, [f"{', '.join(chosen)} does not run in {where}: see `monopod check` for what runs where"])
        return None
    return Planned(regions, service, plans)


def _plans(arguments: Namespace, service: Service, regions: Regions, tracks: Iterable[str]) -> list[Plan]:
    every = (each for track in tracks for each in plan(service.value, regions, track, service.image, service.alerts))
    return [each for each in every if arguments.region in ("", each.region)]


def _as_json(report: Report, regions: Regions) -> str:
    found = {
        "mistakes": report.mistakes,
        "warnings": report.warnings,
        "currency": regions.currency,
        "runs": [asdict(row) for row in report.rows],
    }
    return json.dumps(found, indent=2) + "\n"


def _as_text(report: Report, regions: Regions) -> str:
    return "".join(_paragraphs(report, regions))


def _paragraphs(report: Report, regions: Regions) -> Iterator[str]:
    if report.mistakes:
        count = len(report.mistakes)
        yield "".join(f"{line}\n" for line in (*report.mistakes, *(f"note: {warning}" for warning in report.warnings)))
        yield f"{count} {'mistake' if count == 1 else 'mistakes'}; nothing may be applied\n"
        return
    rows = [
        (
            row.region,
            row.track,
            str(row.replicas),
            f"{row.cpu:g}",
            row.memory,
            f"{row.gpu_memory:g}",
            ", ".join(row.answers),
            "-" if row.price is None else money(row.price, regions.currency),
        )
        for row in report.rows
    ]
    yield table(HEAD, rows, NUMBERS)
    total = sum(row.price for row in report.rows if row.track == "prod" and row.price is not None)
    yield f"\nprod costs {money(total, regions.currency)} a month; grey and ab cost while they run\n"
    yield "".join(f"note: {warning}\n" for warning in report.warnings)
