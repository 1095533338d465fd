"""Turns texts into the tokens that the model was trained on, and rows of tokens into batches."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from serving.api import Array, Arrays, StartError

# A text is tokenized on the calling thread. Otherwise the package starts a thread for each core of the node.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

CHARACTERS = 10_000  # of a text at most, which take some 25 ms of a core
# The platform batches rows of one length. With these ten lengths, at most a third of a row of 17 tokens or more is padding.
LENGTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
LONGEST = LENGTHS[-1]  # the longest row that the model was trained on
ENDS = 2  # tokens that begin and end every row


@dataclass(frozen=True)
class Row:
    """A text's tokens, with a token before and after them. read: the text's tokens in the row. cut: those left out."""

    ids: tuple[int, ...]
    cut: int

    @property
    def read(self) -> int:
        return len(self.ids) - ENDS

    @property
    def length(self) -> int:
        """Return the number of tokens to which the row is padded."""
        return next(length for length in LENGTHS if length >= len(self.ids))


class Tokens:
    """A tokenizer. Any thread may use it, since nothing changes after the start."""

    def __init__(self, path: Path):
        """Read the tokenizer's file. Raises StartError where it is missing or broken."""
        cure = f"run make model SERVICE={path.parent.parent}"
        if not path.is_file():
            raise StartError(f"{path}: no such file; {cure}")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the package raises Exception itself
            raise StartError(f"{path}: not a tokenizer: {error}; {cure}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = True  # [SEP] in a text means these letters

    def row(self, text: str) -> Row:
        """Return a text's tokens, the first 254 of them."""
        ids = self._tokenizer.encode_batch_fast([text])[0].ids  # `encode` would keep Python's lock
        cut = max(0, len(ids) - LONGEST)
        return Row(tuple(ids if not cut else [*ids[: LONGEST - 1], ids[-1]]), cut)


def by_length(rows: Sequence[Row]) -> dict[int, list[int]]:
    """Return the indices of rows by the length to which they are padded."""
    found: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault(row.length, []).append(place)
    return found


def inputs(rows: Sequence[Row]) -> Arrays:
    """Return the model's inputs, int64 [rows, length]. rows: all padded to one length."""
    ids: Array = np.zeros((len(rows), rows[0].length), np.int64)
    mask = np.zeros_like(ids)
    for at, row in enumerate(rows):
        ids[at, : len(row.ids)] = row.ids
        mask[at, : len(row.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
