"""Rollbacks over two regions that do not serve the same. It is no work for a node, so simulated regions do."""

import pytest

from tests.conf.rollout.asked import standing
from tests.conf.rollout.desk import Make

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("images")]


def test_a_rollback_leaves_the_version_deployed_last_and_no_other(desk: Make) -> None:
    two = desk("eu", "na")
    two.run("deploy", "--region", "na", tag="1")
    two.run("deploy", tag="2")
    done = two.run("rollback", status=17)  # eu has nothing before 2, which does not keep na on it
    assert "eu, prod: failed: " in done.err
    assert "has no earlier good release to return to; now version 2 in 1 pod" in done.err
    assert "na, prod: deployed 1: rollback to 1; now version 1 in 1 pod" in done.out

    done = two.run("rollback", "--to", "2")
    assert "eu, prod: skipped: 2 serves there already; now version 2 in 1 pod" in done.out
    assert "na, prod: deployed 2: rollback to 2; now version 2 in 1 pod" in done.out
    assert "no good release of version 9" in two.run("rollback", "--to", "9", status=17).err

    two.run("deploy", "--region", "eu", tag="3")
    done = two.run("rollback")
    assert "eu, prod: deployed 2: rollback to 1; now version 2 in 1 pod" in done.out
    assert "na, prod: skipped: 2 serves there, and this leaves 3; --to names a version; now version 2 in 1 pod" in done.out
    assert [standing(two, region=region)["runs"] for region in ("eu", "na")] == [{"2": 1}, {"2": 1}]
    two.run("stop", "--yes")
