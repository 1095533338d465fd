"""monopod optimize: real services and real nets, copies that are served, and every refusal."""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

import monopod
from serving.models.engine import Engine, Hardware
from serving.models.tensors import Array
from serving.tools.optimize import optimize_command, variants
from serving.tools.optimize.samples import MAX_ROWS
from tests import small_models
from tests.running import ROOT, make_service, post_json, running

FACES, MASKS = ROOT / "examples/face-embedding", ROOT / "examples/instance-masks"
DIGITS = "tests/models/digits.onnx"
DATA = 'model_path = "model/{}"\nmax_batch_size = 4'
Captured = pytest.CaptureFixture[str]


@dataclass
class Made:
    """A service of digits, its samples, and what the command said when it made both copies of its model."""

    folder: Path
    samples: Path
    report: dict[str, Any]


def drawn(digit: int, size: int) -> Array:
    """Return a digit as the model knows them: 8 x 8 pixels, light on dark, from 0 to 1."""
    picture = Image.new("L", (64, 64))
    ImageDraw.Draw(picture).text((32, 32), str(digit), 255, ImageFont.load_default(size), anchor="mm")
    return np.asarray(picture.resize((8, 8)), np.float32)[None] / 255


def digits_service(folder: Path) -> Path:
    """Return a service that takes tensors, with a model file of its own beside which copies can be written."""
    made = make_service(folder, DATA.format("digits.onnx"))
    shutil.copy(ROOT / DIGITS, made / "model")
    return made


def photos(folder: Path, name: str, *boxes: tuple[int, int, int, int]) -> Path:
    """Write parts of a picture of examples/images to a folder, each a file as a client would send it."""
    folder.mkdir(exist_ok=True)
    with Image.open(ROOT / "examples/images" / name) as whole:
        for number, box in enumerate(boxes):
            whole.crop(box).save(folder / f"{number}.png")
    return folder


def optimized(*arguments: object) -> int:
    """Run the command as the terminal does."""
    return monopod.main(["optimize", *map(str, arguments)])


def refusal(capsys: Captured, *arguments: object) -> str:
    """Return what the command says when it refuses, its table left out."""
    capsys.readouterr()
    assert optimized(*arguments) == 1
    return capsys.readouterr().err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = digits_service(tmp_path_factory.mktemp("digits") / "small")
    samples = folder.parent / "samples"
    samples.mkdir()
    for size in range(44, 60, 2):
        rows = [drawn(digit, size).tolist() for digit in range(10)]
        (samples / f"{size}.json").write_text(json.dumps({"data": rows}))
    (samples / "README.md").write_text("no client sends this")
    line = [sys.executable, "-m", "monopod", "optimize", "--service", str(folder), "--samples", str(samples), "--json"]
    ended = subprocess.run(line, cwd=ROOT / "src", capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stderr) == (0, "")
    return Made(folder, samples, json.loads(ended.stdout))


def test_both_copies_are_made_measured_and_smaller(made: Made) -> None:
    assert made.report["samples"] | {"bytes": 0} == {
        "folder": str(made.samples), "files": 8, "rows": 80, "bytes": 0, "refused": []
    }  # fmt: skip
    original, fp16, int8 = made.report["variants"]
    assert (original["variant"], original["ratio"], original["written"]) == ("original", 1.0, "")
    assert int8["bytes"] < fp16["bytes"] < 0.6 * original["bytes"]
    for copy in (fp16, int8):
        assert copy["bytes"] == pytest.approx((made.folder / copy["written"]).stat().st_size, abs=1000)
        assert 0 < copy["differences"]["logits"]["mean"] <= copy["differences"]["logits"]["worst"] < 0.05
        assert copy["ms"] > 0
    assert fp16["differences"]["logits"]["mean"] < int8["differences"]["logits"]["mean"]


def test_a_copy_carries_what_it_was_made_of(made: Made) -> None:
    digest = hashlib.sha256((made.folder / "model/digits.onnx").read_bytes()).hexdigest()
    assert digest == hashlib.sha256((ROOT / DIGITS).read_bytes()).hexdigest()
    for kind in ("fp16", "int8"):
        copy = (made.folder / f"model/digits.{kind}.onnx").read_bytes()
        for note in ("monopod.origin_sha256", digest, "monopod.kind", kind, "monopod.difference_mean", "monopod.samples"):
            assert note.encode() in copy
    assert {path.name for path in (made.folder / "model").iterdir()} == {
        "digits.onnx", "digits.fp16.onnx", "digits.int8.onnx"
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_a_copy_is_served_and_answers_the_same_labels(made: Made, kind: str, tmp_path: Path) -> None:
    folder = make_service(tmp_path / "small", DATA.format(f"digits.{kind}.onnx"))
    shutil.copy(made.folder / f"model/digits.{kind}.onnx", folder / "model")
    rows = np.stack([drawn(digit, 51) for digit in range(10)])
    original = Engine(ROOT / DIGITS, Hardware()).run({"images": rows})["logits"]
    with running(folder) as service:
        status, answer = post_json(service.url + "/api/small", {"data": rows.tolist()})
    assert status == 200
    assert np.argmax(answer["results"]["logits"], 1).tolist() == original.argmax(1).tolist()


def test_over_the_tolerance_nothing_is_written_and_the_cures_are_told(made: Made, tmp_path: Path, capsys: Captured) -> None:
    digits = ["--service", made.folder, "--samples", made.samples, "--output", tmp_path / "out", "--tolerance", "1e-6"]
    words = refusal(capsys, *digits)
    assert "int8 differs by" in words
    assert "'logits'; --tolerance allows 1e-06" in words
    assert "nothing was written; " in words
    assert "(80 rows were used), or --tolerance 0.01" in words
    assert "what may help: --tolerance 0.01" in refusal(capsys, *digits, "--fp16")  # it asks for no samples
    assert not (tmp_path / "out").exists()


def test_one_copy_over_the_tolerance_leaves_the_other_as_it_is(made: Made, tmp_path: Path, capsys: Captured) -> None:
    words = refusal(
        capsys, "--service", made.folder, "--samples", made.samples, "--output", tmp_path / "out", "--tolerance", "0.001"
    )
    assert "int8 differs" in words
    assert "fp16 differs" not in words
    assert "the other copy was written; " in words
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["digits.fp16.onnx"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_copy_that_cannot_be_made_leaves_the_other_as_it_is(tmp_path: Path, capsys: Captured, alone: bool) -> None:
    folder = make_service(tmp_path / "small", DATA.format("m.onnx"))
    small_models.identity(folder / "model/m.onnx")
    (tmp_path / "rows.json").write_text(json.dumps({"data": [[1, 2]]}))
    words = refusal(capsys, "--service", folder, "--samples", tmp_path, *["--int8"] * alone)
    assert words.startswith("INT8: nothing in this model can be INT8")
    assert words.partition("\n")[2] == ("" if alone else "the other copy was written\n")
    assert (folder / "model/m.fp16.onnx").is_file() != alone


def test_layers_as_skl2onnx_writes_them_become_int8(tmp_path: Path, capsys: Captured) -> None:
    folder = make_service(tmp_path / "small", DATA.format("m.onnx"))
    small_models.perceptron(folder / "model/m.onnx")
    (tmp_path / "rows.json").write_text(json.dumps({"data": np.random.default_rng(0).random((50, 4)).tolist()}))
    assert optimized("--service", folder, "--samples", tmp_path) == 0
    assert {file.name for file in (folder / "model").iterdir()} == {"m.onnx", "m.fp16.onnx", "m.int8.onnx"}


def test_a_disk_that_is_full_at_the_second_copy_leaves_no_copy_at_all(made: Made, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / ".digits.int8.onnx.part").symlink_to("/dev/full")
    words = refusal(capsys, "--service", made.folder, "--samples", made.samples, "--output", tmp_path)
    assert words.startswith(f"{tmp_path}: the copies cannot be written ")
    assert "(No space left on device)" in words
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_copies_is_told_before_a_sample_is_sent(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(optimize_command, "record", None)
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file/below"):
        digits = ["--service", made.folder, "--samples", made.samples, "--output", output, "--json"]
        assert refusal(capsys, *digits) == ""
        assert optimized(*digits) == 1
        report = json.loads(capsys.readouterr().out)
        (mistake,) = report["mistakes"]
        assert mistake.startswith(f"{output}: copies cannot be written ")


def test_a_full_place_for_temporary_files_is_told_in_words(made: Made) -> None:
    limited = ["bash", "-c", 'ulimit -f 20; exec "$@"', "bash", sys.executable, "-m", "monopod", "optimize"]
    limited += ["--service", str(made.folder), "--samples", str(made.samples)]
    ended = subprocess.run(limited, cwd=ROOT / "src", capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"{tempfile.gettempdir()}: File too large; TMPDIR ")


def test_a_refusal_as_json_holds_its_words_and_its_figures(made: Made, tmp_path: Path, capsys: Captured) -> None:
    digits = ["--service", made.folder, "--samples", made.samples, "--output", tmp_path, "--json"]
    assert refusal(capsys, *digits, "--tolerance", "1e-6") == ""
    assert optimized(*digits, "--tolerance", "1e-6", "--int8") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["variants"][1]["refused"], report["variants"][1]["written"]) == (False, True, "")
    assert report["mistakes"][-1].startswith("nothing was written; what may help: ")
    assert list(tmp_path.iterdir()) == []


def test_a_net_of_fp16_weights_behind_a_services_own_code_becomes_int8(tmp_path: Path, capsys: Captured) -> None:
    samples = photos(tmp_path / "photos", "astronaut.jpg", (0, 0, 512, 512), (60, 0, 400, 300), (100, 0, 400, 400))
    (samples / "9.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    faces = ["--service", FACES, "--model", "dlibface", "--samples", samples, "--output", out]
    assert optimized(*faces, "--int8", "--calibration", "minmax") == 0
    told = capsys.readouterr().out
    assert f"samples: 4 files of {samples}, 3 rows of the model" in told
    assert "refused 1 of them, the first (9.png)" in told
    assert f"wrote {out}/dlibface-fp16.int8.onnx; " in told
    assert '"model/dlibface-fp16.int8.onnx" in place of "model/dlibface-fp16.onnx"' in told
    original = FACES / "model/dlibface-fp16.onnx"
    assert (out / "dlibface-fp16.int8.onnx").stat().st_size < 0.6 * original.stat().st_size  # a byte a weight, of two


def test_a_model_of_first_use_deep_in_a_route_is_converted_too(tmp_path: Path, capsys: Captured) -> None:
    samples = photos(tmp_path / "cells", "nuclei.png", (0, 0, 160, 160), (100, 100, 260, 260))
    masks = ["--service", MASKS, "--model", "unet", "--samples", samples, "--output", tmp_path / "out"]
    assert optimized(*masks, "--route", "/detect?material=nuclei", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [variant["variant"] for variant in report["variants"]] == ["original", "fp16", "int8"]
    assert report["samples"]["rows"] >= 2
    assert (tmp_path / "out/unet.int8.onnx").is_file()
    told = refusal(capsys, *masks, "--route", "/none")
    assert "no such route; its own are /detect" in told


def test_samples_that_never_reach_the_model_are_told(made: Made, tmp_path: Path, capsys: Captured) -> None:
    server = (
        "from serving.service.service import Service\n\n\nclass Small(Service):\n    def setup(self):\n"
        '        self.models.on_demand("other", "model/digits.onnx")\n'
    )
    folder = make_service(tmp_path / "small", DATA.format("digits.onnx"), server, (DIGITS,))
    told = refusal(capsys, "--service", folder, "--samples", made.samples, "--model", "other")
    assert told.startswith("8 samples were answered, ")
    assert told.endswith(" call the model 'other'\n")


def test_samples_that_cannot_be_used_are_told_in_words(made: Made, tmp_path: Path, capsys: Captured) -> None:
    def words(*arguments: object) -> str:
        return refusal(capsys, "--service", made.folder, *arguments)

    assert "no such folder; --samples names one" in words("--samples", tmp_path / "none")
    (tmp_path / "notes.txt").write_text("nothing")
    assert "no samples in it; put files" in words("--samples", tmp_path)
    (tmp_path / "a.json").write_text('{"data": [[1, 2]]}')
    (tmp_path / "b.json").write_text("not JSON")
    told = words("--samples", tmp_path)
    assert "no sample reached the model 'small'" in told
    assert "refused 2 of 2, the first (a.json)" in told
    (tmp_path / "a.json").write_text('{"image": "https://example.com/a.jpg"}')
    assert "no URLs are fetched here" in words("--samples", tmp_path)


def test_models_that_cannot_be_converted_are_told_in_words(made: Made, tmp_path: Path, capsys: Captured) -> None:
    digits = ["--service", made.folder, "--samples", made.samples]
    assert "'none' here; the models are small" in refusal(capsys, *digits, "--model", "none")
    search = ["--service", ROOT / "tests/services/search", "--samples", made.samples]
    assert "model 'search' is a function" in refusal(capsys, *search)
    masks = ["--service", MASKS, "--samples", made.samples]
    assert "; the models are u2netp-dyn, unet" in refusal(capsys, *masks)
    for kind, known in (("int8", "already quantised, it holds integer operators"), ("fp16", "already FP16")):
        again = make_service(tmp_path / kind, DATA.format("digits.onnx"))
        shutil.copy(made.folder / f"model/digits.{kind}.onnx", again / "model/digits.onnx")
        told = refusal(capsys, "--service", again, "--samples", made.samples)
        assert told.startswith(f"model/digits.onnx: {known}; ")
    missing = make_service(tmp_path / "missing", DATA.format("digits.onnx"))
    assert refusal(capsys, "--service", missing, "--samples", made.samples).startswith("model/digits.onnx: no such file")


def test_the_services_own_prints_do_not_spoil_json(tmp_path: Path, capsys: Captured) -> None:
    server = (
        "from serving.service.service import Service\n\n\nclass Small(Service):\n    def setup(self):\n        print('hello')\n"
    )
    folder = make_service(tmp_path / "small", DATA.format("digits.onnx"), server, (DIGITS,))
    (tmp_path / "rows.json").write_text(json.dumps({"data": [drawn(3, 50).tolist()]}))
    assert optimized("--service", folder, "--samples", tmp_path, "--fp16", "--json", "--output", tmp_path) == 0
    ended = capsys.readouterr()
    assert json.loads(ended.out)["ok"] is True
    assert "hello" in ended.err


def test_every_sample_has_its_share_of_the_rows(tmp_path: Path, capsys: Captured) -> None:
    folder = make_service(tmp_path / "small", DATA.format("digits.onnx") + "\nmax_rows_per_request = 60", "", (DIGITS,))
    samples = tmp_path / "samples"
    samples.mkdir()
    for number in range(4):
        rows = [drawn(digit % 10, 48 + number).tolist() for digit in range(10 if number == 0 else 60)]
        (samples / f"{number}.json").write_text(json.dumps({"data": rows}))
    assert optimized("--service", folder, "--samples", samples, "--fp16", "--json", "--output", tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["samples"]["rows"] == MAX_ROWS


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what is tested here."""
    monkeypatch.setattr(variants, "SECONDS", 0.2)


@pytest.fixture(autouse=True)
def _modules_of_a_service_are_forgotten() -> Iterator[None]:
    paths, before = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - before:
        if "/services/" in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
