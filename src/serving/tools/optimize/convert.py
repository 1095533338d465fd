"""Convert ONNX files to FP16 and INT8. Only this module imports onnx, and onnxruntime's converters."""

import contextlib
import io
import logging
import math
import platform
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from serving.models.engine import quiet  # first: it sets what onnxruntime reads when it is imported
from serving.models.tensors import Arrays
from serving.tools.optimize.samples import OptimizeError

# isort: split
import onnx
import onnx.version_converter
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

METHODS = {"minmax": CalibrationMethod.MinMax, "percentile": CalibrationMethod.Percentile, "entropy": CalibrationMethod.Entropy}
MIN_OPSET = 13  # from here on DequantizeLinear takes a scale for each channel
WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
INTEGER_OPS = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "MatMulNBits"}
PROTO = onnx.TensorProto
BYTES = {PROTO.INT8, PROTO.UINT8, PROTO.INT4, PROTO.UINT4}
FLOATS = {PROTO.FLOAT, PROTO.DOUBLE, PROTO.FLOAT16, PROTO.BFLOAT16}
VNNI = {"avx512_vnni", "avx_vnni"}


def prepare(file: Path, work: Path) -> Path:
    """Write a copy of a model that the converters take, and return its file. work: the folder for it.

    Constants are folded (weights stored as FP16 become FP32), shapes are inferred, every node has a name.
    Raises OptimizeError where the model is converted already, or cannot be prepared.
    """
    with _telling(f"{file} cannot be prepared"):
        model = onnx.load(file)
        check_float(model, file)
        if _opset(model) < MIN_OPSET:
            model = onnx.version_converter.convert_version(model, MIN_OPSET)
        raised, ready = work / "raised.onnx", work / "ready.onnx"
        onnx.save(model, raised)
        quant_pre_process(str(raised), str(ready), skip_symbolic_shape=True)
        model = onnx.load(ready)
        if _elements(model, {PROTO.FLOAT16}) > _elements(model, {PROTO.FLOAT}):  # after folding: what it computes with
            raise OptimizeError(f"{file}: already FP16; start from the FP32 model that it was made of")
        _tidy(model.graph)
        onnx.save(model, ready)
    return ready


def _tidy(graph: onnx.GraphProto) -> None:
    """Give every node a name. Remove the empty constants of a Resize, which FP16 would hide behind casts.

    A bias of one row, as skl2onnx writes it, loses its first axis, since the quantiser takes numbers alone.
    """
    rows = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 2 and tensor.dims[0] == 1}
    for name in {name for node in graph.node if node.op_type == "Gemm" for name in node.input[2:]}.intersection(rows):
        if all(name not in node.input or node.input[2:] == [name] for node in graph.node):
            del rows[name].dims[0]
    empty = {tensor.name for tensor in graph.initializer if 0 in tensor.dims}
    for number, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
        if node.op_type == "Resize":
            node.input[:] = ["" if name in empty else name for name in node.input]


def check_float(model: onnx.ModelProto, file: Path) -> None:
    """Raise OptimizeError where a model's weights are integers already."""
    cure = "start from the FP32 model that it was made of"
    if any(node.op_type in INTEGER_OPS or node.op_type.startswith("QLinear") for node in model.graph.node):
        raise OptimizeError(f"{file}: already quantised, it holds integer operators; {cure}")
    if _elements(model, BYTES) > _elements(model, FLOATS):
        raise OptimizeError(f"{file}: already quantised, its weights are integers of 8 bits or fewer; {cure}")


def to_fp16(ready: Path, out: Path) -> None:
    """Write an FP16 copy of a prepared model, whose inputs and outputs stay FP32. Raises OptimizeError where that fails."""
    with _telling("FP16: the model cannot be converted"):
        onnx.save(convert_float_to_float16(onnx.load(ready), keep_io_types=True), out)


def to_int8(
    ready: Path, out: Path, rows: Sequence[Arrays], method: str, kept: int, ranges: Path, tell: Callable[[float], None]
) -> None:
    """Write an INT8 copy of a prepared model: weights int8 with a scale for each channel, activations uint8.

    method: a key of METHODS, finds the ranges of activations from the rows. ranges: a file that keeps them for the next call
    with the same method.

    kept: how many weighted layers before each output stay FP32. tell: takes the number of rows that are done. Raises
    OptimizeError where that fails, or where nothing in the model can be INT8.
    """
    with _telling(f"INT8 ({method}): the model cannot be converted"):
        quantize_static(
            ready,
            out,
            _Rows(rows, tell),
            calibration_cache_path=ranges,
            calibrate_method=METHODS[method],
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=narrow(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=sorted(last_layers(onnx.load(ready), kept)),
            extra_options={"CalibStridedMinMax": 1, "CalibTensorRangeSymmetric": False},  # row by row: shapes may differ
        )
    if not any(node.op_type == "QuantizeLinear" for node in onnx.load(out).graph.node):
        raise OptimizeError("INT8: nothing in this model can be INT8; leave it as it is, or try --fp16 alone")


def last_layers(model: onnx.ModelProto, count: int) -> set[str]:
    """Return the names of the nodes from each output back to the last weighted layers. count: of these layers, included."""
    makers = {name: node for node in model.graph.node for name in node.output}
    found: dict[str, int] = {}  # node -> layers left when it was reached; another path may reach it with more left
    todo = [(output.name, count) for output in model.graph.output]
    while todo:
        name, left = todo.pop()
        node = makers.get(name)
        if node is None or left <= found.get(node.name, 0):
            continue
        found[node.name] = left
        todo += [(source, left - (node.op_type in WEIGHTED)) for source in node.input]
    return set(found)


def may_keep(ready: Path, count: int) -> bool:
    """Return whether the last layers are at most half of all weighted ones, so that the rest is worth INT8. count: of them."""
    model = onnx.load(ready)
    kept = last_layers(model, count)
    weighted = [node.name in kept for node in model.graph.node if node.op_type in WEIGHTED]
    return 2 * sum(weighted) <= len(weighted)


def narrow() -> bool:
    """Return whether weights must be of 7 bits: on x86 without VNNI, sums of 8-bit products overflow 16 bits."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    with contextlib.suppress(OSError):
        return not VNNI & set(Path("/proc/cpuinfo").read_text().split())
    return True


def noted(made: Path, notes: Mapping[str, str]) -> bytes:
    """Return a converted model's bytes, with notes in its metadata."""
    model = onnx.load(made)
    known = {each.key: each.value for each in model.metadata_props} | {f"monopod.{key}": text for key, text in notes.items()}
    onnx.helper.set_model_props(model, known)
    content: bytes = model.SerializeToString()
    return content


class _Rows:
    """Rows behind the interface that onnxruntime's calibration reads."""

    def __init__(self, rows: Sequence[Arrays], tell: Callable[[float], None]):
        self._rows, self._tell = rows, tell
        self.set_range(0, len(rows))

    def __len__(self) -> int:
        return len(self._rows)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._tell(start_index)
        self._left = iter(self._rows[start_index:end_index])

    def get_next(self) -> Arrays | None:
        return next(self._left, None)


@contextlib.contextmanager
def _telling(what: str) -> Iterator[None]:
    """Silence the converters, and turn their exceptions into OptimizeError. what: the failure, in words."""
    quiet()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    except (OptimizeError, OSError):
        raise
    except Exception as error:  # the converters raise anything, assertions too
        words = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise OptimizeError(f"{what}: {words}; export it anew, with another opset, or leave it as it is") from error
    finally:
        logging.disable(before)


def _opset(model: onnx.ModelProto) -> int:
    return max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)


def _elements(model: onnx.ModelProto, kinds: Collection[int]) -> int:
    """Return how many numbers of these element types the model's constants hold. kinds: of TensorProto."""
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in kinds)
