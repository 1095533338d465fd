"""Several regions in order: the first failure stops the rest, each tells its version, and a rollback leaves one version."""

import json

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import UNUSED_LABEL, Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, status_row, url, version
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
    assert "eu: ready, as Kubernetes says" in done.out

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
    assert "na: it is not to run here" in done.out
    assert "prod does not run in na" in done.err
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
        assert "na, grey: deployed 1; now version 1" in done.out
        assert kinds(servers["na"], "grey", grey.name) >= {"Deployment", "Service", "HTTPRoute"}
        other = {"CI_COMMIT_REF_NAME": "dogs"}
        assert "belongs to branch cats" in grey.run("deploy", "--track", "grey", tag="2", status=15, more=other).err
        assert "na, grey: removed" in grey.run("stop", "--track", "grey").out
        assert kinds(servers["na"], "grey", grey.name) == set()
        assert "na, grey: not there" in grey.run("stop", "--track", "grey", status=17).text


def test_a_rollback_leaves_the_version_deployed_last_and_no_other(make_checkout: MakeCheckout) -> None:
    two = make_checkout("eu", "na", name="two")
    two.run("deploy", "--region", "na", tag="1")
    two.run("deploy", tag="2")
    done = two.run("rollback", status=17)  # eu has no release before 2; na is rolled back nevertheless
    assert "eu, prod: failed: " in done.err
    assert "no earlier good release to return to" in done.err
    assert "deployed 1: rolled back from 2 to 1" in done.out

    done = two.run("rollback", "--to", "2")
    assert "skipped: 2 serves there already" in done.out
    assert "deployed 2: rolled back from 1 to 2" in done.out
    done = two.run("rollback", "--to", "9", status=17)
    assert "eu, prod: failed: " in done.err
    assert "version 9 to return to; there is 2" in done.err
    assert "version 9 to return to; there are 2, 1" in done.err

    two.run("deploy", "--region", "eu", tag="3")
    done = two.run("rollback")
    assert "deployed 2: rolled back from 3 to 2" in done.out
    assert "na, prod: skipped: 2 serves there, and" in done.out
    assert [status_row(two, region=region)["runs"] for region in ("eu", "na")] == [{"2": 1}, {"2": 1}]
    rows = json.loads(two.run("history", "--region", "na", "--json").out)
    assert [(row["version"], row["state"], row["note"], row["by"]) for row in rows] == [
        ("2", "serves", "rolled back from 1 to 2", "ann"),
        ("1", "good", "rolled back from 2 to 1", "ann"),
        ("2", "good", "", "ann"),
        ("1", "good", "", "ann"),
    ]
    table = two.run("history").out.splitlines()
    assert table[0].split() == ["region", "track", "version", "digest", "at", "by", "state", "note"]
    assert [line.split()[:3] for line in table[1:]] == [["eu", "prod", "2"], ["eu", "prod", "3"], ["eu", "prod", "2"], *(
        ["na", "prod", version] for version in ("2", "1", "2", "1")
    )]  # fmt: skip
    two.run("stop", "--yes")
    assert "no release is kept" in two.run("history").out
