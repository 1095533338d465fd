"""Search: a question in; the sentences of a corpus that are nearest to it out."""

import zlib
from typing import Any

import numpy as np

from serving.api import Array, Arrays, BadInput, Request, Service, StartError, TensorSpec, route

WIDTH, NEAREST = 2048, 3
QUESTIONS = (TensorSpec("questions", "BYTES", (-1,)),)
FOUND = (TensorSpec("places", "INT64", (-1, NEAREST)), TensorSpec("scores", "FP32", (-1, NEAREST)))


class Search(Service):
    def setup(self) -> None:
        corpus = self.folder / "model/corpus.txt"
        self.sentences = corpus.read_text().splitlines() if corpus.is_file() else []
        if len(self.sentences) < NEAREST:
            raise StartError(f"{corpus}: holds {len(self.sentences)} sentences, must hold {NEAREST} or more, one a line")
        self.index = np.stack([vector(sentence) for sentence in self.sentences])
        self.models.add(self.settings.service_name, self.search, QUESTIONS, FOUND)
        self.asked = self.metrics.counter("search_questions_total", "Questions asked.", ("route",))
        self.metrics.gauge("search_index_sentences", "Sentences in the index.").set(len(self.sentences))

    def search(self, arrays: Arrays) -> Arrays:
        scores = np.stack([vector(question.decode(errors="replace")) for question in arrays["questions"]]) @ self.index.T
        places = np.argsort(-scores, axis=1)[:, :NEAREST]
        return {"places": places, "scores": np.take_along_axis(scores, places, axis=1)}

    @route("/query")
    def query(self, request: Request) -> list[dict[str, Any]]:
        """The sentences nearest to a question."""
        return self.answers([request.value("question", str)], request, "query")[0]

    @route("/query/batch")
    def batch(self, request: Request) -> list[list[dict[str, Any]]]:
        """The sentences nearest to each of some questions."""
        return self.answers(request.values("questions", str), request, "batch")

    def answers(self, questions: list[str], request: Request, route: str) -> list[list[dict[str, Any]]]:
        if not all(questions):
            raise BadInput("a question is empty; ask something")
        self.asked.labels(route).inc(len(questions))
        found = self.model({"questions": np.array([question.encode() for question in questions], object)}, request)
        pairs = [zip(*row, strict=True) for row in zip(found["places"], found["scores"], strict=True)]
        return [[{"text": self.sentences[place], "score": score} for place, score in row] for row in pairs]


def vector(text: str) -> Array:
    """Return a text's vector of WIDTH numbers: the counts of its letter triples, by their hash."""
    text = f" {text.lower()} "
    places = [zlib.crc32(text[i : i + 3].encode()) % WIDTH for i in range(len(text) - 2)]
    counts = np.bincount(places, minlength=WIDTH).astype(np.float32)
    return counts / max(float(np.linalg.norm(counts)), 1e-6)
