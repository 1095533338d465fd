"""Several regions in order: the first failure stops the rest, and each region's version is reported. Needs three clusters."""

import json

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, url, version
from tests.prerequisites import missing

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


@pytest.fixture
def three(make_checkout: MakeCheckout, servers: dict[str, Cluster]) -> Checkout:
    if len({server.context for server in servers.values()}) < 3:
        missing("KUBECONFIG has no three contexts hk, eu and na: regions that are one cluster cannot be told apart")
    return make_checkout("hk", "eu", "na")


def test_regions_go_in_order_stop_at_the_first_that_fails_and_each_says_what_it_runs(
    three: Checkout, servers: dict[str, Cluster]
) -> None:
    done = three.run("deploy", tag="1")
    order = [line for line in done.out.splitlines() if ": deployed" in line]
    assert order == [f"{region}, prod: deployed 1; now version 1 in 1 pod" for region in ("hk", "eu", "na")]
    assert "hk: http" in done.out
    assert "eu: ready, as Kubernetes says; this region's gateway is not checked" in done.out

    three.write_value(eu_node_labels=UNUSED_LABEL)
    done = three.run("deploy", "--timeout", "40", "--json", tag="2", status=24)
    found = {each["region"]: each for each in json.loads(done.out)}
    assert [each["state"] for each in found.values()] == ["deployed", "undone", "not begun"]
    assert [each["runs"] for each in found.values()] == [{"2": 1}, {"1": 1}, {"1": 1}]
    assert [each["status"] for each in found.values()] == [0, 24, 24]
    assert "no node takes it" in found["eu"]["words"]
    assert version(url(three)) == "2"
    rows = json.loads(three.run("status", "--json").out)
    assert [(row["region"], row["runs"]) for row in rows if row["track"] == "prod"] == [
        ("hk", {"2": 1}), ("eu", {"1": 1}), ("na", {"1": 1}),
    ]  # fmt: skip

    assert "eu, prod: not begun" not in three.run("rollback", "--region", "hk").text
    assert version(url(three)) == "1"

    # A region where the service is no longer to run is named and shown, and only a person stops the service there.
    three.write_value(na_replicas=0, hk_replicas=0)
    done = three.run("deploy", "--region", "na", tag="3", status=1)
    assert "na: it is not to run here, but a release is there: monopod stop --yes --region na takes it away" in done.out
    assert "prod does not run in na; regions are hk, eu, na" in done.err
    assert [row["region"] for row in json.loads(three.run("status", "--json").out) if row["track"] == "prod"] == [
        "hk",
        "eu",
        "na",
    ]
    three.run("stop", "--yes")
    assert [kinds(servers[region], three.user, three.name) for region in ("hk", "eu", "na")] == [set(), set(), set()]


def test_the_grey_track_runs_in_its_region_alone_and_is_stopped(three: Checkout, servers: dict[str, Cluster]) -> None:
    grey = Checkout(three.folder / "grey", three.user, three.contexts, "rollout-grey")
    with servers["na"].namespaces(["grey"]):
        done = grey.run("deploy", "--track", "grey", tag="1")
        assert "na, grey: deployed 1; now version 1 in 1 pod" in done.out
        assert kinds(servers["na"], "grey", grey.name) >= {"Deployment", "Service", "HTTPRoute"}
        other = {"CI_COMMIT_REF_NAME": "dogs"}
        assert "belongs to branch cats" in grey.run("deploy", "--track", "grey", tag="2", status=15, more=other).err
        assert "na, grey: removed" in grey.run("stop", "--track", "grey").out
        assert kinds(servers["na"], "grey", grey.name) == set()
        assert "na, grey: not there" in grey.run("stop", "--track", "grey", status=17).text
