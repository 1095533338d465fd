"""Answers become lines of a file or of standard output, each whole and acknowledged only once it is written."""

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.records import Answer, Unreachable
from serving.offline.sinks.lines import JsonLines
from tests.running import PYTHONPATH
from tests.serving.offline.answers import TIME, answer, answer_of
from tests.waiting import on_loop


def write(sink: JsonLines, *batches: list[Answer]) -> None:
    async def written() -> None:
        await sink.open()
        try:
            for batch in batches:
                assert list(await sink.write(batch)) == [None] * len(batch)
        finally:
            await sink.close()

    uvloop.run(written())


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_holds_the_records_origin_its_time_the_version_and_the_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    write(JsonLines("file:answers.jsonl", path), [answer(1, postid="p")], [answer(2), answer_of(b'{\r\n "results": 1}\n', 3)])
    place = {"topic": "videos", "partition": 0, "time": TIME, "version": "v1"}
    assert lines(path) == [
        {**place, "offset": 1, "answer": {"results": {"age": 1}, "msg": "", "postid": "p"}},
        {**place, "offset": 2, "answer": {"results": {"age": 2}, "msg": ""}},
        {**place, "offset": 3, "answer": {"results": 1}},
    ]


def test_lines_are_added_to_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for offset in (1, 2):
        write(JsonLines("file:answers.jsonl", path), [answer(offset)])
    assert [line["offset"] for line in lines(path)] == [1, 2]


@pytest.mark.parametrize("length", [0, 10, 200_000])
def test_a_line_that_a_killed_process_began_is_taken_away(tmp_path: Path, length: int) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"offset":0}\n{"text":"' + "x" * length)
    write(JsonLines("file:answers.jsonl", path), [answer(1)])
    assert [line["offset"] for line in lines(path)] == [0, 1]


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"offset":0}')
    write(JsonLines("file:answers.jsonl", path), [answer(1)])
    assert [line["offset"] for line in lines(path)] == [0, 1]


def test_a_file_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="file:none/a.jsonl: No such file"):
        write(JsonLines("file:none/a.jsonl", tmp_path / "none" / "a.jsonl"))


@pytest.fixture
def bound() -> Iterator[Callable[[int], None]]:
    """Return a function that bounds the files of this process, as a full disk does. The bound ends with the test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size if size >= 0 else soft, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@on_loop
async def test_a_disk_that_is_full_is_unreachable_and_leaves_no_half_line(tmp_path: Path, bound: Callable[[int], None]) -> None:
    path = tmp_path / "answers.jsonl"
    sink = JsonLines("file:answers.jsonl", path)
    await sink.open()
    await sink.write([answer(1)])
    bound(path.stat().st_size + 50)
    with pytest.raises(Unreachable, match="File too large"):
        await sink.write([answer(2)])
    assert [line["offset"] for line in lines(path)] == [1]
    bound(-1)
    await sink.write([answer(2)])
    await sink.close()
    assert [line["offset"] for line in lines(path)] == [1, 2]


SCRIPT = """
import sys, uvloop
from serving.offline.sinks.lines import JsonLines
from tests.serving.offline.answers import answer
async def main():
    sink = JsonLines("stdout")
    await sink.open()
    for start in range(0, 3000, 500):
        await sink.write([answer(offset, postid="x" * 100) for offset in range(start, start + 500)])
    await sink.close()
try:
    uvloop.run(main())
except BrokenPipeError:
    sys.exit(9)
"""


def script(out: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=out, env={**os.environ, "PYTHONPATH": PYTHONPATH})


@pytest.mark.parametrize("blocks", [True, False])
def test_standard_output_gets_every_line_though_its_reader_is_slow(blocks: bool) -> None:
    read, out = os.pipe()
    os.set_blocking(out, blocks)
    process = script(out)
    os.close(out)
    with os.fdopen(read, "rb") as reader:
        offsets = [json.loads(line)["offset"] for line in reader]
    assert process.wait(30) == 0
    assert offsets == list(range(3000))


def test_a_reader_that_goes_away_ends_the_writing() -> None:
    read, out = os.pipe()
    process = script(out)
    os.close(out)
    os.read(read, 100)
    os.close(read)
    assert process.wait(30) == 9


@on_loop
async def test_a_pipe_that_nobody_reads_keeps_no_close_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    read, out = os.pipe()
    monkeypatch.setattr("serving.offline.sinks.lines.CLOSE_SECONDS", 0.2)
    sink = JsonLines("stdout")
    with os.fdopen(os.dup(out), "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        await sink.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await sink.write([answer(offset) for offset in range(5000)])
    await sink.close()
    drained = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 1 << 16), b"")])
    os.close(out)
    drained.start()
    drained.join(30)
    assert not drained.is_alive()  # the thread wrote what it had, closed the pipe, and so ended the reader's input
    os.close(read)
