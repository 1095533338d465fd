"""docs/runbook.md has a section for every alert of the platform, and no other."""

import re
import shlex
from dataclasses import replace
from typing import Any

import pytest

import monopod
from conf.base.yaml_nodes import documents
from conf.plan.plan import TRACKS, plan
from conf.rules.check import read
from tests.conf.golden import SERVICES, regions
from tests.conf.rule_files import rule_groups
from tests.running import ROOT

PAGE = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL))
INLINE = re.findall(r"`(monopod [^`]+)`", PAGE)
BLOCKS = re.findall(r"^    (monopod .*)$", PAGE, re.MULTILINE)
COMMANDS = sorted({re.split(r" [|#] ?|  ", each)[0].strip() for each in INLINE + BLOCKS})
PARTS = ("**Meaning.** ", "**Look at** ", "**Do")


def alerts() -> list[dict[str, Any]]:
    """Return the platform's alerts on every track in every region, and the fleet's."""
    service = SERVICES["gpu"]
    in_regions = (rule_groups(service, ("prod",), region) for region in regions().regions)
    services = [rule_groups(service, TRACKS), rule_groups(SERVICES["every-setting"], TRACKS), *in_regions]
    (fleet,) = documents((ROOT / "charts/monitoring/rules/fleet-alerts.yaml").read_text(encoding="utf-8"))
    groups = [group for found in services for group in found if not group["name"].endswith("-own")] + fleet["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_every_alert_has_a_section_and_every_section_an_alert() -> None:
    assert set(SECTIONS) == {rule["alert"] for rule in alerts()}


def test_every_alert_has_a_summary_and_leads_to_its_section() -> None:
    for rule in alerts():
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_alert_names_the_command_to_type_next() -> None:
    for rule in alerts():
        words = shlex.split(rule["annotations"]["command"].replace("REGION", "hk"))
        assert words[0] in ("kubectl", "monopod"), rule["alert"]
        assert words[0] == "kubectl" or monopod._parser().parse_args(words[1:]), rule["alert"]


def test_a_rule_of_a_services_own_leads_to_a_page_and_a_command_unless_it_names_its_own() -> None:
    groups = rule_groups(SERVICES["every-setting"])
    own = [rule for group in groups if group["name"].endswith("-own") for rule in group["rules"]]
    assert own
    for rule in own:
        assert rule["annotations"]["command"].startswith("monopod status --region ")
        assert rule["annotations"]["runbook_url"] == "docs/runbook.md#alerts-of-a-services-own"
    assert "\n# Alerts of a service's own\n" in PAGE


def test_every_section_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for name, text in SECTIONS.items():
        assert [part for part in PARTS if f"\n{part}" not in f"\n{text}"] == [], name


def test_every_link_of_the_page_leads_to_a_section() -> None:
    links = re.findall(r"\]\(#(\w+)\)", PAGE)
    assert links
    assert set(links) <= {name.lower() for name in SECTIONS}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_one_that_monopod_knows(command: str) -> None:
    assert monopod._parser().parse_args(shlex.split(command)[1:])


def test_the_commands_are_found_in_sentences_and_in_blocks() -> None:
    assert {"monopod gateway --region hk", "monopod logs --since 10m", "monopod stop --track grey"} <= set(COMMANDS)


def test_a_region_file_with_an_address_of_the_page_sends_people_there() -> None:
    found = replace(regions(), runbook="https://git.example.com/monopod/docs/runbook.md")
    service, _ = read(SERVICES["gpu"], found)
    assert service is not None
    each = plan(service.value, found, "prod", service.image)[0]
    addresses = {
        alert.annotations["runbook_url"] for pods in each.workloads for group in pods.rule_groups for alert in group.alerts
    }
    assert "https://git.example.com/monopod/docs/runbook.md#nopodanswers" in addresses
