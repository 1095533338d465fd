"""Release windows and messages, of deploys to two real API servers: overrides, their record, and the notifications."""

import json
import signal
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from conf.base.object_references import path
from conf.remote.notices import TIMEOUT
from tests.conf.cluster import Cluster
from tests.conf.commands.test_deploy_command import LATER
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row
from tests.conf.webhook import Webhook, running_webhook
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with running_webhook() as server:
        yield server


@pytest.fixture
def two(make_checkout: MakeCheckout, servers: dict[str, Cluster], webhook: Webhook) -> Checkout:
    """A service of its own, which goes away with its namespaces."""
    if servers["eu"].context == servers["na"].context:
        missing("KUBECONFIG has no two contexts eu and na: regions that are one cluster cannot be told apart")
    made = make_checkout("eu", "na", name=f"digits-{uuid4().hex[:6]}")
    made.environment["MONOPOD_WEBHOOK"] = webhook.url
    return made


def recorded(cluster: Cluster, checkout: Checkout) -> list[str]:
    """Return the override of each release in the history."""
    found = cluster.ask("get", path("ConfigMap", checkout.user, f"monopod-{checkout.name}"))
    return [each["override"] for each in json.loads(found["data"]["releases"])]


def test_a_closed_region_is_let_through_with_a_reason_that_is_recorded_shown_and_told(
    two: Checkout, servers: dict[str, Cluster], webhook: Webhook
) -> None:
    two.set_windows(na=LATER)
    assert "na is outside its release windows" in two.run("deploy", tag="1", status=31).err
    assert [kinds(servers[region], two.user, two.name) for region in ("eu", "na")] == [set(), set()]
    assert webhook.received == []

    why = "the orders of today fail"
    done = two.run("deploy", "--override", why, tag="1")
    assert f"release windows, let through: {why}" in done.out
    assert [recorded(servers[region], two) for region in ("eu", "na")] == [[""], [why]]
    shown = f"na, prod: 1 was deployed outside the region's release windows by ann: {why}"
    assert [line for line in two.run("status").out.splitlines() if "outside" in line] == [shown]
    assert [status_row(two, region=region)["override"] for region in ("eu", "na")] == ["", why]
    assert [each["text"].splitlines() for each in webhook.received] == [
        [
            f"deploy of {two.name} 1 (prod) by ann: done",
            "eu, prod: deployed 1; now version 1 in 1 pod",
            "na, prod: deployed 1; now version 1 in 1 pod",
            f"let through outside the release windows of na: {why}",
        ]
    ]

    # A rollback is allowed at any hour, and a release within the windows has no override.
    two.run("deploy", "--region", "eu", tag="2")
    two.set_windows(eu=LATER, na=LATER)
    two.run("rollback", "--region", "eu")
    assert recorded(servers["eu"], two) == ["", "", ""]
    assert webhook.received[-1]["event"] == "rolled back"
    assert webhook.received[-1]["outcomes"][0]["runs"] == {"1": 1}


def test_a_deploy_that_fails_or_is_stopped_is_told_in_one_message(two: Checkout, webhook: Webhook) -> None:
    two.write_value(eu_node_labels=UNUSED_LABEL)
    two.run("deploy", "--timeout", "6", tag="1", status=24)
    [message] = webhook.received
    assert message["event"] == "failed"
    head, eu, na = message["text"].splitlines()
    assert head == f"deploy of {two.name} 1 (prod) by ann: failed"
    assert eu.startswith("eu, prod: undone: ")
    assert na == "na, prod: not begun: a region before it failed; now no ready pod"

    job = two.start("deploy", "--timeout", "240", tag="1")
    job.wait_for("no node takes it")
    job.process.send_signal(signal.SIGINT)
    told = job.wait_exit(130)
    assert "eu, prod: stopped: by Ctrl-C or SIGTERM" in told
    assert webhook.received[1]["text"].splitlines()[0] == f"deploy of {two.name} 1 (prod) by ann: stopped"
    assert [each["state"] for each in webhook.received[1]["outcomes"]] == ["stopped", "not begun"]
    assert len(webhook.received) == 2


def test_an_address_that_fails_refuses_or_is_slow_fails_no_deploy_and_is_never_printed(two: Checkout, webhook: Webhook) -> None:
    robot = {"MONOPOD_WECHAT_ROBOT": "http://127.0.0.1:1/hidden"}
    webhook.slow = True
    begin = time.monotonic()
    done = two.run("deploy", "--region", "na", tag="1", more=robot)
    took = time.monotonic() - begin
    assert "MONOPOD_WECHAT_ROBOT was not delivered" in done.err
    assert "was not delivered (no answer in 5 s)" in done.err
    assert "hidden" not in done.text
    assert took < TIMEOUT + 60  # a webhook that is waited for holds the command for ever

    webhook.slow, webhook.answer = False, (403, b"key=hidden is withdrawn")
    done = two.run("deploy", "--region", "na", "--json", tag="2", more=robot)
    assert json.loads(done.out)[0]["state"] == "deployed"
    assert "was not delivered (status 403)" in done.err
    assert "hidden" not in done.text
