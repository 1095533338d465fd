"""What `monopod doctor` prints.

Knows how findings look to a person and to a program. Does not know how they are found.
"""

import json
from argparse import Namespace
from dataclasses import asdict

from conf import doctor
from conf.check import read
from conf.cli import fail, has_region, load_regions, runs_nowhere
from conf.plan import TRACKS, plan


def doctor_command(arguments: Namespace) -> int:
    regions = load_regions(arguments)
    if regions is None or not has_region(regions, arguments):
        return 1
    service, mistakes = read(arguments.service, regions, arguments.image)
    if service is None:
        return fail(mistakes, arguments)
    tracks = (arguments.track,) if arguments.track else TRACKS
    every = [each for track in tracks for each in plan(service.value, regions, track, service.image)]
    plans = [each for each in every if arguments.region in ("", each.region)]
    if not plans:
        return runs_nowhere(tracks, arguments)
    findings = [doctor.registry(regions)]
    for each in plans:
        findings += doctor.examine(regions.regions[each.region], each, service.value.in_region(each.region))
    if arguments.json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        lines = dict.fromkeys(_line(each) for each in findings)  # two tracks of a region share most of its links
        print("\n".join(lines))
    return 1 if any(each.cure for each in findings) else 0


def _line(finding: doctor.Finding) -> str:
    where = f"{finding.region}: " if finding.region else ""
    cure = f"\n       {finding.cure}" if finding.cure else ""
    judged = "WRONG " if finding.cure else "ok    " if finding.seen else "closed"
    return f"{judged} {where}{finding.subject}: {finding.words}{cure}"
