"""Samples become shares of the server's parts, and the shares become a table."""

from bench.spent import Spent, section
from bench.spent_parts import REST, part_of, shares
from bench.work import digits_json

OUTER = "run (asyncio/runners.py:1);"


def test_a_sample_counts_where_its_innermost_known_frame_is() -> None:
    assert part_of(OUTER + "take (serving/web/front/connection.py:9)") == "connections and framing"
    assert part_of(OUTER + "run (serving/web/front/request_cycle.py:9)") == "admission, routes and stages"
    assert part_of(OUTER + "run (serving/models/model.py:9);run (serving/models/engine.py:2)") == "the model"
    assert part_of(OUTER + "decode (serving/inputs/payload.py:1);array (numpy/core.py:2)") == "codec"
    assert part_of(OUTER + "view (flask/app.py:1);match (werkzeug/routing.py:2)") == "Flask"
    assert part_of("main (monopod.py:1)") == REST


def test_the_shares_of_all_parts_add_up_to_all_samples() -> None:
    found = shares(["a (serving/models/tensors.py:1) 3", "b (serving/telemetry/logs.py:2) 1"])
    assert (found["batches"], found["metrics and logs"]) == (0.75, 0.25)
    assert sum(found.values()) == 1


def test_the_table_divides_the_cost_of_an_answer_and_names_the_checkout_before() -> None:
    half = shares(["a (serving/models/tensors.py:1) 1", "b (serving/telemetry/logs.py:2) 1"])
    text = section(digits_json(), Spent(100.0, half), Spent(800.0, half))
    assert "| batches | 400 | 50 |" in text
    assert "| **all** | **800** | **100** |" in text
    assert "before" not in section(digits_json(), Spent(100.0, half), None)
