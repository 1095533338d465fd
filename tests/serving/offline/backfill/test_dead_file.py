import asyncio
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from serving.base.errors import StartError
from serving.offline.backfill.dead_file import DeadFile
from serving.offline.records import DeadLetter, Origin, Record, Refusal, Unreachable
from tests.running import PYTHONPATH


def letter(value: bytes | None, key: bytes | None = None) -> DeadLetter:
    return DeadLetter(Record(Origin("a.jsonl", 0, 7), 1234, key, value), Refusal("bad_input", "no picture"), "id7", "v1")


def test_a_letter_is_a_line_with_origin_reason_error_and_value(tmp_path: Path) -> None:
    dead = DeadFile(tmp_path / "dead.jsonl")
    asyncio.run(dead.write([letter(b'{"n":1}'), letter(b"\xff\x00", b"k"), letter(None)]))
    asyncio.run(dead.close())
    lines = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_text().splitlines()]
    common = {"reason": "bad_input", "error": "no picture", "id": "id7", "topic": "a.jsonl", "partition": 0, "offset": 7}
    common |= {"time": 1234, "version": "v1"}
    assert lines == [
        {**common, "value": '{"n":1}'},
        {**common, "key": "k", "value_base64": "/wA="},
        {**common, "by_reference": True},
    ]
    assert dead.count == 3


def test_a_line_that_a_kill_cut_short_is_replaced_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text('{"offset": 1}\n{"offs')
    dead = DeadFile(path)
    asyncio.run(dead.write([letter(b"x")]))
    dead.release()
    assert [json.loads(line)["offset"] for line in path.read_text().splitlines()] == [1, 7]


def test_an_empty_file_is_removed_and_one_begun_anew_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    path.write_text('{"offset": 1}\n')
    DeadFile(path).release()
    assert path.exists()
    DeadFile(path, again=True).release()
    assert not path.exists()


def test_a_second_process_is_refused_until_the_first_one_ends(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    code = "from pathlib import Path; from serving.offline.backfill.dead_file import DeadFile; import sys\n"
    code += "dead = DeadFile(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=-1, stdout=-1, env={"PYTHONPATH": PYTHONPATH}, text=True
    )
    with other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StartError, match="is in use: another process"):
            DeadFile(path)
        other.kill()
    DeadFile(path).release()


def test_a_disk_that_takes_no_more_is_waited_for_and_holds_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "dead.jsonl"
    dead = DeadFile(path)
    asyncio.run(dead.write([letter(b"first")]))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, before[1]))
    try:
        with pytest.raises(Unreachable, match=f"^{path}: File too large$"):
            asyncio.run(dead.write([letter(b"second")]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert dead.count == 1
    asyncio.run(dead.write([letter(b"second")]))
    dead.release()
    assert [json.loads(line)["value"] for line in path.read_text().splitlines()] == ["first", "second"]
