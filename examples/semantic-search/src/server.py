"""Semantic search: a question in; the sentences of a corpus that are nearest to it in meaning out."""

from collections.abc import Sequence
from typing import Any

import health
import numpy as np
from corpus import Corpus, read
from embedding import WIDTH, embed, embed_slowly
from tokens import CHARACTERS, Row, Tokens

from serving.api import BadInput, Request, Service, TooLarge, route

NEAREST, MOST = 5, 50  # sentences of an answer: the default, and the most
EXAMPLE = {"question": "How do I send shoes back?"}
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class SemanticSearch(Service):
    """MiniLM over a file of sentences.

    Concurrency. Each request runs on a thread of its own. The start, and later the thread that watches the file, replaces
    `corpus` as a whole. A request reads it once, so that it sees one version of the sentences.
    """

    example = EXAMPLE
    corpus = Corpus((), np.empty((0, WIDTH), np.float32))  # empty until setup loads the file

    def setup(self) -> None:
        self.tokens = Tokens(self.folder / "model/tokenizer.json")
        self.asked = self.metrics.counter("search_questions_total", "Questions answered.", ("route",))
        for name in ("query", "batch"):
            self.asked.labels(name)
        self.cut = self.metrics.counter("search_tokens_cut_total", "Tokens beyond the most that are read of a text.", ("of",))
        for name in ("corpus", "request"):
            self.cut.labels(name)
        self.best = self.metrics.histogram("search_best_score", "Cosine of a question and its nearest sentence.", (), SCORES)
        self.size = self.metrics.gauge("search_corpus_sentences", "Sentences of the corpus.")
        path = self.folder / self.option("corpus", "model/corpus.txt")
        most = self.option("most_sentences", 50_000, least=1, most=500_000)
        self.watch(path, lambda: self.load(read(path, most)))

    def load(self, sentences: tuple[str, ...]) -> None:
        """Make these sentences the corpus. Known sentences keep their vectors, which do not depend on their batch."""
        known = dict(zip(self.corpus.sentences, self.corpus.vectors, strict=True))
        new = [sentence for sentence in sentences if sentence not in known]
        rows = [self.tokens.row(sentence) for sentence in new]
        known |= zip(new, embed_slowly(rows, self.model), strict=True)
        self.cut.labels("corpus").inc(sum(row.cut for row in rows))
        self.corpus = Corpus(sentences, np.stack([known[sentence] for sentence in sentences]))
        self.size.set(len(sentences))

    def handle(self, request: Request) -> dict[str, Any]:
        return self.query(request)

    @route("/query", example=EXAMPLE)
    def query(self, request: Request) -> dict[str, Any]:
        """The sentences nearest to a question."""
        return self.answers([request.value("question", str)], ["the question"], request, "query")[0]

    @route("/query/batch", example={"questions": ["How do I send shoes back?", "Why is the sky blue?"]})
    def batch(self, request: Request) -> list[dict[str, Any]]:
        """The sentences nearest to each of some questions."""
        questions = request.values("questions", str)
        return self.answers(questions, [f"questions[{at}]" for at in range(len(questions))], request, "batch")

    @route("/embed", example={"texts": ["How do I send shoes back?"]})
    def embed(self, request: Request) -> list[dict[str, Any]]:
        """The vector of each text: 384 numbers, of length 1."""
        texts = request.values("texts", str)
        rows = self.rows(texts, [f"texts[{at}]" for at in range(len(texts))])
        vectors = embed(rows, self.model, request)
        return [{"vector": vector, **said(row)} for vector, row in zip(vectors, rows, strict=True)]

    @route("/health", "GET")
    def health(self, request: Request) -> dict[str, Any]:
        """Memory, cores and queue, and whether that is much."""
        return health.judged(self.vitals(), len(self.corpus.sentences))

    def answers(self, questions: Sequence[str], names: Sequence[str], request: Request, route: str) -> list[dict[str, Any]]:
        """Return the sentences nearest to each question. names: for error messages. route: for metrics."""
        most = request.value("k", int, NEAREST, 1, MOST)
        rows = self.rows(questions, names)
        vectors, corpus = embed(rows, self.model, request), self.corpus
        found = [corpus.nearest(vector, most) for vector in vectors]
        self.asked.labels(route).inc(len(questions))
        for near in found:
            self.best.observe(near[0][1])
        return [{"sentences": shown(corpus, near), **said(row)} for near, row in zip(found, rows, strict=True)]

    def rows(self, texts: Sequence[str], names: Sequence[str]) -> list[Row]:
        """Return the tokens of texts. names: for error messages. Raises BadInput, TooLarge."""
        if not texts:
            raise BadInput("the list is empty; send one text or more")
        if len(texts) > self.settings.max_rows_per_request:
            raise TooLarge(f"{len(texts)} texts, at most {self.settings.max_rows_per_request} are taken; send them in parts")
        for text, name in zip(texts, names, strict=True):
            if len(text) > CHARACTERS:
                raise TooLarge(f"{name} has {len(text)} characters, at most {CHARACTERS} are taken; send its gist")
        rows = [self.tokens.row(text) for text in texts]
        for row, name in zip(rows, names, strict=True):
            if not row.read:
                raise BadInput(f"{name} is empty; write something")
        self.cut.labels("request").inc(sum(row.cut for row in rows))
        return rows


def said(row: Row) -> dict[str, int]:
    """Return the answer's counts of the tokens that were read and cut."""
    return {"tokens": row.read, "cut": row.cut}


def shown(corpus: Corpus, near: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    return [{"label": corpus.sentences[at], "score": round(score, 4), "place": at} for at, score in near]
