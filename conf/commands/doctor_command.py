"""`monopod doctor`: check everything that a deploy needs, and print the findings."""

import json
import os
from argparse import Namespace
from dataclasses import asdict

from conf.base.console import prints_mistakes
from conf.commands.arguments import planned
from conf.doctor.cluster_check import cluster_findings
from conf.doctor.findings import Finding
from conf.doctor.project_check import pipeline_findings, project_findings, registry_finding
from conf.plan.plan import TRACKS
from conf.render.gitlab_jobs import FILE


@prints_mistakes
def doctor_command(arguments: Namespace) -> int:
    """Print the findings, and return 1 where one has a cure."""
    found = planned(arguments, TRACKS)
    findings = [*project_findings(arguments.service, os.environ), registry_finding(found.regions, arguments.image, os.environ)]
    if arguments.regions is None:
        findings += pipeline_findings(found.regions, FILE)
    for each in found.plans:
        findings += cluster_findings(found.regions.regions[each.region], each, found.service.value.in_region(each.region))
    if arguments.json:
        print(json.dumps([asdict(each) for each in findings], indent=2))
    else:
        lines = dict.fromkeys(_line(each) for each in findings)  # two tracks of a region share most findings
        print("\n".join(lines))
    return 1 if any(each.cure for each in findings) else 0


def _line(finding: Finding) -> str:
    where = f"{finding.region}: " if finding.region else ""
    cure = f"\n       {finding.cure}" if finding.cure else ""
    result = "WRONG " if finding.cure else "ok    " if finding.seen else "skip  "
    return f"{result} {where}{finding.subject}: {finding.words}{cure}"
