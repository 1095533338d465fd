"""Rollbacks over two regions that do not serve the same version. Simulated nodes are enough."""

import json

import pytest

from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.service_state import status_row

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


def test_a_rollback_leaves_the_version_deployed_last_and_no_other(make_checkout: MakeCheckout) -> None:
    two = make_checkout("eu", "na")
    two.run("deploy", "--region", "na", tag="1")
    two.run("deploy", tag="2")
    done = two.run("rollback", status=17)  # eu has no release before 2; na is rolled back nevertheless
    assert "eu, prod: failed: " in done.err
    assert "has no earlier good release to return to; now version 2 in 1 pod" in done.err
    assert "na, prod: deployed 1: rolled back from 2 to 1; now version 1 in 1 pod" in done.out

    done = two.run("rollback", "--to", "2")
    assert "eu, prod: skipped: 2 serves there already; now version 2 in 1 pod" in done.out
    assert "na, prod: deployed 2: rolled back from 1 to 2; now version 2 in 1 pod" in done.out
    done = two.run("rollback", "--to", "9", status=17)
    assert "eu, prod: failed: " in done.err
    assert "has no good release of version 9 to return to; there is 2; now version 2 in 1 pod" in done.err
    assert "has no good release of version 9 to return to; there are 2, 1; now version 2 in 1 pod" in done.err

    two.run("deploy", "--region", "eu", tag="3")
    done = two.run("rollback")
    assert "eu, prod: deployed 2: rolled back from 3 to 2; now version 2 in 1 pod" in done.out
    assert "na, prod: skipped: 2 serves there, and this leaves 3; --to names a version; now version 2 in 1 pod" in done.out
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
    assert "no release is kept: it was never deployed, or its history went" in two.run("history").out
