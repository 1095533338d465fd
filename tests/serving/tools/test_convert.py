"""Converted models: the layers that stay FP32."""

import onnx

from serving.tools.optimize import convert
from tests.running import DIGITS


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
