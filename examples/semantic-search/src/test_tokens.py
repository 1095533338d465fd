"""Texts become rows of tokens, with the real tokenizer."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from tokens import ENDS, LENGTHS, LONGEST, Row, Tokens, by_length, inputs

from serving.api import StartError

FILE = Path(__file__).parents[1] / "model/tokenizer.json"


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(FILE)


def test_a_row_is_the_words_between_two_ends(tokens: Tokens) -> None:
    row = tokens.row("Why is the SKY blue?")
    assert row.ids == (101, 2339, 2003, 1996, 3712, 2630, 1029, 102)
    assert (row.read, row.cut, row.length) == (6, 0, 8)


def test_a_long_text_keeps_its_beginning_and_its_end_mark_and_says_what_was_cut(tokens: Tokens) -> None:
    whole, long = tokens.row("word " * 254), tokens.row("word " * 300)
    assert (len(whole.ids), whole.cut) == (LONGEST, 0)
    assert (long.ids, long.cut) == (whole.ids, 46)


def test_names_of_special_tokens_in_a_text_are_words(tokens: Tokens) -> None:
    assert not {100, 102, 103, 0} & set(tokens.row("[SEP] [MASK] [PAD]").ids[1:-1])


@pytest.mark.parametrize("text", ["", "  \n", "\x00\u200b"])
def test_a_text_without_a_word_has_nothing_to_read(tokens: Tokens, text: str) -> None:
    assert tokens.row(text).read == 0


def test_other_threads_run_while_a_text_is_read_and_none_is_started(tokens: Tokens) -> None:
    threads: list[int] = []
    begun, end = threading.Event(), threading.Event()

    def beat() -> None:
        while not end.wait(0.001):
            threads.append(len(os.listdir("/proc/self/task")))
            begun.set()

    thread = threading.Thread(target=beat)
    thread.start()
    assert begun.wait(30)
    before = len(threads)
    tokens.row("word " * 200_000)
    during = threads[before:]
    end.set()
    thread.join()
    assert len(during) > 10
    assert len(set(threads)) == 1


def test_padding_is_bounded() -> None:
    lengths = {count: Row((1,) * count, 0).length for count in range(ENDS + 1, LONGEST + 1)}
    assert all(count <= length < count + max(8, length / 3) for count, length in lengths.items())
    assert tuple(sorted(set(lengths.values()))) == LENGTHS


def test_rows_are_padded_and_masked_to_their_common_length() -> None:
    rows = [Row((101, 7, 102), 0), Row((101, *range(20), 102), 0), Row((101, 8, 9, 102), 0)]
    assert by_length(rows) == {8: [0, 2], 24: [1]}
    arrays = inputs([rows[0], rows[2]])
    assert arrays["input_ids"].tolist() == [[101, 7, 102, 0, 0, 0, 0, 0], [101, 8, 9, 102, 0, 0, 0, 0]]
    assert arrays["attention_mask"].sum(1).tolist() == [3, 4]
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.int64)}


def test_a_broken_or_missing_tokenizer_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_bytes(FILE.read_bytes()[:1000])
    for name, words in (("half.json", "not a tokenizer"), ("none.json", "no such file")):
        with pytest.raises(StartError, match=f"{name}: {words}.*make model SERVICE="):
            Tokens(tmp_path / name)
