"""Makes the two ONNX models and the picture, in folders that git ignores. The same bytes come out every time."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image

from bench.work import ROOT

HERE = Path(__file__).resolve().parent
OPSET = 17
IR_VERSION = 8  # old enough for every onnxruntime that a peer brings
SMALL = (32, 64, 64, 8)  # values after each layer, the row first
CHANNELS = (3, 16, 24, 24, 32, 48, 64, 96)  # after each of the seven convolutions, the picture's first
STRIDES = (2, 1, 2, 1, 2, 1, 2)
OUTPUTS = 8
WIDTH = 320  # pixels of the picture, of which a JPEG of about 17 KB comes
QUALITY = 82


def model(service: str) -> Path:
    """Return the ONNX file of a service, "small" or "jpeg", made where it is missing."""
    return _file(HERE / "services" / service / "model" / f"{service}.onnx", MAKERS[service])


def picture() -> Path:
    """Return the JPEG file, made where it is missing."""
    return _file(HERE / ".made" / "picture.jpg", _picture)


def _file(path: Path, make: Callable[[], bytes]) -> Path:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make())
    return path


def _small() -> bytes:
    random = np.random.default_rng(32)
    nodes, weights, name = [], [], "inputs"
    for layer, (wide, high) in enumerate(zip(SMALL, SMALL[1:], strict=False)):
        weights += [_weight(f"w{layer}", random, (wide, high), wide), _weight(f"b{layer}", random, (high,), high)]
        last = layer == len(SMALL) - 2
        result = "outputs" if last else f"sum{layer}"
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [result]))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [f"x{layer}"]))
        name = f"x{layer}"
    return _serialized("small", nodes, weights, ["rows", SMALL[0]])


def _jpeg() -> bytes:
    random = np.random.default_rng(112)
    nodes, weights, name = [], [], "inputs"
    for layer, (wide, high) in enumerate(zip(CHANNELS, CHANNELS[1:], strict=False)):
        weights += [_weight(f"w{layer}", random, (high, wide, 3, 3), wide * 9), _weight(f"b{layer}", random, (high,), high)]
        strides = [STRIDES[layer]] * 2
        conv = helper.make_node("Conv", [name, f"w{layer}", f"b{layer}"], [f"c{layer}"], pads=[1] * 4, strides=strides)
        nodes.append(conv)
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer}"]))
        name = f"x{layer}"
    weights += [_weight("w", random, (CHANNELS[-1], OUTPUTS), CHANNELS[-1]), _weight("b", random, (OUTPUTS,), OUTPUTS)]
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["outputs"]),
    ]
    return _serialized("jpeg", nodes, weights, ["rows", CHANNELS[0], 112, 112])


def _weight(name: str, random: np.random.Generator, shape: tuple[int, ...], inputs: int) -> onnx.TensorProto:
    """Return weights that keep the size of the values from layer to layer. inputs: the values summed in one output."""
    return numpy_helper.from_array((random.standard_normal(shape) * (2 / inputs) ** 0.5).astype(np.float32), name)


def _serialized(name: str, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], shape: list[str | int]) -> bytes:
    inputs = [helper.make_tensor_value_info("inputs", onnx.TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("outputs", onnx.TensorProto.FLOAT, ["rows", OUTPUTS])]
    graph = helper.make_graph(nodes, name, inputs, outputs, weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def _picture() -> bytes:
    source = Image.open(ROOT / "examples" / "images" / "coffee.jpg").convert("RGB")
    height = round(source.height * WIDTH / source.width)
    out = BytesIO()
    source.resize((WIDTH, height), Image.Resampling.BICUBIC).save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {"small": _small, "jpeg": _jpeg}
