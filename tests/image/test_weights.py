"""Model files in an image: real files, split by `split`, with real checksums."""

import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from image.extras import needed, requirements
from image.weights import prepare
from tests.running import ROOT

WEIGHTS = random.Random(7).randbytes(3_000_000)
SUM = hashlib.sha256(WEIGHTS).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that holds a file in parts: x.onnx-aa, x.onnx-ab, x.onnx-ac."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "x.onnx").write_bytes(WEIGHTS)
    split(folder, "1000000")
    return folder


def split(folder: Path, size: str) -> None:
    """Split x.onnx in place."""
    subprocess.run(["split", "-b", size, "x.onnx", "x.onnx-"], cwd=folder, check=True)
    (folder / "x.onnx").unlink()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("x.onnx.sha256", f"{SUM}  x.onnx\n"),
        ("x.onnx.sha256", f"{SUM}  model/x.onnx\n"),
        ("x.onnx.sha256", SUM.upper()),
        ("SHA256SUMS", f"{SUM}  x.onnx\n\n"),
        ("SHA256SUMS", f"{SUM} *x.onnx\n"),
    ],
)
def test_parts_are_merged_checked_and_the_whole_file_alone_is_left(model: Path, file: str, text: str) -> None:
    (model / file).write_text(text)
    (model / "README.md").write_text("whose it is")
    assert prepare(model, made=False) == []
    assert (model / "x.onnx").read_bytes() == WEIGHTS
    assert names(model) == {"x.onnx", "README.md"}


def test_more_parts_than_two_letters_name_are_merged_in_order(model: Path) -> None:
    (model / "x.onnx").write_bytes(WEIGHTS)
    for part in model.glob("x.onnx-*"):
        part.unlink()
    split(model, "4000")
    assert (model / "x.onnx-zaaa").exists(), "what split writes after -yz"
    (model / "x.onnx.sha256").write_text(SUM)
    assert prepare(model, made=False) == []
    assert (model / "x.onnx").read_bytes() == WEIGHTS


def test_parts_in_folders_below_are_merged_too(model: Path) -> None:
    (model / "large").mkdir()
    for part in model.glob("x.onnx-*"):
        part.rename(model / "large" / part.name)
    (model / "SHA256SUMS").write_text(f"{SUM}  large/x.onnx\n")
    assert prepare(model, made=False) == []
    assert names(model) == {"large/x.onnx"}


@pytest.mark.parametrize(
    ("lost", "begin", "told"),
    [
        ("x.onnx-ab", "model/x.onnx has sha256 ", [f"model/x.onnx.sha256 says {SUM}; ", "from x.onnx-aa, x.onnx-ac:"]),
        ("x.onnx-aa", "model/x.onnx is not there, ", ["model/x.onnx.sha256 names it"]),
    ],
)
def test_a_lost_part_is_told_by_the_parts_that_are_there(model: Path, lost: str, begin: str, told: list[str]) -> None:
    (model / lost).unlink()
    (model / "x.onnx.sha256").write_text(SUM)
    (words,) = prepare(model, made=False)
    assert words.startswith(begin)
    assert all(part in words for part in told)


def test_parts_without_a_sum_are_not_merged_and_the_cure_is_told(model: Path) -> None:
    before = names(model)
    (words,) = prepare(model, made=False)
    assert words.startswith("model/x.onnx is split into 3 parts")
    assert "`sha256sum model/x.onnx > model/x.onnx.sha256`" in words
    assert names(model) == before


def test_a_wrong_sum_of_a_whole_file_is_told_with_every_other_mistake_at_once(model: Path) -> None:
    (model / "y.onnx").write_bytes(b"y")
    (model / "SHA256SUMS").write_text(f"{SUM}  x.onnx\n{OTHER}  y.onnx\n{OTHER}  z.onnx\nno sum\n")
    wrong, missing, line = prepare(model, made=False)
    assert f"model/y.onnx has sha256 {hashlib.sha256(b'y').hexdigest()}, but model/SHA256SUMS says {OTHER}" in wrong
    assert missing.startswith("model/z.onnx is not there, ")
    assert line.startswith("model/SHA256SUMS: line 4 is not")


def test_a_git_lfs_pointer_is_told_by_name_with_its_cure(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "large").mkdir(parents=True)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{SUM}\nsize 3000000\n"
    (folder / "large/x.onnx").write_text(pointer)
    (words,) = prepare(folder, made=False)
    assert words.startswith("model/large/x.onnx is a Git LFS pointer")


def test_beside_a_makefile_a_sum_may_name_a_missing_file_and_a_present_one_must_match(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "Makefile").write_text("all:\n")
    (folder / ".made").write_text("")
    (folder / "SHA256SUMS").write_text(f"{SUM}  x.onnx\n{OTHER}  on-the-way.whl\n")
    assert prepare(folder, made=False) == []
    assert names(folder) == {"Makefile", ".made", "SHA256SUMS"}
    (folder / "x.onnx").write_bytes(WEIGHTS[1:])
    (words,) = prepare(folder, made=True)
    assert words.startswith("model/x.onnx has sha256")
    (folder / "x.onnx").write_bytes(WEIGHTS)
    assert prepare(folder, made=True) == []
    assert names(folder) == {"x.onnx"}


def test_files_that_git_ignores_are_made_anew_and_not_taken_from_the_builders_machine(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / ".fetch-1").mkdir(parents=True)
    for name in ("Makefile", "made.onnx", "made.txt", "kept.txt", ".fetch-1/x"):
        (folder / name).write_text("all:\n")
    (folder / ".gitignore").write_text("# all of made.onnx\n/made.onnx\n*.txt\n!kept.txt\n.fetch-*/\n")
    assert prepare(folder, made=False) == []
    assert names(folder) == {"Makefile", ".gitignore", "kept.txt"}


@pytest.mark.parametrize("name", ["x-aa", "year-2024.onnx", "x-ab.txt"])
def test_names_that_only_look_like_parts_are_left_alone(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name.replace("-aa", "-ab")).write_bytes(WEIGHTS)
    before = names(folder)
    assert prepare(folder, made=False) == []
    assert names(folder) == before


def test_as_a_program_it_prints_the_mistakes_and_fails(model: Path) -> None:
    shutil.copy(ROOT / "image/weights.py", model.parent)
    beside = model.parent / "serving/settings"
    beside.mkdir(parents=True)
    shutil.copy(ROOT / "src/serving/settings/model_files.py", beside)
    command = [sys.executable, "weights.py", "model"]
    failed = subprocess.run(command, cwd=model.parent, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("model/x.onnx is split into 3 parts")
    (model / "x.onnx.sha256").write_text(SUM)
    done = subprocess.run(command, cwd=model.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_requirements_of_an_image_are_those_of_its_extras_and_no_others() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    cpu, gpu = (requirements(text, ["runtime", extra]) for extra in ("cpu", "gpu"))
    assert {line.partition("=")[0] for line in cpu} ^ {line.partition("=")[0] for line in gpu} == {
        "onnxruntime",
        "onnxruntime-gpu[cuda,cudnn]",
        "nvidia-ml-py",
    }
    assert all("==" in line for line in cpu + gpu)
    with pytest.raises(KeyError):
        requirements(text, ["runtime", "tpu"])


def test_a_service_with_an_offline_source_gets_the_clients_of_brokers_and_databases() -> None:
    assert needed('hk_offline_source = "kafka:a"  # one region alone') == ["offline"]
    assert needed('service_name = "offline_source"\n# offline_source = "kafka:a"') == []
    assert needed("offline_source = (") == []
    assert requirements((ROOT / "pyproject.toml").read_text(), ["offline"]) != []


def test_a_service_with_a_cache_of_results_gets_the_client_of_redis() -> None:
    assert needed('cache = "local"\nhk_cache = "redis"') == needed('cache = "redis"') == ["cache"]
    assert needed('cache = "local"\ncache_second = 60\noptions = {"cache": "redis"}') == []
    assert requirements((ROOT / "pyproject.toml").read_text(), ["cache"]) == ["redis==8.1.0"]
