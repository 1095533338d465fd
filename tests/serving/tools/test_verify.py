"""monopod verify, as a user runs it: on the examples, and on copies of them that are broken."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import small_models
from tests.running import ROOT, make_service

FACES, SEARCH = ROOT / "examples/face-embedding", ROOT / "tests/services/search"
MODELS = ("tests/models/digits.onnx", "tests/models/unet.onnx")
FIRST_USE = """
from serving.api import Service


class Small(Service):
    def setup(self):
        self.models.on_demand("cells", "model/unet.onnx", warmup_shapes={"images": (1, 64, 64)})
"""
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 11251860\n"


def verified(folder: Path, *more: str) -> tuple[int, str, str]:
    """Return the command's exit status, its stdout and its stderr."""
    command = [sys.executable, "-m", "monopod", "verify", "--service", str(folder), *more]
    ended = subprocess.run(command, cwd=ROOT / "src", capture_output=True, text=True, timeout=100)
    return ended.returncode, ended.stdout, ended.stderr


def found(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what `--json` says of each model or file, by name."""
    status, out, err = verified(folder, "--json")
    answer = json.loads(out)
    assert (status, err) == (0 if answer["ok"] else 1, "")
    return {line["model"] or line["file"]: line for line in answer["found"]}


def copied(service: Path, folder: Path) -> Path:
    """Return a copy of a service."""
    return Path(shutil.copytree(service, folder / "copy", ignore=shutil.ignore_patterns("__pycache__", "test_*")))


def test_every_model_of_a_service_is_listed_with_its_file_and_its_cost() -> None:
    faces = found(FACES)
    assert list(faces) == ["pnet", "rnet", "onet", "dlibface"]
    onet = FACES / "model/onet.onnx"
    assert faces["onet"]["file"] == "model/onet.onnx"
    assert faces["onet"]["bytes"] == onet.stat().st_size
    assert faces["onet"]["sha256"] == hashlib.sha256(onet.read_bytes()).hexdigest()
    assert faces["onet"]["inputs"] == [{"name": "input_3", "datatype": "FP32", "shape": [-1, 48, 48, 3]}]
    assert 0 < faces["onet"]["row_ms"] < 10_000


def test_a_method_named_almost_like_a_hook_is_told_beside_the_models(tmp_path: Path) -> None:
    server = FIRST_USE + "\n    def post_process(self, outputs, request):\n        return outputs\n"
    lines = found(make_service(tmp_path / "small", "", server, MODELS))
    assert lines["src/server.py"]["note"].endswith("did you mean the hook 'postprocess'?")
    assert lines["src/server.py"]["problem"] == ""


def test_functions_are_listed_too() -> None:
    status, out, _ = verified(SEARCH)
    assert status == 0
    assert "questions BYTES[-1] -> places INT64[-1, 3], scores FP32[-1, 3]" in out


def test_each_broken_model_is_one_line_with_its_cure_among_those_that_are_right(tmp_path: Path) -> None:
    model = copied(FACES, tmp_path) / "model"
    whole = (model / "dlibface-fp16.onnx").read_bytes()
    (model / "dlibface-fp16.onnx").write_bytes(whole[: len(whole) // 2])
    (model / "pnet.onnx").unlink()
    (model / "rnet.onnx").write_bytes(b"")
    faces = found(model.parent)
    assert "not loaded as an ONNX model" in faces["dlibface"]["problem"]
    assert faces["dlibface"]["problem"].endswith("is the file whole?")
    assert faces["pnet"]["problem"].startswith("no such file; put the model there")
    assert faces["rnet"]["problem"].startswith("the file is empty")
    assert faces["onet"]["problem"] == ""
    status, out, err = verified(model.parent)
    assert (status, err) == (1, "")
    states = {line.split()[1]: line.split()[0] for line in out.splitlines()[1:-2]}
    assert states == {"pnet": "WRONG", "rnet": "WRONG", "onet": "ok", "dlibface": "WRONG"}
    assert out.endswith("3 of 4 wrong\n")
    assert str(tmp_path) not in out


def test_a_classifier_that_gives_maps_is_told_the_cure(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.classifier(folder / "model/m.onnx")
    words = "output 'output_probability' is seq(map(int64,tensor(float))), which is not served: export the model with options="
    assert found(folder)["small"]["problem"].startswith(words + '{"zipmap": False}')
    small_models.classifier(folder / "model/m.onnx", zipmap=False)
    assert found(folder)["small"]["problem"] == ""


def test_a_git_lfs_pointer_is_called_one(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/large.onnx"')
    (folder / "model/large.onnx").write_text(POINTER)
    assert found(folder)["small"]["problem"].startswith("a Git LFS pointer")


def test_a_file_that_is_not_the_one_that_a_list_names_is_told_though_it_opens(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', FIRST_USE, MODELS)
    model = folder / "model"
    meant = {name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in ("digits.onnx", "unet.onnx")}
    (model / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in meant.items()))
    lines = found(folder)
    assert list(lines) == ["small", "cells"]
    assert {(line["listed"], line["problem"]) for line in lines.values()} == {("model/SHA256SUMS", "")}
    (model / "unet.onnx").unlink()
    shutil.copy(model / "digits.onnx", model / "unet.onnx")
    lines = found(folder)
    words = f"not the file that model/SHA256SUMS names ({meant['unet.onnx'][:12]}): fetch that one, or correct the list"
    assert lines["cells"]["problem"].startswith(words)
    assert lines["small"]["problem"] == ""


def test_files_that_a_list_names_and_no_model_are_checked_too(tmp_path: Path) -> None:
    model = copied(SEARCH, tmp_path) / "model"
    (model / "corpus.txt.sha256").write_text(hashlib.sha256((model / "corpus.txt").read_bytes()).hexdigest())
    (model / "index.sha256").write_text(f"{'0' * 64} *index.npy\nnot a checksum\n")
    lines = found(model.parent)
    assert (lines["model/corpus.txt"]["listed"], lines["model/corpus.txt"]["problem"]) == ("model/corpus.txt.sha256", "")
    assert lines["model/index.npy"]["problem"].startswith("model/index.sha256 names it, and it is")
    assert lines["list"]["problem"].startswith("line 2 is not a checksum")


def test_a_setup_that_fails_is_one_line_in_words(tmp_path: Path) -> None:
    (copied(SEARCH, tmp_path) / "model/corpus.txt").unlink()
    (line,) = found(tmp_path / "copy").values()
    assert line["model"] == "setup"
    assert line["problem"].startswith("model/corpus.txt: holds 0 sentences")


def test_a_setup_that_raises_names_its_line_and_the_models_before_it_are_verified(tmp_path: Path) -> None:
    server = (
        "from serving.api import Service\n\n\nclass Small(Service):\n    def setup(self):\n"
        '        self.models.load("second", "model/digits.onnx")\n        self.index = {}["index"]\n'
    )
    lines = found(make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', server, MODELS))
    assert list(lines) == ["small", "second", "setup"]
    assert lines["setup"]["problem"].endswith("KeyError: 'index' (server.py, line 7)")
    assert lines["second"]["problem"] == ""


SHARING = """
from serving.api import Service


class Small(Service):
    def setup(self):
        self.models.load("large", "model/large.onnx")
        self.models.on_demand("first", "model/large.onnx")
        self.models.on_demand("second", "model/large.onnx")
"""
LARGE = 40_000_000  # bytes of its weights


def sharing(folder: Path, settings: str) -> Path:
    service = make_service(folder / "small", f'model_path = "model/digits.onnx"\n{settings}', SHARING, MODELS)
    small_models.lookup(service / "model/large.onnx", LARGE // 8)
    return service


def test_the_memory_of_every_model_is_measured_and_summed(tmp_path: Path) -> None:
    folder = sharing(tmp_path, 'memory = "1Gi"\nmodel_memory = "60M"')
    answer = json.loads(verified(folder, "--json")[1])
    large = {line["model"]: line["memory"] for line in answer["found"] if line["model"] != "small"}
    assert set(large) == {"large", "first", "second"}
    assert all(LARGE <= held < 3 * LARGE for held in large.values())
    memory = answer["memory"]
    assert memory["process"] > 20_000_000
    assert memory["start"] == sum(line["memory"] for line in answer["found"] if line["model"] in ("small", "large"))
    assert memory["on_demand"] == 60_000_000  # of 80 and more, since model_memory has one of the two unloaded
    assert memory["limit"] == 2**30
    _, out, _ = verified(folder)
    (line,) = (line for line in out.splitlines() if line.startswith("memory: "))
    assert line.endswith(" of 1.1 GB")
    assert "models loaded on first use 60.0 MB" in line


def test_models_that_memory_does_not_hold_together_are_wrong(tmp_path: Path) -> None:
    folder = sharing(tmp_path, 'memory = "128Mi"')
    status, out, _ = verified(folder)
    assert status == 1
    assert "such a pod is killed; raise memory" in out


def test_shares_of_a_gpu_are_told_and_one_that_is_missing_where_there_is_no_gpu(tmp_path: Path) -> None:
    shares = 'gpu_memory = 8\nmodel_gpu_memory = {"large": 2}\non_demand_gpu_memory = 1.5\n'
    folder = sharing(tmp_path, shares)
    status, out, _ = verified(folder, "--provider", "cpu")
    assert status == 0
    assert "gpu_memory: 8 GiB: large 2, " in out
    assert " on first use 1.5, small the rest, 4.5\n" in out
    value = folder / "value.py"
    value.write_text(value.read_text().replace("large", "lager"))
    answer = json.loads(verified(folder, "--provider", "cpu", "--json")[1])
    (setup,) = (line for line in answer["found"] if line["model"] == "setup")
    assert '{"lager": 2, "large": 1}' in setup["problem"]


def test_a_share_that_no_model_takes_is_wrong(tmp_path: Path) -> None:
    shares = 'gpu_memory = 8\nmodel_gpu_memory = {"large": 2, "lager": 1}\non_demand_gpu_memory = 1.5\n'
    answer = json.loads(verified(sharing(tmp_path, shares), "--provider", "cpu", "--json")[1])
    wrong = {line["model"]: line["problem"] for line in answer["found"] if line["problem"]}
    assert list(wrong) == ["lager"]
    assert "no model of the service is called so" in wrong["lager"]


def test_code_that_cannot_be_read_leaves_the_model_of_value_py(tmp_path: Path) -> None:
    lines = found(make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', "class Small(", MODELS))
    assert lines["small"]["problem"] == ""
    assert "SyntaxError" in lines["setup"]["problem"]


def test_a_broken_model_that_setup_needs_is_told_without_pointing_to_a_log(tmp_path: Path) -> None:
    server = (
        "import numpy as np\nfrom serving.api import Service, make_request\n\n\nclass Small(Service):\n"
        "    def setup(self):\n        rows = np.zeros((1, 1, 8, 8), np.float32)\n"
        '        self.first = self.model({"images": rows}, make_request())\n'
    )
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', server)
    lines = found(folder)
    assert lines["small"]["problem"].startswith("no such file")
    assert lines["setup"]["problem"].startswith("setup failed: model/digits.onnx: ")


def test_a_model_of_open_sizes_is_right_and_says_what_would_warm_it(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/unet.onnx"', "", MODELS)
    status, out, _ = verified(folder)
    assert status == 0
    assert "name them in warmup_shapes" in out


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("cpus = 2", "no setting 'cpus'"),
        ("", "no model_path in value.py, and no src/server.py that brings a model"),
        ('model_path = "model/digits.onnx"\ngpu_memory = 4', "provider cuda is not in this onnxruntime"),
    ],
)
def test_a_service_that_could_not_start_fails_in_words(tmp_path: Path, settings: str, problem: str) -> None:
    folder = make_service(tmp_path / "small", settings, "", MODELS)
    status, out, err = verified(folder)
    assert (status, err) == (1, "")
    assert problem in out
    if "gpu_memory" in settings:  # where there is no GPU, the file itself is still worth a look
        assert verified(folder, "--provider", "cpu")[0] == 0


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (("n", 2**40), "input 'x' of shape [1, 1099511627776] takes more than the memory, 2048 MiB; "),
        (("n", *[1] * 100), "ValueError('maximum supported dimension for an ndarray is currently 64, found 101'); "),
    ],
)
def test_an_input_that_memory_cannot_hold_is_wrong_in_words(shape: tuple[int | str, ...], words: str, tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.identity(folder / "model/m.onnx", "UINT8", shape)
    assert words in found(folder)["small"]["problem"]


def test_a_model_that_never_ends_is_given_up_in_time_and_hides_no_other_file(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"', FIRST_USE, MODELS)
    small_models.endless(folder / "model/m.onnx")
    status, out, err = verified(folder, "--timeout", "0.5")
    assert (status, err) == (1, "")
    rows = {line.split()[1]: line for line in out.splitlines()[1:]}
    assert "has not ended in 0.5 s" in rows["small"]
    assert rows["cells"].endswith("since what ran before has not ended")


def test_a_setup_that_never_ends_is_given_up_in_time(tmp_path: Path) -> None:
    server = FIRST_USE.replace("        self.models", "        while True:\n            pass\n        self.models")
    folder = make_service(tmp_path / "small", 'model_path = "model/digits.onnx"', server, MODELS)
    status, out, err = verified(folder, "--timeout", "0.5")
    assert (status, err) == (1, "")
    assert "WRONG  setup" in out
    assert "has not ended in 0.5 s" in out


def test_names_in_a_model_cannot_write_lines_of_their_own(tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", 'model_path = "model/m.onnx"')
    small_models.identity(folder / "model/m.onnx", name="x\nok  other\x1b[2J")
    status, out, _ = verified(folder)
    assert status == 0
    assert r"x\nok  other\x1b[2J FP32[-1, 2] -> y FP32[-1, 2]" in out
