"""The one message about a deploy or a rollback that has ended, for people and for programs."""

import json
import signal
import time
from pathlib import Path

import pytest

from conf.commands.deploy_message import Operation, message_facts, message_text
from conf.rollout.report import OUTSIDE_WINDOWS, STOPPED, RegionResult
from tests.conf.commands.test_deploy_command import LATER, NOWHERE
from tests.conf.rollout.checkout import Checkout
from tests.conf.rollout.images import NOT_ASKED
from tests.conf.rollout.service_state import until
from tests.conf.webhook import running_webhook

DEPLOY = Operation("deploy", "cats", "prod", "ann", "4f7cb14")
DONE = RegionResult("hk", "prod", "deployed", "4f7cb14", runs={"4f7cb14": 2})
UNDONE = RegionResult(
    "eu", "prod", "undone", words="no node takes it", events=["FailedScheduling"], log="token=hidden", status=24
)
STOPPED_IN = RegionResult("eu", "prod", "stopped", words="by Ctrl-C or SIGTERM", status=STOPPED)


def test_a_message_says_who_did_what_and_each_regions_result_in_a_line() -> None:
    head, result = message_text(DEPLOY, [DONE]).splitlines()
    assert head.startswith("deploy of cats 4f7cb14 (prod) by ann")
    assert result.startswith("hk, prod: deployed 4f7cb14; now version")
    assert message_text(Operation("rollback", "cats", "prod", "ann"), [DONE]).startswith(
        "rollback of cats (prod) by ann: done\n"
    )


@pytest.mark.parametrize(("last", "end"), [(UNDONE, "failed"), (STOPPED_IN, "stopped")])
def test_a_message_of_a_failure_says_so_first_and_names_every_region(last: RegionResult, end: str) -> None:
    head, *rest = message_text(DEPLOY, [DONE, last]).splitlines()
    assert head == f"deploy of cats 4f7cb14 (prod) by ann: {end}"
    assert [line.partition(",")[0] for line in rest] == ["hk", "eu"]


def test_an_override_is_told_with_its_reason_and_the_regions_that_it_opened() -> None:
    operation = Operation("deploy", "cats", "prod", "ann", "4f7cb14", "orders fail", ("hk", "eu"))
    assert message_text(operation, [DONE]).splitlines()[-1].endswith("release windows of hk, eu: orders fail")
    assert message_facts(operation, [DONE])["override"] == "orders fail"
    unneeded = Operation("deploy", "cats", "prod", "ann", "4f7cb14", "orders fail")
    assert "orders fail" not in message_text(unneeded, [DONE]) + json.dumps(message_facts(unneeded, [DONE]))


def test_log_lines_and_events_of_pods_stay_where_the_command_was_run() -> None:
    told = message_text(DEPLOY, [UNDONE]) + json.dumps(message_facts(DEPLOY, [UNDONE]))
    assert "hidden" not in told
    assert "FailedScheduling" not in told


@pytest.mark.parametrize(
    ("name", "result", "event"),
    [
        ("deploy", DONE, "deployed"),
        ("rollback", DONE, "rolled back"),
        ("deploy", UNDONE, "failed"),
        ("rollback", STOPPED_IN, "failed"),
    ],
)
def test_a_program_is_told_the_same(name: str, result: RegionResult, event: str) -> None:
    found = message_facts(Operation(name, "cats", "prod", "ann", "4f7cb14"), [result])
    assert (found["event"], found["command"], found["service"], found["by"]) == (event, name, "cats", "ann")
    assert [(each["region"], each["state"], each["status"]) for each in found["outcomes"]] == [
        (result.region, result.state, result.status)
    ]


def test_a_command_that_began_nothing_sends_nothing_and_neither_does_a_stop(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "service", "like", {"hk": "hk"})
    checkout.set_windows(hk=LATER)
    with running_webhook() as webhook:
        told = {**NOWHERE, "MONOPOD_WEBHOOK": webhook.url}
        checkout.run("deploy", tag=NOT_ASKED, status=OUTSIDE_WINDOWS, more=told)
        checkout.run("deploy", "--region", "mars", tag=NOT_ASKED, status=1, more=told)
        checkout.write_value(cpu="much")
        checkout.run("deploy", tag=NOT_ASKED, status=1, more=told)
        checkout.run("rollback", status=1, more=told)
        checkout.write_value()
        checkout.run("stop", "--yes", status=11, more=told)
    assert webhook.received == []


def test_a_failure_is_told_even_where_no_cluster_answered(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "service", "like", {"hk": "hk", "eu": "eu"})
    with running_webhook() as webhook:
        for command, tag in (("deploy", NOT_ASKED), ("rollback", "")):
            checkout.run(command, tag=tag, status=11, more={**NOWHERE, "MONOPOD_WEBHOOK": webhook.url})
    assert [each["text"].splitlines()[0] for each in webhook.received] == [
        "deploy of digits 1 (prod) by ann: failed",
        "rollback of digits (prod) by ann: failed",
    ]
    assert [each["state"] for each in webhook.received[0]["outcomes"]] == ["failed", "not begun"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_message_is_sent_gives_up_the_message_alone(tmp_path: Path, number: int) -> None:
    checkout = Checkout(tmp_path / "service", "like", {"hk": "hk"})
    with running_webhook() as webhook:
        webhook.slow = True
        job = checkout.start("deploy", tag=NOT_ASKED, more={**NOWHERE, "MONOPOD_WEBHOOK": webhook.url})
        until(lambda: bool(webhook.received))
        begin = time.monotonic()
        job.process.send_signal(number)
        text = job.wait_exit(11)
    assert time.monotonic() - begin < 3
    assert text.startswith("hk, prod: failed: context 'hk' cannot")
    assert "Traceback" not in text
