"""The requests and the card, in a served pod and in Flask."""

import json
from itertools import pairwise

import numpy as np
import pytest

from bench.pods.card import INPUT, OUTPUT, WIDTH, batch_seconds
from bench.pods.flask_app import app
from bench.pods.payloads import FOLDER, POD_PATH, ROWS, bodies, body, mistake
from bench.pods.servers import CardUse, card_use_of
from bench.served import BenchError
from tests.running import get, running


def test_a_body_has_the_rows_that_it_says() -> None:
    for rows, sent in zip(ROWS, bodies(), strict=True):
        (tensor,) = json.loads(sent)["inputs"]
        assert (tensor["name"], tensor["shape"]) == (INPUT, [rows, WIDTH])
        assert np.asarray(tensor["data"]).size == rows * WIDTH


def test_an_answer_with_other_values_or_too_few_is_a_mistake() -> None:
    data = [sum(json.loads(body(1))["inputs"][0]["data"])]

    def answer(values: list[float]) -> bytes:
        return json.dumps({"outputs": [{"name": OUTPUT, "data": values}]}).encode()

    assert mistake(answer(data), 1) == ""
    assert "1 rows are answered with" in mistake(answer([data[0] + 0.01]), 1)
    assert mistake(answer([]), 1)
    assert mistake(b'{"outputs": []}', 1)


def test_flask_and_a_pod_give_the_same_values_and_the_pod_counts_its_card() -> None:
    client = app.test_client()
    use: list[CardUse] = []
    with running(FOLDER) as pod:
        for rows in ROWS:
            flask = client.post(POD_PATH, data=body(rows), content_type="application/json").data
            _, served = get(pod.url + POD_PATH, body(rows), {"Content-Type": "application/json"})
            assert (mistake(flask, rows), mistake(served, rows)) == ("", "")
            use.append(card_use_of(pod.metrics()))
    assert [after.rows - before.rows for before, after in pairwise(use)] == list(ROWS[1:])
    assert all(
        (after - before).busy >= batch_seconds(rows) for (before, after), rows in zip(pairwise(use), ROWS[1:], strict=True)
    )


def test_a_page_without_the_cards_counters_is_an_error() -> None:
    assert card_use_of("# HELP x\ncard_busy_seconds_total 1.5\ncard_rows_total 3.0\n") == CardUse(1.5, 3.0)
    with pytest.raises(BenchError, match="no card_busy_seconds_total or no card_rows_total"):
        card_use_of("card_rows_total 3.0\n")
