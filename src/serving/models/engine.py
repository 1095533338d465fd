"""One onnxruntime session of one model. The only module that imports onnxruntime."""

import contextlib
import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when the library loads, so it must stand before the import
import onnxruntime as ort  # noqa: E402

from serving.base.errors import BadInput, StartError  # noqa: E402
from serving.models.tensors import Arrays, TensorSpec  # noqa: E402
from serving.settings import SESSION_GIB  # noqa: E402

# onnxruntime's element types -> Open Inference Protocol datatypes.
ELEMENTS = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
# Parts of onnxruntime's messages that do not help a user: a line of its source, and a number before the error's name.
SOURCE_LINE = re.compile(r"\S*/\S+\.(?:cc|cpp|h|hpp|cu):\d+ |\[ONNXRuntimeError\] : \d+ : ")
CUDA_CONTEXT_BYTES = int(SESSION_GIB * 2**30)  # the part of a session's share that is not its arena


class EngineError(Exception):
    """A batch failed in onnxruntime. The text is onnxruntime's, for the log alone: it may name nodes and addresses.

    memory: whether memory ran out, which is never the fault of the input alone.
    """

    @property
    def memory(self) -> bool:
        return any(words in str(self) for words in ("allocate memory", "out of memory", "BFCArena", "bad allocation"))


@dataclass(frozen=True)
class Hardware:
    """The hardware that one session may use. provider: cpu, cuda or tensorrt. threads: the session's own.

    gpu_bytes: memory of one GPU, the CUDA context included, 0 for no limit.
    """

    provider: str = "cpu"
    threads: int = 1
    gpu_bytes: int = 0
    fp16: bool = False

    @property
    def arena_bytes(self) -> int:
        """The most that the session's arena may take of the GPU, 0 where nothing limits it."""
        return max(self.gpu_bytes - CUDA_CONTEXT_BYTES, 64 * 2**20) if self.gpu_bytes and self.provider != "cpu" else 0


class Engine:
    """One onnxruntime session.

    inputs and outputs: the model's tensors, with -1 for the batch axis. arena: whether the session keeps memory between runs.
    Raises StartError where the file is not a model, or the requested provider is not active.
    """

    def __init__(self, path: Path, hardware: Hardware, arena: bool = True):
        self._session = _session(path, hardware, arena)
        self.inputs = _specs(path, "input", self._session.get_inputs())
        self.outputs = _specs(path, "output", self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._text_inputs = [spec.name for spec in self.inputs if spec.datatype == "BYTES"]
        self._text_outputs = [spec.name for spec in self.outputs if spec.datatype == "BYTES"]
        self._shrink = ort.RunOptions()
        devices = "cpu:0" if hardware.provider == "cpu" else "gpu:0"
        self._shrink.add_run_config_entry("memory.enable_memory_arena_shrinkage", devices)

    def run(self, inputs: Arrays, *, shrink: bool = False) -> Arrays:
        """Run one batch and return its outputs. shrink: free the arena's unused memory afterwards.

        Raises BadInput where the model refuses a value, such as an index out of range, EngineError for every other failure.
        """
        try:
            feeds = {**inputs, **{name: _to_text(name, inputs[name]) for name in self._text_inputs}}
            values = self._session.run(self._names, feeds, self._shrink if shrink else None)
        except ort.capi.onnxruntime_pybind11_state.InvalidArgument as error:
            raise BadInput(f"the model refuses this input: {_first_line(error)}") from None
        except BadInput:
            raise
        except Exception as error:  # onnxruntime's own errors share no base class
            raise EngineError(_first_line(error)) from error
        outputs = dict(zip(self._names, values, strict=True))
        for name in self._text_outputs:
            outputs[name] = np.array([t.encode() for t in outputs[name].ravel()], object).reshape(outputs[name].shape)
        return outputs


def quiet() -> None:
    """Have onnxruntime write nothing to stderr, for commands that print failures themselves."""
    ort.set_default_logger_severity(4)


def _session(path: Path, hardware: Hardware, arena: bool) -> Any:
    wanted = PROVIDERS[hardware.provider]
    if hardware.provider != "cpu":
        ort.preload_dlls()  # CUDA and cuDNN come as Python packages, which are not on the loader's path
    if hardware.provider == "tensorrt":
        with contextlib.suppress(ModuleNotFoundError):  # the base image has TensorRT itself
            importlib.import_module("tensorrt_libs")  # NVIDIA's package loads TensorRT's libraries on its import
    if wanted not in ort.get_available_providers():
        raise StartError(
            f"provider {hardware.provider} is not in this onnxruntime ({', '.join(ort.get_available_providers())}); "
            'install the gpu extra in place of cpu, or set provider = "cpu"'
        )
    try:
        session = ort.InferenceSession(str(path), _options(hardware, arena), providers=_providers(hardware))
    except Exception as error:
        raise StartError(f"{path}: not loaded as an ONNX model: {_first_line(error)}; is the file whole?") from error
    if wanted not in session.get_providers():
        raise StartError(
            f"provider {hardware.provider} was asked for and is not active, only {', '.join(session.get_providers())}: "
            "the GPU, its driver or a library of CUDA or TensorRT is missing, and onnxruntime's own lines above name it; "
            'repair that, or set provider = "cpu"'
        )
    return session


def _options(hardware: Hardware, arena: bool) -> Any:
    options = ort.SessionOptions()
    options.enable_cpu_mem_arena = arena
    options.intra_op_num_threads = hardware.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning starves Python's own threads
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _providers(hardware: Hardware) -> list[tuple[str, dict[str, str]]]:
    cuda = {"device_id": "0", "arena_extend_strategy": "kSameAsRequested", "cudnn_conv_algo_search": "HEURISTIC"}
    if hardware.arena_bytes:
        cuda["gpu_mem_limit"] = str(hardware.arena_bytes)
    cpu: tuple[str, dict[str, str]] = (PROVIDERS["cpu"], {})
    if hardware.provider == "cpu":
        return [cpu]
    if hardware.provider == "cuda":
        return [(PROVIDERS["cuda"], cuda), cpu]
    cache = os.path.join(os.environ.get("TMPDIR", "/tmp"), "tensorrt")
    tensorrt = {
        "device_id": "0",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": cache,
        "trt_fp16_enable": str(int(hardware.fp16)),
        **({"trt_max_workspace_size": cuda["gpu_mem_limit"]} if hardware.arena_bytes else {}),
    }
    return [(PROVIDERS["tensorrt"], tensorrt), (PROVIDERS["cuda"], cuda), cpu]


def _specs(path: Path, role: str, nodes: Any) -> tuple[TensorSpec, ...]:
    for node in nodes:
        if node.type not in ELEMENTS:
            raise StartError(f"{path}: {role} {node.name!r} is {node.type}, which is not served: {_cure(node.type)}")
    return tuple(
        TensorSpec(node.name, ELEMENTS[node.type], tuple(size if isinstance(size, int) else -1 for size in node.shape))
        for node in nodes
    )


def _cure(kind: str) -> str:
    """Return how to replace a type that is not served. kind: its name in onnxruntime."""
    if kind.startswith("tensor("):
        return f"cast it in the graph to a tensor of another type ({', '.join(name[7:-1] for name in ELEMENTS)})"
    if "map(" in kind:
        return 'export the model with options={"zipmap": False}, which to_onnx and convert_sklearn of skl2onnx take'
    return "export the model so that it takes and gives tensors alone"


def _to_text(name: str, array: Any) -> Any:
    """Return an array of str, which onnxruntime takes where the protocol has bytes. Raises BadInput for bad UTF-8."""
    try:
        texts = [t.decode() if isinstance(t, bytes) else str(t) for t in array.ravel()]
    except UnicodeDecodeError:
        raise BadInput(f"input {name!r} must be UTF-8 text") from None
    return np.array(texts, object).reshape(array.shape)


def _first_line(error: Exception) -> str:
    text = SOURCE_LINE.sub("", str(error)).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
