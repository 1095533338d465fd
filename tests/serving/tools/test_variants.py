"""Copies of a model: the rows that are kept for them, the layers that stay FP32, differences of outputs, and latencies."""

from typing import Any

import numpy as np
import onnx
import pytest

from serving.models.engine import Engine, Hardware
from serving.models.tensors import Arrays
from serving.tools.optimize import convert, variants
from serving.tools.optimize.samples import Recorder, evenly
from serving.tools.optimize.variants import Difference, differences, latencies, relative
from tests.running import DIGITS


@pytest.mark.parametrize(
    ("original", "converted", "difference"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [3.0, 3.0], 0.2),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [0.0, 1.0], 1.0),
        ([1.0, 2.0], [1.0, np.nan], np.inf),
        ([np.inf, 2.0], [np.inf, 2.0], 0.0),
        ([1.0, 2.0], [1.0], np.inf),
    ],
)
def test_a_difference_is_relative_to_the_original(original: list[float], converted: list[float], difference: float) -> None:
    assert relative(np.array(original, np.float32), np.array(converted, np.float32)) == pytest.approx(difference)


def test_differences_are_told_for_each_output_over_all_rows() -> None:
    def row(numbers: list[float], texts: list[bytes]) -> Arrays:
        return {"a": np.array(numbers, np.float32), "b": np.array(texts, object)}

    original = [row([1, 0], [b"x", b"y"])] * 2
    converted = [row([1, 0], [b"x", b"z"]), row([1, 1], [b"x", b"y"])]
    assert differences(original, converted) == {"a": Difference(0.5, 1.0), "b": Difference(0.25, 0.5)}


def test_engines_are_timed_in_turns_each_on_the_same_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variants, "MAX_TURNS", 4)
    runs: list[tuple[str, float]] = []

    class Heard(Engine):
        def __init__(self, name: str):
            super().__init__(DIGITS, Hardware())
            self.name = name

        def run(self, inputs: Any, *, shrink: bool = False) -> Any:
            runs.append((self.name, float(inputs["images"].sum())))
            return super().run(inputs, shrink=shrink)

    rows = [{"images": np.full((1, 1, 8, 8), value, np.float32)} for value in (0, 1)]
    found = latencies({"a": Heard("a"), "b": Heard("b")}, rows, lambda done: None)
    assert runs[2:] == [("b", 0), ("a", 0), ("a", 64), ("b", 64), ("b", 0), ("a", 0), ("a", 64), ("b", 64)]
    assert found["a"] > 0
    assert found["b"] > 0


def test_the_last_layers_are_those_before_each_output() -> None:
    model = onnx.load(DIGITS)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    kinds = [
        [node.op_type for node in model.graph.node if node.name in convert.last_layers(model, count)] for count in (0, 1, 2)
    ]
    assert kinds[0] == []
    assert kinds[1] == ["Gemm"]
    assert kinds[2] == ["Conv", "Relu", "MaxPool", "Flatten", "Gemm"]


def test_what_is_kept_of_many_rows_is_bounded_and_even() -> None:
    recorder = Recorder(Engine(DIGITS, Hardware()))
    row = np.zeros((1, 1, 8, 8), np.float32)
    recorder({"images": row})
    assert recorder.rows(9) == []  # not started yet
    recorder.start(4)
    for number in range(100):
        recorder({"images": row + number})
    kept = [int(each["images"][0, 0, 0, 0]) for each in recorder.rows(4)]
    assert kept == [0, 16, 48, 80]
    assert evenly(range(10), 4) == [0, 2, 5, 7]
