"""A stream of lines passes the gateways line by line, ends with its client, and is whole while releases replace its pods."""

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout, deployed
from tests.conf.rollout.gateways import through_both
from tests.conf.rollout.ready_pods import answered
from tests.conf.rollout.service_state import BLANK_DIGIT, until, url
from tests.running import post_json

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("images"), through_both]
WHOLE = [*range(20)]  # in two seconds


def lines(checkout: Checkout, query: str = "") -> tuple[list[object], float]:
    """Return the lines of a whole answer, and the seconds from its first line to its end. Raises IncompleteRead for a cut."""
    with urllib.request.urlopen(f"{url(checkout)}/lines{query}", timeout=30) as answer:
        first, began = answer.readline(), time.monotonic()
        rest = answer.read().splitlines()
    return [json.loads(line) for line in (first, *rest)], time.monotonic() - began


def test_lines_come_as_they_are_given_end_with_their_client_and_outlive_a_release(
    make_checkout: MakeCheckout, hk: Cluster
) -> None:
    mine = deployed(make_checkout, "moody", 2)
    until(lambda: post_json(url(mine), BLANK_DIGIT)[0] == 200)

    found, seconds = lines(mine)
    assert found == WHOLE
    assert seconds > 1  # of the two that the pod takes

    with closing(urllib.request.urlopen(f"{url(mine)}/lines", timeout=30)) as answer:
        answer.readline()
    until(lambda: sum(answered(hk, mine, 499, "lines").values()) == 1, 10)

    found, _ = lines(mine, "?fails=3")
    assert found[:3] == [0, 1, 2]
    assert isinstance(found[3], dict)
    assert found[3]["reason"] == "bad_input"
    before = answered(hk, mine)
    assert {post_json(url(mine), BLANK_DIGIT)[0] for _ in range(40)} == {200}
    assert all(count > before[name] for name, count in answered(hk, mine).items()), "the gateway left a pod out"

    with ThreadPoolExecutor(1) as beside:
        release = beside.submit(mine.run, "deploy", tag="refuses")
        read = [lines(mine)[0] for _ in iter(release.done, True)]
        release.result()
    read += [lines(mine)[0]]
    assert len(read) > 3
    assert all(each == WHOLE for each in read)
