"""The catalogue: a written file is read as it was, a damaged one is refused, and a search tells products apart."""

import os
import threading
from pathlib import Path

import faiss
import numpy as np
import pytest
from product_index import MAX_ROWS, Catalogue, make, read, write

from serving.api import Array, StartError


def unit(rows: int, width: int = 32, seed: int = 1) -> Array:
    found = np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True))


def nearest(catalogue: Catalogue, vectors: Array, count: int) -> list[list[str]]:
    return [[name.decode() for name in row] for row in catalogue.nearest(vectors, count)[0]]


def test_what_was_written_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    file, vectors = tmp_path / "products.index", unit(6)
    write(make(["tea", "cup ☕", "jam"], vectors, "a model"), file)
    again = read(file, "a model", 1)
    assert again.names == ("cup ☕", "jam", "tea")
    assert nearest(again, vectors, 1) == [["tea"], ["tea"], ["cup ☕"], ["cup ☕"], ["jam"], ["jam"]]
    assert os.listdir(tmp_path) == ["products.index"]


def test_a_product_counts_once_however_many_pictures_it_has() -> None:
    vectors = unit(40)
    many = make(["jar"] * 37 + ["cup", "jar", "tea"], vectors, "")
    names, scores = many.nearest(vectors[:2], 5)
    assert names[0, 0] == b"jar"
    assert {*names[0, :3]} == {b"jar", b"cup", b"tea"}
    assert scores[0, 0] == pytest.approx(1)
    assert list(scores[0, :3]) == sorted(scores[0, :3], reverse=True)
    assert [*names[0, 3:], *scores[0, 3:]] == [b"", b"", 0, 0]


def test_a_product_of_very_many_pictures_is_still_found() -> None:
    vectors = unit(MAX_ROWS + 100, 8)
    many = make(["jar"] * (MAX_ROWS + 99) + ["cup"], vectors, "")
    assert nearest(many, vectors[-2:], 1) == [["jar"], ["cup"]]


def test_a_large_index_is_searched_in_lists_and_finds_what_the_exact_one_finds(tmp_path: Path) -> None:
    products, file = 2100, tmp_path / "products.index"
    vectors, names = unit(products), [f"p{at}" for at in range(products)]
    write(make(names, vectors, "m", exact_up_to=2000), file)
    large = read(file, "m", 16)
    assert large.facts() == large.facts() | {"kind": "IVF", "lists": 90, "nprobe": 16, "products": products}
    asked = vectors[:500] + 0.05 * unit(500, seed=2)
    same = [a == b for a, b in zip(nearest(large, asked, 1), nearest(make(names, vectors, "m"), asked, 1), strict=True)]
    assert np.mean(same) >= 0.99
    assert len(set(nearest(large, asked[:1], 20)[0])) == 20


def test_the_nprobe_of_value_py_holds_and_is_no_more_than_there_are_lists(tmp_path: Path) -> None:
    file = tmp_path / "products.index"
    write(make([str(at) for at in range(400)], unit(400), "m", exact_up_to=399), file)
    assert [read(file, "m", nprobe).facts()["nprobe"] for nprobe in (3, 1000)] == [3, 40]


def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    file, vectors = tmp_path / "products.index", unit(4, 8)
    write(make(["cup", "tea"], vectors, "m"), file)
    whole, refused = file.read_bytes(), 0
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = read(file, "m", 1)
        except StartError:
            refused += 1
        else:  # a date, or a field that nobody reads
            assert (found.names, found.owners.tolist()) == (("cup", "tea"), [0, 0, 1, 1])
            assert np.array_equal(found.index.reconstruct_n(0, 4), vectors)
    assert refused > len(whole) / 2


def test_half_a_file_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "products.index"
    write(make(["cup", "tea"], unit(4, 8), "m"), file)
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(StartError, match=r"no index, or a damaged one \(.*\); build it again: make index"):
            read(file, "m", 1)


def test_the_vectors_of_another_model_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "products.index"
    write(make(["cup"], unit(1), "old"), file)
    with pytest.raises(StartError, match=r"its vectors are another model's \(old, here is new\); build it again"):
        read(file, "new", 1)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "products.index"
    write(make(["cup"], unit(1), "m"), file)
    before = file.read_bytes()
    odd = make(["cup"], unit(1), b"no text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write(odd, file)
    assert (file.read_bytes(), os.listdir(tmp_path)) == (before, ["products.index"])


def test_a_search_takes_one_thread_whoever_calls_it() -> None:
    many, found = make(["cup", "tea"], unit(2), ""), []

    def search() -> None:
        faiss.omp_set_num_threads(2)
        many.nearest(unit(30), 1)
        found.append(faiss.omp_get_max_threads())

    thread = threading.Thread(target=search)
    thread.start()
    thread.join()
    assert found == [1]
