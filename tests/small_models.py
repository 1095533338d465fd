"""Writes ONNX models of a few nodes for tests. Each function writes one and returns its file.

Knows onnx, which only test_optimize_parts imports besides.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, TypeProto, ValueInfoProto, helper, numpy_helper

ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
Shape = Sequence[int | str]


def tensor(name: str, shape: Shape, datatype: str = "FP32") -> ValueInfoProto:
    """Return the description of an input or output. A text in the shape makes that dimension dynamic."""
    return helper.make_tensor_value_info(name, ELEMENTS[datatype], list(shape))


def write(
    file: Path,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    **constants: np.ndarray,
) -> Path:
    """Write a model of these nodes. constants: name -> array."""
    kept = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph: GraphProto = helper.make_graph(list(nodes), "small", list(inputs), list(outputs), kept)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    file.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    return file


def identity(file: Path, datatype: str = "FP32", shape: Shape = ("n", 2), name: str = "x") -> Path:
    """x -> y, the same. name: of the input, in place of x."""
    return write(
        file, [helper.make_node("Identity", [name], ["y"])], [tensor(name, shape, datatype)], [tensor("y", shape, datatype)]
    )


def padded(file: Path, size: int, factor: float = 2) -> Path:
    """x -> y = x * factor, in a file of about `size` bytes."""
    nodes = [
        helper.make_node("ReduceSum", ["ballast"], ["nothing"], keepdims=0),
        helper.make_node("Mul", ["x", "factor"], ["scaled"]),
        helper.make_node("Add", ["scaled", "nothing"], ["y"]),
    ]
    constants = {"ballast": np.zeros(size // 4, np.float32), "factor": np.array(factor, np.float32)}
    return write(file, nodes, [tensor("x", ("n", 2))], [tensor("y", ("n", 2))], **constants)


def lookup(file: Path, rows: int = 3) -> Path:
    """ids -> the rows of a table, of 8 bytes each. The model itself refuses an id outside the table."""
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    table = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    return write(file, [node], [tensor("ids", ("n",), "INT64")], [tensor("y", ("n", 2))], table=table)


def summed(file: Path, keepdims: int) -> Path:
    """x -> y, the sum over all rows: an output whose first axis does not count rows."""
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=keepdims)
    shape: Shape = (1, 2) if keepdims else (2,)
    return write(file, [node], [tensor("x", ("n", 2))], [tensor("y", shape)], axes=np.array([0]))


def glutton(file: Path) -> Path:
    """x -> y, the same, computed through n ** 60 numbers: one row fits any memory, two fit none."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["rows"]),
        helper.make_node("Pow", ["rows", "sixty"], ["many"]),
        helper.make_node("ConstantOfShape", ["many"], ["memory"]),
        helper.make_node("ReduceSum", ["memory"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["x", "nothing"], ["y"]),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "sixty": np.array([60])}
    return write(file, nodes, [tensor("x", ("n", 2))], [tensor("y", ("n", 2))], **constants)


def sized(file: Path) -> Path:
    """x -> y = x reshaped to rows of 4 x 2. The input may declare any length, but only rows of 8 numbers work."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    shape = np.array([0, 4, 2])
    return write(file, [node], [tensor("x", ("n", "length"))], [tensor("y", ("n", 4, 2))], shape=shape)


def sequence(file: Path) -> Path:
    """x -> y, a sequence of tensors, which cannot be served."""
    y = helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, ["n", 2])
    return write(file, [helper.make_node("SplitToSequence", ["x"], ["y"], axis=1)], [tensor("x", ("n", 2))], [y])


def table(file: Path) -> Path:
    """x -> y, maps from class to score, as exporters of classical models write them."""
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    return write(file, [node], [tensor("x", ("n", 2))], [helper.make_value_info("y", _maps())])


def _maps() -> TypeProto:
    return helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )


def classifier(file: Path, zipmap: bool = True) -> Path:
    """X -> a label and the scores of three classes, as skl2onnx writes a classifier: as maps with zipmap, else as a tensor."""
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["X"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            classlabels_ints=[0, 1, 2],
            coefficients=[float(number) for number in range(12)],
            intercepts=[0.0, 0.0, 0.0],
            multi_class=1,
            post_transform="SOFTMAX",
        ),
        helper.make_node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
    ]
    scores = tensor("probabilities", ("n", 3))
    if zipmap:
        nodes.append(helper.make_node("Cast", ["label"], ["output_label"], to=TensorProto.INT64))
        names = ["probabilities"], ["output_probability"]
        nodes.append(helper.make_node("ZipMap", *names, domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]))
        scores = helper.make_value_info("output_probability", _maps())
    label = tensor("output_label" if zipmap else "label", ("n",), "INT64")
    return write(file, nodes, [tensor("X", ("n", 4))], [label, scores])


def half(file: Path) -> Path:
    """x -> y, in bfloat16, which numpy does not know."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.BFLOAT16, ["n", 2]) for name in "xy")
    return write(file, [helper.make_node("Identity", ["x"], ["y"])], [x], [y])


def unrunnable(file: Path) -> Path:
    """A graph that has only outputs: an optional tensor, an optional sequence of tensors, and a map of them."""
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    kinds = [
        helper.make_optional_type_proto(number),
        helper.make_optional_type_proto(helper.make_sequence_type_proto(number)),
        helper.make_map_type_proto(TensorProto.STRING, number),
    ]
    return write(file, [], [], [helper.make_value_info(f"y{at}", kind) for at, kind in enumerate(kinds)])


def endless(file: Path) -> Path:
    """x -> y, the same after 2 ** 62 rounds of a loop."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go on"]), helper.make_node("Identity", ["before"], ["after"])],
        "round",
        [tensor("round", (), "INT64"), tensor("go", (), "BOOL"), tensor("before", ("n", 2))],
        [tensor("go on", (), "BOOL"), tensor("after", ("n", 2))],
    )
    nodes = [helper.make_node("Loop", ["rounds", "go first", "x"], ["y"], body=body)]
    constants = {"rounds": np.array(2**62), "go first": np.array(True)}
    return write(file, nodes, [tensor("x", ("n", 2))], [tensor("y", ("n", 2))], **constants)


def perceptron(file: Path) -> Path:
    """x -> y, by two layers as skl2onnx writes them: a product of matrices, and the sum with a bias of one row."""
    numbers = np.random.default_rng(0)
    nodes, source = [], "x"
    constants: dict[str, np.ndarray] = {}
    for layer, shape in enumerate(((4, 8), (8, 3))):
        constants |= {f"w{layer}": numbers.normal(size=shape), f"b{layer}": numbers.normal(size=(1, shape[1]))}
        nodes.append(helper.make_node("MatMul", [source, f"w{layer}"], [f"p{layer}"]))
        nodes.append(helper.make_node("Add", [f"p{layer}", f"b{layer}"], [f"s{layer}"]))
        source = f"r{layer}"
        nodes.append(helper.make_node("Relu", [f"s{layer}"], [source]))
    nodes.append(helper.make_node("Softmax", [source], ["y"]))
    floats = {name: array.astype(np.float32) for name, array in constants.items()}
    return write(file, nodes, [tensor("x", ("n", 4))], [tensor("y", ("n", 3))], **floats)
