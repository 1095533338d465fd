"""Releases that fail on a real node: each is reported with its cause and undone, and the release before goes on serving."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.service_state import kinds, pods, status_row, until, url, version

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images")]
MISSING_TAG = "nowhere@sha256:" + "0" * 64
FAILURES = [
    (MISSING_TAG, 20, ["its image cannot be pulled", f"digits@{MISSING_TAG[-71:]}: not found", "check its name"], {}, "180"),
    ("crash", 21, ["it ended with exit code 1", "digits.onnx: not loaded as an ONNX model", "event: BackOff"], {}, "180"),
    ("swells", 22, ["it was killed for its memory", "raise memory in value.py"], {"memory": "300Mi"}, "180"),
    ("sleeps", 23, ["its probe has not passed", "statuscode: 503", "raise init_delay_second"], {}, "20"),
]


@pytest.fixture(scope="module")
def serving(images: None, user: str, hk: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A service whose first version serves."""
    mine = Checkout(tmp_path_factory.mktemp("failures") / "service", user, {"hk": hk.context})
    mine.run("deploy", tag="1")
    yield mine
    mine.clear()


@pytest.mark.parametrize(
    ("tag", "status", "told", "settings", "seconds"), FAILURES, ids=["nowhere", "crash", "swells", "sleeps"]
)
def test_a_release_that_fails_is_undone_and_the_one_before_serves_on(
    serving: Checkout, hk: Cluster, tag: str, status: int, told: list[str], settings: dict[str, Any], seconds: str
) -> None:
    before = pods(hk, serving)
    serving.write_value(**settings)
    done = serving.run("deploy", "--timeout", seconds, tag=tag, status=status)
    assert [words for words in told if words not in done.text] == []
    assert "hk, prod: undone: " in done.err
    assert "as before; now version 1 in 1 pod" in done.err
    assert (version(url(serving)), pods(hk, serving)) == ("1", before)  # the same pod, never restarted
    row = status_row(serving)
    assert (row["version"], row["runs"], row["state"], row["troubles"]) == (
        "1",
        {"1": 1},
        f"{tag.partition('@')[0]} was undone",
        [],
    )


def test_a_first_release_that_fails_is_taken_away_and_says_why(make_checkout: MakeCheckout, hk: Cluster) -> None:
    mine = make_checkout("hk", name="first")
    done = mine.run("deploy", tag="no-model", status=21)
    assert "was taken away; nothing serves" in done.err
    assert "event: SuccessfulCreate: Created pod: first-" in done.err
    assert "model/other.onnx" in done.err.partition("    log: ")[2]
    until(lambda: kinds(hk, mine.user, "first") == set())  # the pod drains
    assert version(url(mine)) == "status 404"
    assert status_row(mine)["state"] == "no-model failed and was taken away"


def test_a_model_that_is_not_in_the_folder_is_refused_before_anything_is_asked(serving: Checkout) -> None:
    serving.write_value(model_path="model/other.onnx")
    done = serving.run("deploy", tag="1", status=1, more={"KUBECONFIG": "/nowhere"})
    assert "'model/other.onnx' is not in" in done.err
