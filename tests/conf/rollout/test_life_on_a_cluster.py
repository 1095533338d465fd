"""A service's life on a real cluster, from the commands that a user types to the answers through either gateway."""

import re

import pytest

from conf.plan.plan import NAMESPACES
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import MakeCheckout
from tests.conf.rollout.gateways import through_both
from tests.conf.rollout.service_state import BLANK_DIGIT, pods, status_row, until, url, version
from tests.running import get, post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images"), through_both]


def gone(where: str) -> None:
    """Wait until the gateway no longer knows a path, which is a moment after the cluster."""
    until(lambda: get(where) == (404, b""))


def test_a_service_lives_from_its_first_release_to_its_end(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk")
    first = mine.run("deploy", tag="1")
    assert f"{url(mine)} answers with version 1" in first.out
    assert "deployed 1; now version 1 in 1 pod" in first.out
    status, answer = post_json(url(mine), BLANK_DIGIT)
    assert (status, len(answer["results"]["logits"][0])) == (200, 10)

    assert "hk: nothing would change" in mine.run("diff", tag="1").out
    change = mine.run("diff", tag="2", status=3).out
    assert re.search(r'-\s+"value": "1"\n\+\s+"value": "2"', change)
    assert "version 1 -> 2, version 1 -> 2" in change
    assert '"image":' not in change  # both tags name the same content
    before = pods(hk, mine)
    assert before == pods(hk, mine)  # a diff changes nothing

    mine.run("deploy", tag="2")
    assert version(url(mine)) == "2"
    second = pods(hk, mine)
    assert not set(second) & set(before)
    assert "unchanged 2; now version 2 in 1 pod" in mine.run("deploy", tag="2").out
    assert pods(hk, mine) == second  # the same release again: no pod is replaced

    table = mine.run("status").out
    assert "region  track  version  ready" in table
    row = status_row(mine)
    assert (row["version"], row["runs"], row["ready"], row["wanted"], row["restarts"]) == ("2", {"2": 1}, 1, 1, 0)
    assert (row["by"], row["holder"], row["state"]) == ("ann", "branch cats of like/models", "good")

    assert "returning to 1, deployed at 20" in mine.run("rollback", "--region", "hk").out
    assert version(url(mine)) == "1"
    assert "no earlier good release" in mine.run("rollback", status=17).err
    assert "say --yes" in mine.run("stop", status=2).err
    assert version(url(mine)) == "1"

    assert "hk, prod: removed" in mine.run("stop", "--yes").out
    assert pods(hk, mine) == {}
    gone(url(mine))
    assert status_row(mine)["state"] == "not deployed"
    assert "is not there" in mine.run("stop", "--yes", status=17).out


@pytest.mark.parametrize(
    ("track", "paths"), [("ab", ["/api/ab-test/{}"]), ("grey", ["/grey/{}", "/api/grey/{}"])], ids=["ab", "grey"]
)
def test_the_tracks_grey_and_ab_are_deployed_and_stopped_by_themselves(
    make_checkout: MakeCheckout, hk: Cluster, track: str, paths: list[str]
) -> None:
    mine = make_checkout("hk", name="rollout-ab")
    found = [mine.gateway.url + path.format(mine.name) for path in paths]
    with hk.namespaces([NAMESPACES[track]]):
        mine.run("deploy", "--track", track, tag="ab")
        assert [version(where) for where in found] == ["ab"] * len(paths)
        assert [post_json(where, BLANK_DIGIT)[0] for where in found] == [200] * len(paths)
        assert version(url(mine)) == "status 404"
        assert status_row(mine, track)["runs"] == {"ab": 1}
        assert f"hk, {track}: removed" in mine.run("stop", "--track", track).out
        for where in found:
            gone(where)


def test_a_name_that_begins_another_keeps_its_own_routes(make_checkout: MakeCheckout) -> None:
    demo, demo2 = make_checkout("hk", name="demo"), make_checkout("hk", name="demo-2")
    at_once = [demo.start("deploy", tag="demo"), demo2.start("deploy", tag="demo-2")]
    for each in at_once:
        each.wait_exit(0)
    assert (version(url(demo)), version(url(demo2))) == ("demo", "demo-2")
    status, body = get(f"{url(demo)}/2")
    assert (status, "there is no /api/demo/2 here" in body.decode()) == (404, True)  # demo's own answer, not the gateway's
    assert get(f"{url(demo)}-3/v2") == (404, b"")
    demo.run("stop", "--yes")
    gone(f"{url(demo)}/2")
    assert (version(url(demo)), version(url(demo2))) == ("status 404", "demo-2")
    demo2.run("stop", "--yes")
