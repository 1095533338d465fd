"""Every file in model/ belongs to a material, or the start fails and says why."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import catalogue

from serving.api import BadInput, StartError

FILES = {"coins": "a.onnx", "nuclei": "b.onnx", "objects": "a.onnx"}


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_material_is_offered_where_its_file_is(tmp_path: Path) -> None:
    put(tmp_path, "a.onnx", "README.md")
    assert catalogue.common(tmp_path, FILES) == {"coins": "a.onnx", "objects": "a.onnx"}


def test_a_file_without_a_material_ends_the_start(tmp_path: Path) -> None:
    put(tmp_path, "a.onnx", "c.onnx")
    with pytest.raises(StartError, match=r"model/c\.onnx: no material uses it; give it one in src/materials\.py"):
        catalogue.common(tmp_path, FILES)


def test_a_folder_without_models_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"model/ has none of a\.onnx, b\.onnx; put one there"):
        catalogue.common(tmp_path, FILES)


def test_customers_have_models_of_their_own(tmp_path: Path) -> None:
    assert catalogue.customers(tmp_path, FILES) == {}
    put(tmp_path, "customers/acme/nuclei.onnx", "customers/Z-9_/coins.onnx", "customers/acme/notes.txt")
    assert catalogue.customers(tmp_path, FILES) == {
        ("acme", "nuclei"): "model/customers/acme/nuclei.onnx",
        ("Z-9_", "coins"): "model/customers/Z-9_/coins.onnx",
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("customers/acme/cats.onnx", "no material is named 'cats', only coins, nuclei, objects; rename the file"),
        ("customers/a.b/coins.onnx", "a customer is named by 1 to 64 letters, digits, - and _; rename the folder"),
    ],
)
def test_a_customers_file_that_could_never_be_asked_for_ends_the_start(tmp_path: Path, name: str, words: str) -> None:
    put(tmp_path, name)
    with pytest.raises(StartError, match=f"model/{name}: {words}"):
        catalogue.customers(tmp_path, FILES)


def test_one_pod_serves_so_many_customers_models(tmp_path: Path) -> None:
    put(tmp_path, *(f"customers/c{number}/coins.onnx" for number in range(201)))
    with pytest.raises(StartError, match="201 models, at most 200"):
        catalogue.customers(tmp_path, FILES)


@pytest.mark.parametrize("name", ["a", "A-z_09", "x" * 64, ""])
def test_a_customer_may_be_named_so(name: str) -> None:
    catalogue.check_customer(name)


@pytest.mark.parametrize("name", ["x" * 65, "../acme", "a b", "a.b", "ä", "a\n", "a/b"])
def test_a_customer_may_not_be_named_so(name: str) -> None:
    with pytest.raises(BadInput, match="customer_id must be 1 to 64 letters, digits, - and _"):
        catalogue.check_customer(name)
