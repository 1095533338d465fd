"""The corpus' file, and the search of its vectors."""

from pathlib import Path

import numpy as np
import pytest
from corpus import Corpus, read
from tokens import CHARACTERS

from serving.api import StartError


def random_corpus(size: int) -> Corpus:
    vectors = np.random.default_rng(0).normal(size=(size, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Corpus(tuple(map(str, range(size))), vectors)


def test_the_nearest_are_those_of_a_full_sort() -> None:
    corpus = random_corpus(3000)
    question = corpus.vectors[17] + 0.1 * corpus.vectors[99]
    scores = corpus.vectors @ question
    found = corpus.nearest(question, 20)
    assert [place for place, _ in found] == np.argsort(-scores)[:20].tolist()
    assert [score for _, score in found] == pytest.approx(np.sort(scores)[:-21:-1], abs=1e-6)
    assert found[0][0] == 17


def test_equal_scores_come_in_the_order_of_the_file() -> None:
    corpus = Corpus(("a", "b", "c", "d"), np.array([[1, 0]] * 4, np.float32))
    assert [place for place, _ in corpus.nearest(corpus.vectors[0], 4)] == [0, 1, 2, 3]


def test_a_corpus_gives_no_more_than_it_has() -> None:
    corpus = random_corpus(3)
    assert sorted(place for place, _ in corpus.nearest(corpus.vectors[0], 50)) == [0, 1, 2]


def test_a_file_is_read_without_remarks_empty_lines_and_doubles(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("# remark\r\nGrüße 🙂\r\n\r\n  one \none\ntwo".encode())
    assert read(path, 3) == ("Grüße 🙂", "one", "two")


def test_byte_order_marks_and_lines_with_nothing_to_see_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("\ufeff# remark\r\none\n\u200b\n\u00a0\x00\n\ufeff# of a second file\n\ufefftwo\n👩\u200d🚀".encode())
    assert read(path, 3) == ("one", "two", "👩\u200d🚀")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "holds no sentence; write one a line"),
        (b"# only\n\n# remarks\n", "holds no sentence"),
        (b"good\n\xff\xfe bad\n", "line 2 is not UTF-8; save the corpus as UTF-8"),
        ("sentence\n".encode("utf-16"), "line 1 is not UTF-8"),
        (b"a\nb\nc\nd\n", "holds 4 sentences, at most 3 are searched"),
        (b"x" * 3001, "holds 3001 bytes, at most 3000 are read"),
    ],
)
def test_a_file_that_is_no_corpus_is_told_in_words(tmp_path: Path, body: bytes, words: str) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes(body)
    with pytest.raises(StartError, match=words):
        read(path, 3)


def test_a_line_that_is_no_sentence_by_far_is_told_in_words(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("good\n" + "x" * (CHARACTERS + 1))
    with pytest.raises(StartError, match="line 2 has 10001 characters, at most 10000 are taken; write one sentence a line"):
        read(path, 100)


def test_what_is_no_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read: Is a directory; put a text file there"):
        read(tmp_path, 100_000)


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no such file; put a corpus there"):
        read(tmp_path / "corpus.txt", 3)
