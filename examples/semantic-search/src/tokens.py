"""Texts to the tokens that the model was trained on, and rows of tokens to batches.

Knows the tokenizer's file and the lengths that rows are padded to. Does not know the model, requests or queues.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from serving.api import Array, Arrays, StartError

# A text is read on the thread that asks. Else the package starts a thread for each core of the node.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

CHARACTERS = 10_000  # of a text, at most: some 25 ms of a core
# The platform joins rows of one length. From 17 tokens on at most a third of a row is padding, and there are ten kinds of rows.
LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
LONGEST = LENGTHS[-1]  # as the model was trained
ENDS = 2  # tokens that begin and end every row


@dataclass(frozen=True)
class Row:
    """A text's tokens, with those that begin and end it. read, cut: its own tokens, those in the row and those left out."""

    ids: tuple[int, ...]
    cut: int

    @property
    def read(self) -> int:
        return len(self.ids) - ENDS

    @property
    def length(self) -> int:
        """The number of tokens that the row is padded to."""
        return next(length for length in LENGTHS if length >= len(self.ids))


class Tokens:
    """Any thread may read texts: nothing is changed after the start."""

    def __init__(self, path: Path):
        """Raises StartError where the file is missing or broken."""
        cure = f"run make model SERVICE={path.parent.parent}"
        if not path.is_file():
            raise StartError(f"{path}: no such file; {cure}")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises Exception itself
            raise StartError(f"{path}: not a tokenizer: {error}; {cure}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # a text that says [SEP] means these letters

    def row(self, text: str) -> Row:
        """Return a text's tokens, the first 254 of them."""
        ids = self._tokenizer.encode_batch_fast([text])[0].ids  # `encode` would let no other thread run meanwhile
        cut = max(0, len(ids) - LONGEST)
        return Row(tuple(ids if not cut else [*ids[: LONGEST - 1], ids[-1]]), cut)


def by_length(rows: Sequence[Row]) -> dict[int, list[int]]:
    """Return the places of rows under the length that they are padded to."""
    found: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault(row.length, []).append(place)
    return found


def inputs(rows: Sequence[Row]) -> Arrays:
    """Return the model's inputs, int64 [rows, length], of rows that are padded to one length."""
    ids: Array = np.zeros((len(rows), rows[0].length), np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = row.ids
        mask[at, : len(row.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
