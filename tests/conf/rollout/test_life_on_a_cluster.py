"""A service's life on a real cluster, by the commands that a person types, to the answers through the gateway."""

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.asked import pods, standing, url, version
from tests.conf.rollout.desk import Make
from tests.conf.rollout.images import image
from tests.running import get, post_json

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.usefixtures("images")]


def test_a_service_lives_from_its_first_release_to_its_end(desk: Make, hk: Cluster) -> None:
    mine = desk("hk")
    first = mine.run("deploy", tag="1")
    assert f"{url(mine)} answers with version 1" in first.out
    assert "hk, prod: deployed 1; now version 1 in 1 pod" in first.out
    status, answer = post_json(url(mine), {"data": [[[[0.0] * 8] * 8]]})
    assert (status, len(answer["results"]["logits"][0])) == (200, 10)

    assert "hk: nothing would change" in mine.run("diff", tag="1").out
    change = mine.run("diff", tag="2", status=3).out
    assert f'-      "image": "{image("1")}",\n+      "image": "{image("2")}",' in change
    before = pods(hk, mine)
    assert before == pods(hk, mine)  # a diff changes nothing

    mine.run("deploy", tag="2")
    assert version(url(mine)) == "2"
    second = pods(hk, mine)
    assert not set(second) & set(before)
    assert "hk, prod: deployed 2" in mine.run("deploy", tag="2").out
    assert pods(hk, mine) == second  # the same again: no pod is started anew

    table = mine.run("status").out
    assert "region  track  version  ready  restarts  since" in table
    row = standing(mine)
    assert (row["version"], row["runs"], row["ready"], row["wanted"], row["restarts"]) == ("2", {"2": 1}, 1, 1, 0)
    assert (row["by"], row["holder"], row["state"]) == ("ann", "branch cats of like/models", "good")

    assert "returning to release 1 (1)" in mine.run("rollback", "--region", "hk").out
    assert version(url(mine)) == "1"
    assert "no earlier good release" in mine.run("rollback", status=17).err
    assert "say --yes" in mine.run("stop", status=2).err
    assert version(url(mine)) == "1"

    assert "hk, prod: removed" in mine.run("stop", "--yes").out
    assert (version(url(mine)), pods(hk, mine)) == ("status 404", {})
    assert standing(mine)["state"] == "not deployed"
    assert "is not there" in mine.run("stop", "--yes", status=17).out


def test_the_ab_track_comes_and_goes_by_itself(desk: Make, hk: Cluster) -> None:
    mine = desk("hk", name="rollout-ab")
    with hk.namespaces(["ab-test"]):
        mine.run("deploy", "--track", "ab", tag="ab")
        assert (version(url(mine)), version(url(mine, "ab-test"))) == ("status 404", "ab")
        assert standing(mine, "ab")["runs"] == {"ab": 1}
        assert "hk, ab: removed" in mine.run("stop", "--track", "ab").out
        assert version(url(mine, "ab-test")) == "status 404"


def test_a_name_that_begins_another_keeps_its_own_routes(desk: Make) -> None:
    demo, demo2 = desk("hk", name="demo"), desk("hk", name="demo-2")
    at_once = [demo.start("deploy", tag="demo"), demo2.start("deploy", tag="demo-2")]
    for each in at_once:
        each.ends(0, 90)
    assert (version(url(demo)), version(url(demo2))) == ("demo", "demo-2")
    status, body = get(f"{url(demo)}/2")
    assert (status, "GET /api/demo/2" in body.decode()) == (404, True)  # demo's own answer, not the gateway's
    assert get(f"{url(demo)}-3/v2") == (404, b"")
    demo.run("stop", "--yes")
    assert (version(url(demo)), version(url(demo2))) == ("status 404", "demo-2")
    assert get(f"{url(demo)}/2") == (404, b"")
    demo2.run("stop", "--yes")
