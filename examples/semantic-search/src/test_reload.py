"""The corpus is replaced while the service runs, and starts fail, with real processes, sockets and signals."""

import math
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests import waiting
from tests.running import Running, launch, post_json, running

until = partial(waiting.until, seconds=30)

EXAMPLE = Path(__file__).parents[1]
FACTS = [f"Number {n} is written on the door of room {n}." for n in range(60)]


def copy_of_the_example(folder: Path, corpus: str) -> Path:
    """Copy the example with another corpus and a shorter warm-up."""
    (folder / "model").mkdir(parents=True)
    (folder / "src").symlink_to(EXAMPLE / "src")
    for name in ("minilm.onnx", "tokenizer.json", "Makefile"):
        (folder / "model" / name).symlink_to(EXAMPLE / "model" / name)
    settings = (EXAMPLE / "value.py").read_text().replace("(256,)", "(16,)")
    settings = settings.replace("ins_num_per_gpu = 2", "ins_num_per_gpu = 1")
    (folder / "value.py").write_text(settings + "drain_delay_second = 0.3\n")
    (folder / "model/corpus.txt").write_text(corpus)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of_the_example(tmp_path_factory.mktemp("reload") / "service", "Cats purr.\nDogs bark.\n")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Running]:
    with running(folder) as it:
        yield it


def query(service: Running, question: str) -> list[str]:
    status, told = post_json(f"{service.url}/api/semantic-search/query", {"question": question, "k": 50})
    assert status == 200, told
    return [near["label"] for near in told["results"]["sentences"]]


def write(folder: Path, body: bytes) -> None:
    """Replace the corpus as a whole."""
    (folder / "model/new").write_bytes(body)
    os.replace(folder / "model/new", folder / "model/corpus.txt")


def metric(service: Running, name: str) -> float:
    return service.metric(name, absent=math.nan)


def until_metric(service: Running, name: str, value: float) -> None:
    until(lambda: metric(service, name) == value)


def test_a_changed_corpus_is_searched_without_a_restart(service: Running, folder: Path) -> None:
    write(folder, b"Cats purr.\nDogs bark.\nHorses neigh.\n")
    until_metric(service, "search_corpus_sentences", 3)
    assert query(service, "What sound does a horse make?")[0] == "Horses neigh."
    write(folder, b"Dogs bark.\n")
    until_metric(service, "search_corpus_sentences", 1)
    assert query(service, "What sound does a horse make?") == ["Dogs bark."]


def test_a_corpus_that_cannot_be_read_changes_nothing_and_is_told(service: Running, folder: Path) -> None:
    write(folder, b"Owls hoot.\n")
    until(lambda: query(service, "owl") == ["Owls hoot."])
    breaks: list[tuple[Callable[[], None], str]] = [
        (lambda: write(folder, b"# nothing\n"), "holds no sentence"),
        (lambda: write(folder, b"word " * 4_000_000), "line 1 has 19999999 characters"),
        (lambda: write(folder, b"bad \xff\n"), "line 1 is not UTF-8"),
        ((folder / "model/corpus.txt").unlink, "no such file"),
    ]
    for broken, words in breaks:
        failures = metric(service, "monopod_reload_failures_total")
        broken()
        until_metric(service, "monopod_reload_failures_total", failures + 1)
        assert any(words in line["message"] and "keeps what it has" in line["message"] for line in service.lines())
        assert query(service, "owl") == ["Owls hoot."]
    write(folder, b"Frogs croak.\n")
    until(lambda: query(service, "owl") == ["Frogs croak."])


def test_a_reload_under_load_fails_no_request_and_mixes_no_states(service: Running, folder: Path) -> None:
    states = [FACTS[:20], FACTS[20:]]
    write(folder, "\n".join(states[0]).encode())
    until_metric(service, "search_corpus_sentences", 20)
    stop, failures, seen = threading.Event(), [], []

    def load() -> None:
        while not stop.is_set():
            try:
                found = set(query(service, "Which room is it?"))
                seen.append(next(at for at, state in enumerate(states) if found <= set(state)))
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for at in (1, 0):
            write(folder, "\n".join(states[at]).encode())
            until_metric(service, "search_corpus_sentences", len(states[at]))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert set(seen) == {0, 1}


def replaced(folder: Path, name: str, body: bytes | None) -> None:
    file = folder / "model" / name
    file.unlink(missing_ok=True)
    if body is not None:
        file.write_bytes(body)


@pytest.mark.parametrize(
    ("name", "body", "words"),
    [
        ("corpus.txt", None, "model/corpus.txt: no such file; put a corpus there, one sentence a line"),
        ("corpus.txt", b"\n# none\n", "model/corpus.txt: holds no sentence; write one a line"),
        ("tokenizer.json", None, "model/tokenizer.json: no such file; run make model SERVICE="),
        ("tokenizer.json", b"{", "model/tokenizer.json: not a tokenizer: "),
        ("minilm.onnx", None, "model/minilm.onnx: no such file; run make model SERVICE="),
        ("minilm.onnx", b"\x08\x0a half a model", "model/minilm.onnx: not loaded as an ONNX model: "),
    ],
)
def test_a_start_without_one_of_its_files_ends_in_words(tmp_path: Path, name: str, body: bytes | None, words: str) -> None:
    folder = copy_of_the_example(tmp_path / "service", "Cats purr.\n")
    replaced(folder, name, body)
    assert_start_ends(folder, f"{folder}/{words}")


def test_a_start_with_a_limit_that_is_no_number_ends_in_words(tmp_path: Path) -> None:
    folder = copy_of_the_example(tmp_path / "service", "Cats purr.\n")
    settings = (folder / "value.py").read_text()
    (folder / "value.py").write_text(settings.replace("50_000,", '"many",'))
    assert_start_ends(folder, "value.py: options says most_sentences = 'many'; it must be a whole number from 1 to 500000")


def assert_start_ends(folder: Path, words: str) -> None:
    """Fail unless the start ends with exit code 1, without a traceback, and with a last line that begins with `words`."""
    service = launch(folder)
    try:
        assert service.process.wait(60) == 1
        assert service.log.read_text().splitlines()[-1].startswith(words)
        assert "Traceback" not in service.log.read_text()
    finally:
        service.process.kill()
        service.log.unlink()
