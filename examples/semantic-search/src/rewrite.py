"""`python rewrite.py FROM TO` rewrites MiniLM's ONNX file so that it multiplies in int8 and gives one vector a sentence.

The original file holds int8 weights, turns them into float32 when it is loaded, and multiplies those. In the new file

  * each token of the activations is quantised by its own largest value, to uint8 around 128, and multiplied with the int8
    weights. With DynamicQuantizeLinear, the usual way, the whole batch has one scale, so that a sentence's vector depends on
    the other sentences.
  * only the words that are looked up in the embedding are turned into float32, not the whole table at the start.
  * the tokens' vectors are pooled (mean over the mask) and normalised. The output is float32 [sentences, width].
  * rows of more than 256 tokens are refused. The model was trained on 256, and memory grows with the square of their number.

The figures are in model/README.md. The running service does not use this module.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

Array = np.ndarray[Any, np.dtype[Any]]

TOKENS, OUTPUT = "last_hidden_state", "sentence_embedding"
POSITIONS, LONGEST = "inner.embeddings.position_ids", 256  # int64 [1, 512], cut to the longest row
MIDDLE, STEPS = 128, 127  # quantised activations are MIDDLE - STEPS to MIDDLE + STEPS
TINY = np.float32(1e-12)


class Graph:
    """The nodes and constants of the new graph, in order."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._quantised: dict[str, tuple[str, str]] = {}

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def quantised(self, x: str) -> tuple[str, str]:
        """Return the names of x as uint8 [..., n] and of each row's largest absolute value, [..., 1].

        The nodes are added once for each x. x: the name of float32 [..., n].
        """
        if x not in self._quantised:
            steps = self.constant("int8_steps", np.float32(STEPS))
            # A cast to an integer truncates, so half a step more rounds to the nearest.
            middle = self.constant("int8_middle_and_half", np.float32(MIDDLE + 0.5))
            absolute = self.add("ReduceMax", [self.add("Abs", [x], f"{x}_abs")], f"{x}_reach", axes=[-1], keepdims=1)
            reach = self.add("Max", [absolute, self.constant("tiny", TINY)], f"{x}_range")
            scaled = self.add("Mul", [x, self.add("Div", [steps, reach], f"{x}_per_step")], f"{x}_scaled")
            shifted = self.add("Add", [scaled, middle], f"{x}_shifted")
            self._quantised[x] = self.add("Cast", [shifted], f"{x}_uint8", to=TensorProto.UINT8), reach
        return self._quantised[x]

    def product(self, x: str, weights: str, scales: Array, output: str) -> None:
        """Multiply in int8. weights: the name of int8 [n, m]. scales: of its columns, float32 [m].

        The two scales are multiplied one after the other. With a single Mul, onnxruntime 1.31 fuses Cast and Mul into a
        MatMulIntegerToFloat, which assumes one scale for the whole tensor. Cosines of 0.4 to 0.7 were seen then.
        """
        values, reach = self.quantised(x)
        zero = self.constant("int8_middle", np.uint8(MIDDLE))
        sums = self.add("MatMulInteger", [values, weights, zero], f"{output}_int32")
        floats = self.add("Cast", [sums], f"{output}_float", to=TensorProto.FLOAT)
        by_column = self.constant(f"{weights}_scale_per_step", (scales / STEPS).astype(np.float32))
        self.add("Mul", [self.add("Mul", [floats, by_column], f"{output}_by_column"), reach], output)

    def look_up(self, table: str, scales: str, places: str, output: str) -> None:
        """Gather rows of int8 [rows, n] with scales float32 [rows, 1]."""
        floats = self.add(
            "Cast", [self.add("Gather", [table, places], f"{output}_int8")], f"{output}_float", to=TensorProto.FLOAT
        )
        self.add("Mul", [floats, self.add("Gather", [scales, places], f"{output}_scale")], output)

    def pool(self) -> None:
        """Sum the tokens without padding, and scale the sum to length 1. The mean has the same direction.

        The sum is a product with the mask, since ReduceSum in onnxruntime 1.31 adds up a batch of one row in another order.
        """
        mask = self.add("Cast", ["attention_mask"], "pool_mask", to=TensorProto.FLOAT)
        axis = self.constant("pool_axis", np.array([1]))
        row = self.add("Unsqueeze", [mask, axis], "pool_row")
        total = self.add("Squeeze", [self.add("MatMul", [row, TOKENS], "pool_product"), axis], "pool_sum")
        length = self.add("ReduceL2", [total], "pool_length", axes=[-1], keepdims=1)
        self.add("Div", [total, self.add("Max", [length, self.constant("tiny", TINY)], "pool_divisor")], OUTPUT)


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with int8 products and pooled output. Raises ValueError where the model is not MiniLM as expected."""
    old = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    if POSITIONS in old:
        old[POSITIONS] = old[POSITIONS][:, :LONGEST]  # a later token has no position, so that a longer row fails
    packed = _packed(model, old)
    graph, products = Graph(), 0
    for node in model.graph.node:
        data, *others = node.input
        if node.op_type == "MatMul" and others[0] in packed:
            weights, scales = packed[others[0]]
            graph.product(data, weights, old[scales].ravel(), node.output[0])
            products += 1
        elif node.op_type == "Gather" and data in packed:
            graph.look_up(*packed[data], others[0], node.output[0])
        else:
            graph.nodes.append(node)
    outputs = [output.name for output in model.graph.output]
    if not products or TOKENS not in outputs:
        raise ValueError(f"{products} products with int8 weights, outputs {', '.join(outputs)}: this is another model")
    graph.pool()
    return _made(model, graph, old)


def _packed(model: onnx.ModelProto, old: dict[str, Array]) -> dict[str, tuple[str, str]]:
    """Return the names of int8 values and their scales, by the name of their product Mul(Cast(values), scales)."""
    casts = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Cast" and n.input[0] in old}
    muls = [n for n in model.graph.node if n.op_type == "Mul" and n.input[0] in casts and n.input[1] in old]
    return {n.output[0]: (casts[n.input[0]], n.input[1]) for n in muls if old[casts[n.input[0]]].dtype == np.int8}


def _made(model: onnx.ModelProto, graph: Graph, old: dict[str, Array]) -> onnx.ModelProto:
    """Return a model of the nodes that the output needs, checked by onnx."""
    needed, nodes = {OUTPUT}, []
    for node in reversed(graph.nodes):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    constants = {name: value for name, value in (old | graph.constants).items() if name in needed}
    width = len(old[next(name for name in old if name.endswith("LayerNorm.bias"))])
    made = helper.make_graph(
        nodes[::-1],
        "sentences",
        model.graph.input,
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    result = helper.make_model(made, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(result)
    return result


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    onnx.save(rewritten(onnx.load(source)), target)
