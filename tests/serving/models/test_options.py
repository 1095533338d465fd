"""The options of a model follow from value.py."""

from typing import Any

import pytest

from serving.models.engine import Hardware
from serving.models.options import Options, options_of
from serving.settings import Settings


@pytest.mark.parametrize(
    ("settings", "hardware", "instances"),
    [
        ({}, Hardware("cpu", 1), 1),
        ({"cpu": 4.0, "ins_num_per_gpu": 2}, Hardware("cpu", 2), 2),
        ({"cpu": 3.5, "ins_num_per_gpu": 2}, Hardware("cpu", 1), 2),
        ({"cpu": 0.5}, Hardware("cpu", 1), 1),
        ({"cpu": 8.0, "gpu_memory": 8.0, "ins_num_per_gpu": 2}, Hardware("cuda", 1, 4 * 2**30), 2),
        ({"gpu_num": 1}, Hardware("cuda", 1, 0), 1),
        ({"gpu_memory": 8.0, "model_gpu_memory": {"a": 2.0, "b": 1.0}}, Hardware("cuda", 1, 5 * 2**30), 1),
        ({"gpu_memory": 8.0, "on_demand_gpu_memory": 2.0, "ins_num_per_gpu": 2}, Hardware("cuda", 1, 3 * 2**30), 2),
        ({"model_gpu_memory": {"a": 2.0}, "on_demand_gpu_memory": 2.0}, Hardware("cpu", 1, 0), 1),
        ({"gpu_memory": 2.0, "provider": "tensorrt", "fp16": True}, Hardware("tensorrt", 1, 2 * 2**30, True), 1),
        ({"gpu_memory": 2.0, "provider": "cpu", "cpu": 2.0}, Hardware("cpu", 2, 2 * 2**30), 1),
    ],
)
def test_what_a_model_may_use_follows_from_the_settings(settings: Any, hardware: Hardware, instances: int) -> None:
    options = options_of(Settings(service_name="s", username="u", **settings))
    assert options.hardware == hardware
    assert options.instances == instances


def test_limits_come_from_the_settings() -> None:
    options = options_of(
        Settings(
            service_name="s",
            username="u",
            max_batch_size=3,
            max_queue_delay_ms=20,
            queue_limit=5,
            max_rows_per_request=4,
            warmup_shapes={"x": (3,)},
        )
    )
    assert options == Options(
        max_batch_size=3,
        max_queue_delay=0.02,
        queue_limit=5,
        max_rows_per_request=4,
        warmup_shapes={"x": (3,)},
        memory=2 * 2**30,
    )
