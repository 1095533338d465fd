"""Reads the sentences of a corpus, and finds those whose vectors are nearest to a question's."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokens import CHARACTERS

from serving.api import Array, StartError

LINE_BYTES = 1000  # bytes of the file allowed for each sentence, so that no file fills the pod's memory
BYTE_ORDER_MARK = "\ufeff"  # Windows editors put it at the start of a file, and `cat` moves it to the middle of one


@dataclass(frozen=True)
class Corpus:
    """Sentences and their vectors, float32 [sentences, width], each of length 1."""

    sentences: tuple[str, ...]
    vectors: Array

    def nearest(self, vector: Array, most: int) -> list[tuple[int, float]]:
        """Return the indices of the sentences nearest to a vector, and their cosines, best first. vector: of length 1.

        Every sentence is compared: 50,000 take about 5 ms of one core. einsum adds up each sentence by itself, so that
        a score never depends on others. A BLAS would start a thread for each core of the node.
        """
        scores = np.einsum("ij,j->i", self.vectors, vector)
        most = min(most, len(scores))
        best = np.argpartition(-scores, most - 1)[:most]
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(at), float(scores[at])) for at in best]


def read(path: Path, most: int) -> tuple[str, ...]:
    """Return the sentences of a file, one a line, each once. Blank lines and lines that begin with # are left out.

    Raises StartError where there is no file, no sentence, more than `most` sentences, or anything but lines of UTF-8.
    """
    try:
        size, allowed = path.stat().st_size, most * LINE_BYTES
        if size > allowed:
            raise StartError(f"{path}: holds {size} bytes, at most {allowed} are read; is it one sentence a line?")
        with path.open("rb") as file:
            lines = (_sentence(line, f"{path}: line {number}") for number, line in enumerate(file, 1))
            sentences = tuple(dict.fromkeys(filter(None, lines)))
    except FileNotFoundError:
        raise StartError(f"{path}: no such file; put a corpus there, one sentence a line") from None
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}; put a text file there") from None
    if not sentences:
        raise StartError(f"{path}: holds no sentence; write one a line")
    if len(sentences) > most:
        raise StartError(f"{path}: holds {len(sentences)} sentences, at most {most} are searched (options in value.py)")
    return sentences


def _sentence(line: bytes, where: str) -> str:
    """Return the sentence of a line, "" for a comment or a line without visible characters. Raises StartError."""
    try:
        text = line.decode().replace(BYTE_ORDER_MARK, "").strip()
    except UnicodeDecodeError:
        raise StartError(f"{where} is not UTF-8; save the corpus as UTF-8") from None
    if len(text) > CHARACTERS:
        raise StartError(f"{where} has {len(text)} characters, at most {CHARACTERS} are taken; write one sentence a line")
    seen = any(character.isprintable() and not character.isspace() for character in text)
    return text if seen and not text.startswith("#") else ""
