"""The example's own tests: the real model and corpus behind the real server, over sockets."""

import math
import random
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import read
from tokens import LONGEST, Row, Tokens, inputs

from tests.running import Running, get, post_form, post_json, running

EXAMPLE = Path(__file__).parents[1]
CORPUS = read(EXAMPLE / "model/corpus.txt", 1000)
Array = np.ndarray[Any, np.dtype[Any]]

# Questions in other words than the corpus has, with the sentence that answers each.
QUESTIONS = {
    "How long until I get my money back?": "Money is paid back within five working days",
    "my package hasn't moved for a week, is it gone?": "A parcel that has not moved for five days counts as lost",
    "I don't remember my login credentials": "To reset a forgotten password",
    "Can I call someone on a Saturday?": "Our help desk answers the telephone",
    "is there a discount for university people": "Students get ten per cent off",
    "Can I stop an order that I have just made?": "An order can be cancelled free of charge",
    "how do I clean my espresso maker": "The coffee machine is descaled",
    "Can I bring my pet into the shop?": "Dogs are welcome",
    "why was my pod OOM killed": "A pod that takes more than its memory setting",
    "how do I return a 400 to the client from my hook": "Raise BadInput",
    "how is a secret key given to my service": "Secrets such as keys and tokens",
    "go back to the previous version after a bad deploy": "monopod rollback",
    "Which city is the seat of the French government?": "Paris is the capital of France",
    "What is the powerhouse of the cell?": "Mitochondria release most of the energy",
    "Do antibiotics help with the flu?": "Antibiotics work against bacteria",
    "Why does the ocean rise and fall twice a day?": "Tides come mostly from the Moon",
    "When did the wall between East and West Germany come down?": "The Berlin Wall fell",
    "how can I cut onions without crying": "Onions bring fewer tears",
    "How far do you run in a marathon?": "A marathon is 42.195 kilometres",
    "two threads are stuck waiting for each other": "Two threads that each wait for the other's lock",
}


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running(EXAMPLE) as it:
        yield it


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(EXAMPLE / "model/tokenizer.json")


def ask(service: Running, path: str, body: object) -> tuple[int, Any]:
    """Return the status, and the results or the error."""
    status, answer = post_json(f"{service.url}/api/like/semantic-search{path}", body)
    return status, answer["results"] if status == 200 else answer["error"]


def vectors_of(service: Running, texts: Sequence[str]) -> Array:
    status, told = ask(service, "/embed", {"texts": texts})
    assert status == 200, told
    return np.array([each["vector"] for each in told], np.float32)


def test_the_right_sentence_comes_first(service: Running) -> None:
    found = {question: ask(service, "/query", {"question": question, "k": 1})[1]["sentences"][0] for question in QUESTIONS}
    wrong = {question: near for question, near in found.items() if not near["label"].startswith(QUESTIONS[question])}
    assert len(QUESTIONS) == 20
    assert len(wrong) <= 2, wrong


def test_an_answer_lists_sentences_best_first_and_says_how_much_was_read(service: Running) -> None:
    status, told = ask(service, "/query", {"question": "Why is the sky blue?"})
    assert status == 200
    assert (told["tokens"], told["cut"], len(told["sentences"])) == (6, 0, 5)
    best = told["sentences"][0]
    assert best["label"] == "The sky is blue because air scatters short waves of light more than long ones."
    assert CORPUS[best["place"]] == best["label"]
    assert 0.6 < best["score"] < 1
    scores = [near["score"] for near in told["sentences"]]
    assert scores == sorted(scores, reverse=True)


def test_the_services_own_route_a_form_and_a_batch_answer_like_query(service: Running) -> None:
    body = {"question": "How do I send shoes back?", "k": 7}
    _, right = ask(service, "/query", body)
    assert len(right["sentences"]) == 7
    assert ask(service, "", body) == (200, right)
    question = ("question", "How do I send shoes back?")
    assert post_form(f"{service.url}/api/semantic-search/query?k=7", question)[0] == 200
    status, both = ask(service, "/query/batch", {"questions": ["Why is the sky blue?", body["question"]], "k": 7})
    assert status == 200
    assert both[1] == right


@pytest.mark.parametrize("k", [1, 50])
def test_as_many_sentences_come_as_are_asked_for(service: Running, k: int) -> None:
    assert len(ask(service, "/query", {"question": "stars", "k": k})[1]["sentences"]) == k


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/query", {}, 400, "the request has no question; send a text"),
        ("/query", {"question": ""}, 400, "the question is empty; write something"),
        ("/query", {"question": " \n\t\u200b"}, 400, "the question is empty"),
        ("/query", {"question": 7}, 400, "question"),
        ("/query", {"question": ["a"]}, 400, "question"),
        ("/query", {"question": None}, 400, "question"),
        ("/query", {"question": "x" * 10_001}, 413, "the question has 10001 characters, at most 10000 are taken"),
        ("/query", {"question": "stars", "k": 0}, 400, "k is 0; it must be from 1 to 50"),
        ("/query", {"question": "stars", "k": 51}, 400, "k is 51; it must be from 1 to 50"),
        ("/query", {"question": "stars", "k": "many"}, 400, "k"),
        ("/query", {"question": "stars", "k": 2.5}, 400, "k"),
        ("/query/batch", {}, 400, "the request has no questions"),
        ("/query/batch", {"questions": []}, 400, "the list is empty; send one text or more"),
        ("/query/batch", {"questions": "stars"}, 400, "questions"),
        ("/query/batch", {"questions": ["stars", ""]}, 400, "questions[1] is empty"),
        ("/query/batch", {"questions": ["stars", 7]}, 400, "questions[1]"),
        ("/query/batch", {"questions": ["stars", "y" * 10_001]}, 413, "questions[1] has 10001 characters"),
        ("/query/batch", {"questions": ["stars"] * 65}, 413, "65 texts, at most 64 are taken; send them in parts"),
        ("/embed", {"texts": []}, 400, "the list is empty"),
        ("", {"data": [1]}, 400, "the request has no question"),
    ],
)
def test_what_cannot_be_asked_is_the_clients_fault_in_words(
    service: Running, path: str, body: object, status: int, words: str
) -> None:
    found, told = ask(service, path, body)
    assert (found, words in told) == (status, True), told


@pytest.mark.parametrize(
    "question", ["🙂", "schöne Grüße aus München", "空はなぜ青い", "[SEP] [PAD]", "a\u0000b", "x" * 10_000]
)
def test_any_text_is_answered(service: Running, question: str) -> None:
    status, told = ask(service, "/query", {"question": question})
    assert (status, len(told["sentences"]), told["cut"]) == (200, 5, 0)


def test_a_long_question_is_cut_and_the_answer_says_so(service: Running) -> None:
    before = metric(service, 'search_tokens_cut_total{of="request"}')
    status, told = ask(service, "/query", {"question": "Why is the sky blue? " * 100})
    assert (status, told["tokens"], told["cut"]) == (200, LONGEST - 2, 600 - (LONGEST - 2))
    assert told["sentences"][0]["label"].startswith("The sky is blue")
    assert metric(service, 'search_tokens_cut_total{of="request"}') == before + told["cut"]


def test_the_health_page_gives_a_verdict_and_its_numbers(service: Running) -> None:
    status, body = get(service.url + "/api/semantic-search/health")
    assert status == 200
    assert b'"verdict":"ok"' in body or b'"verdict":"busy"' in body
    assert f'"corpus_sentences":{len(CORPUS)}'.encode() in body
    for number in (b"memory_bytes", b"memory_limit_bytes", b"cpu_cores", b"cpu_cores_asked", b"queue_rows", b"thresholds"):
        assert number in body


def test_questions_and_the_corpus_are_counted(service: Running) -> None:
    before = metric(service, 'search_questions_total{route="batch"}'), metric(service, "search_best_score_count")
    ask(service, "/query/batch", {"questions": ["stars", "planets", "moons"]})
    ask(service, "/query/batch", {"questions": ["stars", ""]})
    after = metric(service, 'search_questions_total{route="batch"}'), metric(service, "search_best_score_count")
    assert (after[0] - before[0], after[1] - before[1]) == (3, 3)
    assert metric(service, "search_corpus_sentences") == len(CORPUS)


def test_a_text_has_the_same_vector_alone_and_beside_any_other(service: Running) -> None:
    """Texts are sent to /embed alone, alone while others are sent, and in lists of short and long texts."""
    rng = random.Random(1)
    texts = [*CORPUS[::4], *QUESTIONS, "hi", "🙂", *(" ".join(rng.sample(CORPUS, n)) for n in (2, 3, 4, 6, 8, 12, 20))]
    alone = np.concatenate([vectors_of(service, [text]) for text in texts])
    assert np.linalg.norm(alone, axis=1) == pytest.approx(1, abs=1e-5)
    lists = [rng.sample(range(len(texts)), size) for size in (1,) * 48 + (2, 3, 5, 8, 13) * 2 + (40,)]  # never over queue_limit
    rng.shuffle(lists)
    rows, batches = metric(service, BATCH_ROWS + "_sum" + OF), metric(service, BATCH_ROWS + "_count" + OF)
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda places: vectors_of(service, [texts[at] for at in places]), lists))
    rows, batches = metric(service, BATCH_ROWS + "_sum" + OF) - rows, metric(service, BATCH_ROWS + "_count" + OF) - batches
    assert rows == sum(map(len, lists))
    assert batches < rows / 1.5  # they did run beside others
    assert all((alone[places] == vectors).all() for places, vectors in zip(lists, found, strict=True))  # to the last bit


def test_the_protocol_gives_the_same_vectors_whatever_the_padding(service: Running, tokens: Tokens) -> None:
    texts = [*CORPUS[::12], "hi", " ".join(CORPUS[:12])]
    rows = [tokens.row(text) for text in texts]
    alone = np.concatenate([vectors_of(service, [text]) for text in texts])
    apart = np.concatenate([inferred(service, [row], row.length) for row in rows])
    together = np.concatenate([inferred(service, rows[at : at + 6], LONGEST) for at in range(0, len(rows), 6)])
    assert (apart == alone).all()
    assert abs(together - alone).max() <= 1e-6


@pytest.mark.parametrize("length", [LONGEST + 1, 512, 600])
def test_the_protocol_refuses_rows_that_are_too_long(service: Running, length: int) -> None:
    body = {"inputs": [tensor(name, np.ones((1, length), np.int64)) for name in inputs([Row((101, 102), 0)])]}
    status, told = post_json(f"{service.url}/v2/models/semantic-search/infer", body)
    assert (status, told["reason"]) == (400, "bad_input")


def inferred(service: Running, rows: Sequence[Row], length: int) -> Array:
    """Return the vectors of rows by the Open Inference Protocol. length: tokens to which they are padded."""
    padded = [np.concatenate([row.ids, np.zeros(length - len(row.ids), np.int64)]) for row in rows]
    ids = np.stack(padded).astype(np.int64)
    arrays = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    body = {"inputs": [tensor(name, array) for name, array in arrays.items()]}
    status, told = post_json(f"{service.url}/v2/models/semantic-search/infer", body)
    assert status == 200, told
    output = told["outputs"][0]
    assert output["shape"] == [len(rows), 384]
    return np.array(output["data"], np.float32).reshape(len(rows), 384)


def tensor(name: str, array: Array) -> dict[str, Any]:
    return {"name": name, "datatype": "INT64", "shape": list(array.shape), "data": array.ravel().tolist()}


BATCH_ROWS, OF = "monopod_batch_rows", '{model="semantic-search"}'


def metric(service: Running, name: str) -> float:
    return service.metric(name, absent=math.nan)


def test_every_series_that_an_alert_reads_is_one_that_the_server_shows(service: Running) -> None:
    rules = (EXAMPLE / "alerts.yaml").read_text()
    asked = re.findall(r"([a-z_]+)\{namespace=\"like\", service=\"semantic-search\"(?:, (\w+=\"[^\"]+\"))?", rules)
    assert len(asked) >= 6
    page = service.metrics().splitlines()
    for name, label in asked:
        assert any(re.match(rf"{name}(\{{| )", line) and label in line for line in page), (name, label)
