"""One onnxruntime session: its inputs and outputs, its errors, and that it sends no telemetry."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.base.errors import BadInput, StartError
from serving.models.engine import CUDA_CONTEXT_BYTES, ELEMENTS, Engine, EngineError, Hardware, _providers
from serving.models.tensors import DATATYPES, TensorSpec
from tests import small_models
from tests.running import DIGITS, PYTHONPATH


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def sample(datatype: str) -> Any:
    if datatype == "BYTES":
        return np.array([[b"a", b""], ["\u00e9\U0001f600".encode(), b"a b\n"]], object)
    if datatype == "BOOL":
        return np.array([[True, False], [False, True]])
    dtype = DATATYPES[datatype]
    edges = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return np.array([[edges.min, edges.max], [0, 1]], dtype)


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_goes_in_and_comes_out_unchanged(file: Path, datatype: str) -> None:
    engine = Engine(small_models.identity(file, datatype), Hardware())
    assert engine.inputs == (TensorSpec("x", datatype, (-1, 2)),)
    assert engine.outputs == (TensorSpec("y", datatype, (-1, 2)),)
    given = sample(datatype)
    got = engine.run({"x": given})["y"]
    assert got.dtype == DATATYPES[datatype]
    assert got.shape == given.shape
    assert got.tolist() == given.tolist()


def test_every_datatype_of_the_protocol_has_an_element_type() -> None:
    assert set(ELEMENTS.values()) == set(DATATYPES)


def test_not_a_number_and_infinity_are_kept(file: Path) -> None:
    engine = Engine(small_models.identity(file), Hardware())
    given = np.array([[np.nan, np.inf], [-np.inf, -0.0]], np.float32)
    assert engine.run({"x": given})["y"].tobytes() == given.tobytes()


def test_texts_may_be_given_as_str_too(file: Path) -> None:
    engine = Engine(small_models.identity(file, "BYTES"), Hardware())
    assert engine.run({"x": np.array([["é", b"b"]], object)})["y"].tolist() == [["é".encode(), b"b"]]


def test_a_text_that_is_not_utf_8_is_refused(file: Path) -> None:
    engine = Engine(small_models.identity(file, "BYTES"), Hardware())
    with pytest.raises(BadInput, match="^input 'x' must be UTF-8 text$"):
        engine.run({"x": np.array([[b"\xff", b""]], object)})


def test_open_dimensions_are_told_as_minus_one(file: Path) -> None:
    engine = Engine(small_models.identity(file, shape=("n", 3, "height", 7)), Hardware())
    assert engine.inputs[0].shape == (-1, 3, -1, 7)


def test_a_real_model_gives_its_answer() -> None:
    engine = Engine(DIGITS, Hardware(threads=2))
    logits = engine.run({"images": np.zeros((5, 1, 8, 8), np.float32)}, shrink=True)["logits"]
    assert logits.shape == (5, 10)
    assert np.isfinite(logits).all()


def test_what_only_the_model_can_refuse_is_bad_input(file: Path) -> None:
    engine = Engine(small_models.lookup(file), Hardware())
    assert engine.run({"ids": np.array([2, 0])})["y"].tolist() == [[4, 5], [0, 1]]
    with pytest.raises(BadInput, match="^the model refuses this input: .*idx=7"):
        engine.run({"ids": np.array([0, 7])})


@pytest.mark.parametrize(
    "inputs",
    [{}, {"z": np.zeros((1, 2), np.float32)}, {"x": np.zeros((1, 2), np.float64)}, {"x": np.zeros((1, 3), np.float32)}],
    ids=["no input", "unknown name", "wrong dtype", "wrong shape"],
)
def test_wrong_inputs_are_an_error_of_the_house_and_not_onnxruntimes(file: Path, inputs: Any) -> None:
    engine = Engine(small_models.identity(file), Hardware())
    with pytest.raises((BadInput, EngineError)) as caught:
        engine.run(inputs)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_run_that_fits_no_memory_fails_and_the_next_one_lives(file: Path) -> None:
    engine = Engine(small_models.glutton(file), Hardware())
    with pytest.raises(EngineError, match="ConstantOfShape"):
        engine.run({"x": np.ones((2, 2), np.float32)})
    assert engine.run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (small_models.sequence, "output 'y' is seq(tensor(float)), which is not served: export the model so that it takes and"),
        (
            small_models.table,
            "output 'y' is seq(map(int64,tensor(float))), which is not served: export the model with options={",
        ),
        (
            small_models.classifier,
            'export the model with options={"zipmap": False}, which to_onnx and convert_sklearn of skl2onnx',
        ),
        (small_models.half, "input 'x' is tensor(bfloat16), which is not served: cast it in the graph to a tensor of another"),
    ],
)
def test_a_model_with_values_that_are_not_served_is_refused_with_its_cure(
    file: Path, write: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(StartError, match=rf"m\.onnx: .*{re.escape(words)}"):
        Engine(write(file), Hardware())


def test_a_classifier_without_zipmap_is_served(file: Path) -> None:
    outputs = Engine(small_models.classifier(file, zipmap=False), Hardware()).run({"X": np.ones((2, 4), np.float32)})
    assert outputs["label"].tolist() == [2, 2]
    assert outputs["probabilities"].shape == (2, 3)


@pytest.mark.parametrize("content", [b"", b"no model", DIGITS.read_bytes()[:30_000], b"\0" * 5000])
def test_a_file_that_is_no_model_is_refused_in_words(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(StartError, match=r"m\.onnx: not loaded as an ONNX model"):
        Engine(file, Hardware())


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_that_was_asked_for_and_is_not_there_fails_the_start(provider: str) -> None:
    with pytest.raises(StartError, match=rf'^provider {provider} .*set provider = "cpu"$'):
        Engine(DIGITS, Hardware(provider))


def test_the_package_of_tensorrt_is_asked_to_load_its_libraries_before_a_session_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_libs.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for provider, loaded in (("cuda", False), ("tensorrt", True)):
        with pytest.raises(StartError):
            Engine(DIGITS, Hardware(provider))
        assert ("tensorrt_libs" in sys.modules) is loaded
    monkeypatch.delitem(sys.modules, "tensorrt_libs")


def test_the_threads_of_a_session_are_those_it_was_given() -> None:
    code = (
        "import os; from pathlib import Path; from serving.models.engine import Engine, Hardware\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        f"before = count(); e = Engine(Path({str(DIGITS)!r}), Hardware(threads=1)); print(count() - before)\n"
        f"before = count(); f = Engine(Path({str(DIGITS)!r}), Hardware(threads=4)); print(count() - before)\n"
    )
    assert run_python(code).split() == ["0", "3"]  # the calling thread is one of them


def test_a_gpus_memory_is_limited_to_what_the_context_leaves() -> None:
    chosen = dict(_providers(Hardware("tensorrt", gpu_bytes=4 * 2**30, fp16=True)))
    assert list(chosen) == ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    limit = str(4 * 2**30 - CUDA_CONTEXT_BYTES)
    assert chosen["CUDAExecutionProvider"]["gpu_mem_limit"] == limit
    assert chosen["CUDAExecutionProvider"]["arena_extend_strategy"] == "kSameAsRequested"
    assert chosen["TensorrtExecutionProvider"]["trt_max_workspace_size"] == limit
    assert chosen["TensorrtExecutionProvider"]["trt_fp16_enable"] == "1"
    assert "gpu_mem_limit" not in dict(_providers(Hardware("cuda")))["CUDAExecutionProvider"]
    assert dict(_providers(Hardware("cuda", gpu_bytes=1)))["CUDAExecutionProvider"]["gpu_mem_limit"] == str(64 * 2**20)


def run_python(code: str, *before: str, **env: str) -> str:
    """Run Python code in a process of its own and return what it prints."""
    paths = {"PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"}
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [*before, sys.executable, "-c", code], env={**kept, **paths, **env}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_is_written_and_nobody_called_while_a_model_loads_and_runs(
    needs: Callable[[str, str], str], tmp_path: Path
) -> None:
    strace = needs("strace", "strace")
    (tmp_path / "home").mkdir()
    code = (
        "import numpy, socket; from pathlib import Path; from serving.models.engine import Engine, Hardware\n"
        f"e = Engine(Path({str(DIGITS)!r}), Hardware(threads=2))\n"
        "e.run({'images': numpy.zeros((2, 1, 8, 8), numpy.float32)}, shrink=True); del e\n"
        f"open({str(tmp_path / 'mark')!r}, 'w').close(); socket.socket().close()\n"  # the trace must show these
    )
    trace = tmp_path / "trace"
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home")}
    run_python(code, strace, "-f", "-qq", "-s", "300", "-e", "trace=network,%file", "-o", str(trace), **home)
    lines = [line.split(maxsplit=1)[1] for line in trace.read_text().splitlines()]
    assert any("digits.onnx" in line for line in lines)
    sockets = [
        line for line in lines if line.startswith(("socket(", "connect(", "sendto(", "sendmsg(")) and "AF_UNIX" not in line
    ]
    assert [line.split(",")[0] for line in sockets] == ["socket(AF_INET"]
    flags = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND")
    calls = ("mkdir", "unlink", "rename", "link(", "linkat(", "chmod", "mknod", "truncate", "utime")
    written = [line for line in lines if any(word in line for word in flags + calls) and not line.startswith("readlink")]
    assert [line for line in written if str(tmp_path / "mark") not in line] == []
    assert len(written) == 1
    assert list((tmp_path / "home").iterdir()) == []
