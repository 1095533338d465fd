"""A tag that is pushed again with other content, from the deploy to the answers through the gateway, and the way back."""

import json
from collections.abc import Iterator

import pytest

from conf.base.object_references import path
from tests.conf.cluster import Cluster
from tests.conf.image_registry import Registry, running_registry
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import tagged
from tests.conf.rollout.service_state import BLANK_DIGIT, pods, status_row, url
from tests.running import get, post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]


def word(checkout: Checkout) -> str:
    """Return the part of an answer through the gateway that differs between the two images' code."""
    status, answer = post_json(url(checkout), BLANK_DIGIT)
    assert status == 200, answer
    return str(answer["results"].get("word", "digits"))


def digest(checkout: Checkout) -> str:
    """Return the digest that the service says it is, through the gateway."""
    return str(json.loads(get(f"{url(checkout)}/v2")[1])["digest"])


def test_a_tag_that_was_pushed_again_brings_its_new_code_and_a_rollback_the_old(
    make_checkout: MakeCheckout, hk: Cluster
) -> None:
    mine = make_checkout("hk")
    first = tagged("again", "1")
    assert f"digits:again is {first[:19]}" in mine.run("deploy", tag="again").out
    assert (word(mine), digest(mine)) == ("digits", first)
    before = pods(hk, mine)

    done = mine.run("deploy", tag="again")
    assert "unchanged again; now version again" in done.out
    assert pods(hk, mine) == before
    assert "hk: nothing would change" in mine.run("diff", tag="again").out

    second = tagged("again", "other")
    assert second != first
    change = mine.run("diff", tag="again", status=3).out
    assert f"/digits@{first}" in change
    assert f"/digits@{second}" in change
    done = mine.run("deploy", tag="again")
    assert f"answers with version again ({second[:19]})" in done.out
    assert "hk, prod: deployed again" in done.out
    assert (word(mine), digest(mine)) == ("other", second)
    assert status_row(mine)["version"] == "again"

    done = mine.run("rollback")
    assert f"returning to again ({first[:19]}), deployed at 20" in done.out
    assert (word(mine), digest(mine)) == ("digits", first)
    done = mine.run("rollback", "--to", second)
    assert (word(mine), digest(mine)) == ("other", second)
    assert f"{second[:19]} serves there already" in mine.run("rollback", "--to", second[:19]).out


@pytest.fixture
def hub() -> Iterator[Registry]:
    with running_registry() as server:
        yield server


def numbers(cluster: Cluster, checkout: Checkout) -> list[int]:
    found = cluster.ask("get", path("ConfigMap", checkout.user, f"monopod-{checkout.name}"))
    return [each["number"] for each in json.loads(found["data"]["releases"])]


def test_a_release_that_drifted_or_failed_is_deployed_again_and_not_called_unchanged(
    make_checkout: MakeCheckout, eu: Cluster, hub: Registry
) -> None:
    mine = make_checkout("eu", name="drifts")
    hub.push("like/drifts", "1", "first")
    image = ["--image", f"{hub.host}/like/drifts:1"]
    assert "eu, prod: deployed 1" in mine.run("deploy", *image).out
    assert "eu, prod: unchanged 1" in mine.run("deploy", *image).out
    assert numbers(eu, mine) == [1]

    service = path("Service", mine.user, mine.name)
    eu.by_hand(service, {"spec": {"selector": {"app.kubernetes.io/name": "nobody"}}})
    assert "eu, prod: deployed 1" in mine.run("deploy", *image).out
    assert eu.ask("get", service)["spec"]["selector"] == {"app.kubernetes.io/name": mine.name}
    eu.by_hand(f"{path('Deployment', mine.user, mine.name)}/scale", {"spec": {"replicas": 2}})
    assert "deployed 1; now version 1 in 1 pod" in mine.run("deploy", *image).out
    eu.ask("delete", path("HTTPRoute", mine.user, mine.name))
    assert "eu, prod: deployed 1" in mine.run("deploy", *image).out
    theirs = {"CI_COMMIT_REF_NAME": "dogs"}
    assert "eu, prod: deployed 1" in mine.run("deploy", "--take-over", *image, more=theirs).out
    assert status_row(mine)["holder"] == "branch dogs of like/models"
    assert numbers(eu, mine) == [1, 2, 3, 4, 5]


def test_a_rollback_to_an_image_that_the_registry_has_deleted_changes_nothing(
    make_checkout: MakeCheckout, eu: Cluster, hub: Registry
) -> None:
    mine = make_checkout("eu", name="deleted")
    first = hub.push("like/deleted", "v1", "first")
    image = ["--image", f"{hub.host}/like/deleted:v1"]
    mine.run("deploy", *image)
    second = hub.push("like/deleted", "v1", "second")
    mine.run("deploy", *image)
    before = pods(eu, mine)
    kept = hub.held.pop(("like/deleted", first))

    done = mine.run("rollback", status=32)
    assert f"registry {hub.host} has no image {hub.host}/like/deleted@{first}; it was deleted there" in done.err
    assert pods(eu, mine) == before
    assert numbers(eu, mine) == [1, 2]

    hub.status = 503
    done = mine.run("rollback")
    assert "the rollback goes on without: registry" in done.out
    assert "eu, prod: deployed v1" in done.out
    deployment = eu.ask("get", path("Deployment", mine.user, mine.name))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"{hub.host}/like/deleted@{first}"

    hub.status, hub.held["like/deleted", first] = 0, kept
    hub.received.clear()
    mine.run("rollback", "--to", second)
    assert [asked for asked, _ in hub.received] == [f"/v2/like/deleted/manifests/{second}"]
