"""monopod new, as a user runs it in a clone: what it writes is checked, tested and served at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import read
from serving.tools.new import PARTS, of_example
from tests import clones, small_models
from tests.running import ROOT, launch, post_json


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return clones.clone(tmp_path / "clone", "examples/semantic-search")


def run(clone: Path, *words: str) -> tuple[int, str]:
    """Return the exit status and the output of a command with the clone's own code."""
    environment = os.environ | {"PYTHONPATH": f"{clone / 'src'}:{clone}"}
    done = subprocess.run([sys.executable, "-m", *words], cwd=clone, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def made(clone: Path, *words: str) -> str:
    status, told = run(clone, "monopod", "new", *words)
    assert status == 0, told
    return told


def refused(clone: Path, *words: str) -> str:
    before = sorted(path for path in clone.rglob("*") if "__pycache__" not in path.parts)
    status, told = run(clone, "monopod", "new", *words)
    assert status == 1, told
    assert sorted(path for path in clone.rglob("*") if "__pycache__" not in path.parts) == before
    return told


def passes_its_tests(clone: Path) -> None:
    """Run what `make test-service` runs."""
    own = ["src", "--exclude", "src/serving,src/monopod.py"]
    for words in (["ruff", "check", *own], ["ruff", "format", "--check", *own]):
        status, told = run(clone, *words)
        assert status == 0, told
    status, told = run(clone, "pytest", "-q", "-p", "no:cacheprovider", "src")
    assert (status, "2 passed" in told) == (0, True), told


@pytest.fixture
def tabular(tmp_path: Path) -> Path:
    return small_models.identity(tmp_path / "cats.onnx")


def test_a_model_of_plain_rows_becomes_a_service_without_code_that_is_checked_tested_and_served(
    clone: Path, tabular: Path
) -> None:
    told = made(clone, "cats", "--model", str(tabular))
    assert told.splitlines()[-4:] == ["next:", "    monopod check", "    make test-service", "    make serve"]
    own = {path.name for part in ("src", "model", ".") for path in (clone / part).iterdir()}
    assert (
        (clone / "README.md").read_text().startswith("# cats\n\ncats is a service on [Monopod](docs/README.md), at `/api/like/")
    )
    assert own >= {"cats.onnx", "test_server.py", "value.py", "serving", "monopod.py"}
    assert own.isdisjoint({"server.py", "alerts.yaml", "imagenet_labels.txt", "efficientnet-lite0.onnx"})
    passes_its_tests(clone)
    assert run(clone, "monopod", "check")[0] == 0
    service = launch(clone)
    try:
        service.wait_ready()
        status, answer = post_json(service.url + "/api/like/cats", {"data": [[1, 2], [3, 4]]})
        assert (status, answer["results"]) == (200, {"y": [[1, 2], [3, 4]]})
    finally:
        service.stop()


PICTURE = ("n", 3, 32, 48)


@pytest.mark.parametrize(
    ("shape", "datatype", "setting", "code"),
    [
        (PICTURE, "FP32", "", "WIDTH, HEIGHT = 48, 32"),
        (("n", "h", "w", 3), "UINT8", 'warmup_shapes = {"x": (224, 224, 3)}', "WIDTH, HEIGHT = 224, 224"),
        ((1, 3, 32, 32), "FP16", "max_batch_size = 1", '(WIDTH, HEIGHT), MEAN, STD, "float16", "NCHW")'),
        ((3, 4), "FP64", "max_batch_size = 0", "The model takes 'x' as FP64 [3, 4]"),
        (("n", "t"), "BYTES", 'warmup_shapes = {"x": (224,)}', ""),
    ],
)
def test_a_model_of_other_inputs_becomes_a_service_whose_tests_pass(
    clone: Path, tmp_path: Path, shape: tuple[int | str, ...], datatype: str, setting: str, code: str
) -> None:
    made(clone, "big-cats", "--model", str(small_models.identity(tmp_path / "cats.onnx", datatype, shape)))
    assert setting in (clone / "value.py").read_text()
    assert (clone / "src/server.py").exists() is bool(code)
    if code:
        text = (clone / "src/server.py").read_text()
        assert code in text
        assert "class BigCats(Service)" in text
    passes_its_tests(clone)


def test_an_example_becomes_a_service_of_another_name_with_its_imports_sorted(clone: Path) -> None:
    made(clone, "cats", "--username", "alice", "--example", "semantic-search")
    for path in ("model/Makefile", "src/tokens.py", "src/float32_vectors.npy", "alerts.yaml"):
        assert (clone / path).is_file(), path
    assert not (clone / "model/imagenet_labels.txt").exists()
    assert "`/api/alice/cats`" in (clone / "README.md").read_text()
    text = (clone / "src/test_server.py").read_text()
    assert "/api/alice/cats{path}" in text
    assert 'service=\\"cats\\"' in text
    assert "semantic-search" not in text + (clone / "value.py").read_text() + (clone / "alerts.yaml").read_text()
    own = ["src", "--exclude", "src/serving,src/monopod.py"]
    for words in (["ruff", "check", *own], ["ruff", "format", "--check", *own]):
        status, told = run(clone, *words)
        assert status == 0, told


def test_a_name_inside_another_word_stays() -> None:
    texts = {"a": 'counter("moderation_total") /api/moderation {namespace="like"} likely "liked"'}
    told = of_example("moderation", "bob", "cats", texts)
    assert told == {"a": 'counter("moderation_total") /api/cats {namespace="bob"} likely "liked"'}


def test_what_would_lose_work_or_makes_no_service_is_refused_with_nothing_changed(clone: Path, tabular: Path) -> None:
    model = ("--model", str(tabular))
    assert "name one of --model FILE" in refused(clone, "cats")
    assert "'x'; the examples are semantic-search" in refused(clone, "cats", "--example", "x")
    assert "no such file" in refused(clone, "cats", "--model", "missing.onnx")
    assert "value.py:4: service_name" in refused(clone, "Cats!", *model)
    (clone / "src/test_server.py").write_text("changed")
    assert "not committed (src/test_server.py)" in refused(clone, "cats", *model)
    subprocess.run(["git", "checkout", "-q", "."], cwd=clone, check=True)
    (clone / "model/cats.onnx").write_bytes(b"mine")
    assert "model/cats.onnx: there already" in refused(clone, "cats", *model)
    (clone / "model/cats.onnx").unlink()
    value = (clone / "value.py").read_text().replace('"demo"', '"mine"')
    (clone / "value.py").write_text(value)
    subprocess.run(["git", "commit", "-qam", "mine"], cwd=clone, env=os.environ | clones.GIT, check=True)
    assert "value.py is that of like/mine" in refused(clone, "cats", *model)


def test_it_may_be_repeated_where_the_same_model_lies_there_from_before(clone: Path, tabular: Path) -> None:
    (clone / "model/cats.onnx").write_bytes(tabular.read_bytes())
    made(clone, "cats", "--username", "ann", "--model", str(tabular))
    assert (clone / "model/cats.onnx").read_bytes() == tabular.read_bytes()


def test_the_demos_own_model_may_be_the_one_that_is_kept(clone: Path) -> None:
    made(clone, "cats", "--model", str(clone / "model/efficientnet-lite0.onnx"))
    assert (clone / "model/efficientnet-lite0.onnx").stat().st_size > 2**20
    assert not (clone / "model/imagenet_labels.txt").exists()
    assert read((clone / "value.py").read_text(), "value.py", None).settings.service_name == "cats"


def test_the_parts_of_a_service_are_those_that_the_list_of_owners_gives_it() -> None:
    lines = [line.split(" ", 1) for line in (ROOT / "conf/PATHS").read_text().splitlines() if not line.startswith("#")]
    owned = [path.rstrip("/") for owner, path in lines if owner == "U" and path != "allowed_signers"]  # each branch keeps it
    inside = [f":!{path.rstrip('/')}" for owner, path in lines if owner == "P" and path.startswith(tuple(owned))]
    assert sorted(PARTS) == sorted([*owned, *inside])
