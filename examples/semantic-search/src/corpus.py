"""The corpus: the sentences of a file, their vectors, and the nearest of them.

Knows text files and cosines. Does not know where vectors come from.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.service import Array, StartError


@dataclass(frozen=True)
class Corpus:
    """Sentences and their vectors, float32 [sentences, width], each of length 1."""

    sentences: tuple[str, ...]
    vectors: Array

    def nearest(self, vector: Array, most: int) -> list[tuple[int, float]]:
        """Return the places of the sentences nearest to a vector of length 1, and their cosines, best first.

        Every sentence is compared: 50,000 take about 5 ms of one core. einsum adds up each sentence by itself, so that a score
        is the same whoever else is asked about; a BLAS would start a thread for each core of the node.
        """
        scores = np.einsum("ij,j->i", self.vectors, vector)
        most = min(most, len(scores))
        best = np.argpartition(-scores, most - 1)[:most]
        best = best[np.lexsort((best, -scores[best]))]
        return [(int(at), float(scores[at])) for at in best]


def read(path: Path, most: int) -> tuple[str, ...]:
    """Return the sentences of a file: one a line, each once, without empty lines and those that begin with #.

    Raises StartError, in words, where there is no file, no sentence, more than `most`, or something else than UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StartError(f"{path}: no such file; put a corpus there, one sentence a line") from None
    except UnicodeDecodeError as error:
        raise StartError(f"{path}: byte {error.start} is not UTF-8; save the corpus as UTF-8") from None
    lines = (line.strip() for line in text.splitlines())
    sentences = tuple(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not sentences:
        raise StartError(f"{path}: holds no sentence; write one a line")
    if len(sentences) > most:
        raise StartError(f"{path}: holds {len(sentences)} sentences, at most {most} are searched (options in value.py)")
    return sentences
