import fcntl
import gzip
import json
import os
import pty
import random
import re
import signal
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest

from serving.offline.sinks.postgresql import definition
from tests.postgresql import Server
from tests.running import ROOT, make_service
from tests.serving.offline.offline_process import backfill, finished
from tests.waiting import until

RECORDS = 4000


@pytest.fixture
def digits_service(tmp_path: Path) -> Path:
    settings = 'model_path = "model/digits.onnx"\noffline_rate = 500.0'
    return make_service(tmp_path / "small", settings, models=("tests/models/digits.onnx",))


@pytest.fixture
def table(postgresql: Server) -> str:
    postgresql.execute('DROP TABLE IF EXISTS "digits"')
    postgresql.execute(definition("digits", ()))
    return "postgresql:digits"


def write_digits(path: Path, count: int, first: int = 0) -> Path:
    """Write records of random pixels, which are other ones for each number."""
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        for number in range(first, first + count):
            chance = random.Random(number)
            pixels = [[[[chance.random() for _ in range(8)] for _ in range(8)]]]
            file.write(json.dumps({"postid": str(number), "data": pixels}) + "\n")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that may be growing."""
    return [json.loads(line) for line in path.read_bytes().splitlines(True) if line.endswith(b"\n")] if path.exists() else []


def results(found: list[dict[str, Any]]) -> dict[tuple[str, int], Any]:
    return {(line["topic"], line["offset"]): line["answer"] for line in found}


def test_five_kills_lose_no_answer_and_double_none_in_a_table(
    digits_service: Path, tmp_path: Path, postgresql: Server, table: str
) -> None:
    (tmp_path / "in").mkdir()
    write_digits(tmp_path / "in/a.jsonl", RECORDS // 2)
    write_digits(tmp_path / "in/b.jsonl.gz", RECORDS // 2, RECORDS // 2)
    assert finished(backfill(digits_service, ["in/*"], ["file:whole.jsonl"], tmp_path))[0] == 0
    whole = results(lines(tmp_path / "whole.jsonl"))
    assert len(whole) == RECORDS
    killed, to, env = tmp_path / "killed.jsonl", ["file:killed.jsonl", table], {"POSTGRESQL_URL": postgresql.url()}
    for _ in range(5):
        before = len(lines(killed))
        process = backfill(digits_service, ["in/*"], to, tmp_path, env)
        until(lambda before=before: len(lines(killed)) > before + 400, 240)  # type: ignore[misc]
        process.kill()
        assert finished(process)[0] == -signal.SIGKILL
    code, out, errors = finished(backfill(digits_service, ["in/*"], to, tmp_path, env, ("--json",)))
    assert code == 0, errors
    answers = lines(killed)
    assert results(answers) == whole
    assert len(answers) < RECORDS + 5 * 1000  # a kill has the records of about a second done again
    summary = json.loads(out)
    assert (summary["complete"], summary["dead"]) == (True, 0)
    assert 0 < summary["answered"] < RECORDS
    stored = postgresql.execute('SELECT topic, "offset", results FROM "digits"')
    assert {(topic, offset): found for topic, offset, found in stored} == {
        place: answer["results"] for place, answer in whole.items()
    }


def test_pictures_run_through_the_demo_model(tmp_path: Path) -> None:
    code, out, _ = finished(backfill(ROOT, [str(ROOT / "examples/images")], ["file:labels.jsonl"], tmp_path))
    found = {Path(line["topic"]).name: line["answer"] for line in lines(tmp_path / "labels.jsonl")}
    pictures = {path.name for path in (ROOT / "examples/images").iterdir() if path.suffix in (".jpg", ".png")}
    assert found.keys() == pictures
    assert "cat" in json.dumps(found["chelsea.jpg"]["results"][0])
    assert code == 0
    others = len(list((ROOT / "examples/images").iterdir())) - len(pictures)
    assert f"{len(pictures)} records in " in out
    assert f"they are not records: {others}" in out


def test_dead_letters_are_counted_kept_and_have_an_exit_status(digits_service: Path, tmp_path: Path) -> None:
    path = write_digits(tmp_path / "a.jsonl", 10)
    with path.open("a") as file:
        file.write('{"postid": "x", "data": [1]}\n{"text": "' + "x" * 2**20 + '"}\nnot json\n')
    code, out, _ = finished(backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path))
    assert code == 3
    assert "13 records in " in out
    assert ": 10 answered, 3 dead\n" in out
    name = re.search(r"^dead letters: (.+)$", out, re.MULTILINE)
    assert name
    letters = {line["offset"]: line for line in lines(tmp_path / name[1])}
    assert {offset: line["reason"] for offset, line in letters.items()} == {11: "bad_input", 12: "too_large", 13: "bad_input"}
    assert letters[13]["value"] == "not json"
    assert letters[12]["by_reference"] is True


def test_ctrl_c_notes_what_is_done_and_the_next_run_does_the_rest_once(digits_service: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "a.jsonl", 1000)
    process = backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path)
    until(lambda: len(lines(tmp_path / "out.jsonl")) > 100, 240)
    process.send_signal(signal.SIGINT)
    code, out, _ = finished(process)
    assert code == 130
    assert "the same command goes on" in out
    assert finished(backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path))[0] == 0
    assert sorted(line["offset"] for line in lines(tmp_path / "out.jsonl")) == list(range(1, 1001))
    code, out, _ = finished(backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path))
    assert code == 0
    assert "all of it was done before" in out
    assert finished(backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path, flags=("--again",)))[0] == 0
    assert len(lines(tmp_path / "out.jsonl")) == 2000


def test_a_query_fills_another_table(digits_service: Path, tmp_path: Path, postgresql: Server, table: str) -> None:
    write_digits(tmp_path / "a.jsonl", 300)
    postgresql.execute('DROP TABLE IF EXISTS "pixels"')
    postgresql.execute("CREATE TABLE pixels (id int PRIMARY KEY, pixels jsonb)")
    for line in (tmp_path / "a.jsonl").read_text().splitlines():
        record = json.loads(line)
        postgresql.execute(f"INSERT INTO pixels VALUES ({record['postid']}, '{json.dumps(record['data'])}')")
    query = "SELECT id, 'p' || id AS postid, pixels AS data FROM pixels"
    code, out, errors = finished(backfill(digits_service, [query], [table], tmp_path, {"POSTGRESQL_URL": postgresql.url()}))
    assert (code, out.splitlines()[0].partition(":")[2]) == (0, " 300 answered, 0 dead"), errors
    assert postgresql.execute('SELECT count(*), count(DISTINCT postid), min("offset"), max("offset") FROM "digits"') == [
        (300, 300, 0, 299)
    ]


def test_a_broken_file_is_named_and_the_summary_tells_what_was_done(digits_service: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    broken = write_digits(tmp_path / "in/a.jsonl.gz", 200)
    broken.write_bytes(broken.read_bytes()[:-2000])
    write_digits(tmp_path / "in/b.jsonl", 20)
    code, out, errors = finished(backfill(digits_service, ["in/*"], ["file:out.jsonl"], tmp_path))
    assert code == 1
    assert re.search(r"in/a\.jsonl\.gz: its gzip is broken", errors)
    done = len(lines(tmp_path / "out.jsonl"))
    assert 20 < done < 220
    assert f"{done} records in " in out
    assert "not all is done" in out


def test_a_terminal_shows_the_bar_with_rate_and_time_left(digits_service: Path, tmp_path: Path) -> None:
    write_digits(tmp_path / "a.jsonl", 1500)
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = backfill(digits_service, ["a.jsonl"], ["file:out.jsonl"], tmp_path, stderr=terminal, stdout=subprocess.PIPE)
    os.close(terminal)
    shown = b""
    with process, os.fdopen(screen, "rb", buffering=0) as reading:
        while True:
            try:
                piece = reading.read(4096)
            except OSError:  # the last process that wrote to the terminal has ended
                break
            if not piece:
                break
            shown += piece
        assert process.wait(60) == 0
    assert re.search(rb" \d\d%\|.*\| [\d,]+ records, \d+\.\d/s, 00:\d\d left", shown)
