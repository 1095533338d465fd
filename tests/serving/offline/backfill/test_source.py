import asyncio
import gzip
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from serving.base.errors import StartError
from serving.offline.backfill.opening import summary
from serving.offline.records import Record, SourceFailed
from tests.serving.offline.backfill.taker import Taker, numbers, opened, write_lines
from tests.waiting import on_loop

STATE_BEFORE = Path(__file__).with_name("state_before")


def test_all_records_are_given_in_their_order_and_the_note_says_so(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", 1000, 1001)
    write_lines(tmp_path / "a.jsonl", 1000)
    taker = Taker(opened(tmp_path, f"{tmp_path}/*.jsonl"), Taker.finish_all)
    asyncio.run(taker.run())
    assert numbers(taker.taken) == list(range(1, 2001))
    assert summary(taker.opened, 2000, 0, 1.0).complete
    again = Taker(opened(tmp_path, f"{tmp_path}/*.jsonl"), Taker.finish_all)
    asyncio.run(again.run())
    assert again.taken == []
    assert "all of it was done before" in summary(again.opened, 0, 0, 0.1).text()


@on_loop
async def test_no_more_records_are_open_than_the_window(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 300)
    most = 0
    waiting: asyncio.Queue[Record] = asyncio.Queue()

    def take(_: Taker, records: Sequence[Record]) -> None:
        for record in records:
            waiting.put_nowait(record)

    taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings="offline_window = 7"), take)

    async def finish_slowly() -> None:
        nonlocal most
        while True:
            record = await waiting.get()
            most = max(most, waiting.qsize() + 1)
            await asyncio.sleep(0)
            taker.source.finished(record.origin)

    finishing = asyncio.create_task(finish_slowly())
    await taker.run()
    finishing.cancel()
    assert numbers(taker.taken) == list(range(1, 301))
    assert 1 < most <= 7


def test_a_record_that_stays_open_keeps_the_newest_one_within_the_window(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 100)

    def finish(taker: Taker, records: Sequence[Record]) -> None:
        taker.finish_all([record for record in records if record.origin.offset != 3])

    async def work() -> list[int]:
        taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings="offline_window = 10"), finish)
        running = asyncio.create_task(taker.run())
        while len(taker.taken) < 12:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)  # longer than the source looks
        seen = [record.origin.offset for record in taker.taken]
        taker.source.finished(taker.taken[2].origin)
        await running
        return seen

    assert asyncio.run(work()) == list(range(1, 13))  # two before it are done, and ten lie in the window


@on_loop
async def test_what_is_open_holds_no_more_than_its_share_of_the_memory(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text((json.dumps({"text": "x" * 2**20}) + "\n") * 40)
    open_bytes, most = 0, 0
    waiting: asyncio.Queue[Record] = asyncio.Queue()

    def take(_: Taker, records: Sequence[Record]) -> None:
        nonlocal open_bytes, most
        for record in records:
            open_bytes += len(record.value or b"")
            most = max(most, open_bytes)
            waiting.put_nowait(record)

    settings = 'memory = "128Mi"\noffline_max_record = "2Mi"'
    taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings=settings), take)

    async def finish() -> None:
        nonlocal open_bytes
        while True:
            record = await waiting.get()
            await asyncio.sleep(0.005)
            open_bytes -= len(record.value or b"")
            taker.source.finished(record.origin)

    finishing = asyncio.create_task(finish())
    await taker.run()
    finishing.cancel()
    assert len(taker.taken) == 40
    assert 2**20 < most <= 8 * 2**20  # a sixteenth of 128 MiB


def test_a_stop_finishes_what_was_begun_and_the_next_run_does_the_rest(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 1000)
    done: list[int] = []

    async def first() -> None:
        def take(taker: Taker, records: Sequence[Record]) -> None:
            odd = [record for record in records if record.origin.offset % 2]
            done.extend(numbers(odd))
            taker.finish_all(odd)

        taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings="offline_window = 100"), take)
        running = asyncio.create_task(taker.run())
        while len(taker.taken) < 100:
            await asyncio.sleep(0.01)
        stopping = asyncio.create_task(taker.source.stop(30))
        while not taker.withdrawn:
            await asyncio.sleep(0.01)
        begun = [record for record in taker.taken if record.origin.offset % 2 == 0][:10]
        done.extend(numbers(begun))
        taker.finish_all(begun)
        for record in taker.taken:
            if record.origin.offset not in done:
                taker.source.dropped(record.origin)
        await stopping
        await running

    asyncio.run(first())
    second = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl"), Taker.finish_all)
    asyncio.run(second.run())
    assert sorted(done + numbers(second.taken)) == list(range(1, 1001))  # each once, since the stop was clean


@on_loop
async def test_a_held_source_gives_nothing_until_it_goes_on(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 10)

    def hold_at_first(taker: Taker, records: Sequence[Record]) -> None:
        taker.source.hold(len(taker.taken) <= 3)
        taker.finish_all(records)

    taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings="offline_window = 3"), hold_at_first)
    running = asyncio.create_task(taker.run())
    await asyncio.sleep(0.6)
    assert 0 < len(taker.taken) <= 3
    taker.source.hold(False)
    await running
    assert len(taker.taken) == 10


def test_a_changed_input_is_refused_until_the_refill_begins_anew(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 10)
    asyncio.run(Taker(opened(tmp_path, str(path)), Taker.finish_all).run())
    write_lines(path, 11)
    with pytest.raises(StartError, match=rf"^{path} has changed .* 161, .* 178, .*--again"):
        opened(tmp_path, str(path))
    taker = Taker(opened(tmp_path, str(path), again=True), Taker.finish_all)
    asyncio.run(taker.run())
    assert len(taker.taken) == 11


def test_a_new_file_of_a_glob_is_done_beside_those_that_were(tmp_path: Path) -> None:
    write_lines(tmp_path / "b.jsonl", 5)
    asyncio.run(Taker(opened(tmp_path, f"{tmp_path}/*.jsonl"), Taker.finish_all).run())
    write_lines(tmp_path / "a.jsonl", 5, 6)
    taker = Taker(opened(tmp_path, f"{tmp_path}/*.jsonl"), Taker.finish_all)
    asyncio.run(taker.run())
    assert numbers(taker.taken) == [6, 7, 8, 9, 10]


def test_a_broken_file_fails_at_the_end_and_the_others_are_done(tmp_path: Path) -> None:
    lines = b"".join(b'{"postid":"%d"}\n' % number for number in range(1, 5001))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-100])
    write_lines(tmp_path / "b.jsonl", 10, 6000)
    taker = Taker(opened(tmp_path, f"{tmp_path}/*.jsonl*"), Taker.finish_all)
    with pytest.raises(SourceFailed, match=r"a\.jsonl\.gz: its gzip is broken at byte"):
        asyncio.run(taker.run())
    assert numbers(taker.taken)[-10:] == list(range(6000, 6010))
    assert not summary(taker.opened, 1, 0, 1.0).complete


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 10)
    taker = Taker(opened(tmp_path, str(path), dry_run=True), Taker.finish_all)
    asyncio.run(taker.run())
    assert len(taker.taken) == 10
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.jsonl", "service"]


def test_a_file_that_is_named_twice_is_done_once(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 10)
    taker = Taker(opened(tmp_path, str(path), f"{tmp_path}/*.jsonl", f"{tmp_path}/./a.jsonl"), Taker.finish_all)
    asyncio.run(taker.run())
    assert len(taker.taken) == 10


def test_a_picture_that_is_named_twice_is_given_once_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"x")
    taker = Taker(opened(tmp_path, f"{tmp_path}/in", f"{tmp_path}/in/*.jpg"), Taker.finish_all)
    asyncio.run(taker.run())
    assert {record.value for record in taker.taken} == {b"x"}
    assert summary(taker.opened, 1, 0, 1.0).complete


def test_a_note_that_is_damaged_is_named_with_the_cure(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 10)
    asyncio.run(Taker(opened(tmp_path, str(path)), Taker.finish_all).run())
    note = next(tmp_path.glob("refill-small-*.json"))
    note.write_text('{"form": 1')
    with pytest.raises(StartError, match=rf"^{note} is not the checkpoint .*--again"):
        opened(tmp_path, str(path))
    anew = opened(tmp_path, str(path), again=True)
    assert anew.dead
    anew.dead.release()


def test_a_limit_ends_it_after_so_many_records_and_the_next_run_goes_on_there(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 4)
    write_lines(tmp_path / "b.jsonl", 4, 5)
    runs = []
    for limit in (3, 3, 2):
        taker = Taker(opened(tmp_path, f"{tmp_path}/*.jsonl", limit=limit), Taker.finish_all)
        asyncio.run(taker.run())
        runs.append((numbers(taker.taken), summary(taker.opened, limit, 0, 1.0).complete))
    assert runs == [([1, 2, 3], False), ([4, 5, 6], False), ([7, 8], True)]


def test_no_more_records_a_second_are_read_than_the_rate(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", 201)
    taker = Taker(opened(tmp_path, f"{tmp_path}/a.jsonl", settings="offline_rate = 200.0"), Taker.finish_all)
    begin = time.monotonic()
    asyncio.run(taker.run())
    assert len(taker.taken) == 201
    assert time.monotonic() - begin > 0.9


def test_a_checkpoint_that_an_older_version_wrote_is_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files were written before backfills had their name, when records 1, 2, 3, 5 and 8 of a.jsonl were done."""
    shutil.copytree(STATE_BEFORE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    taker = Taker(opened(tmp_path, "in/*.jsonl", folder=Path()), Taker.finish_all)
    dead = taker.opened.dead
    assert dead
    assert [json.loads(line)["offset"] for line in dead.path.read_text().splitlines()] == [5]
    asyncio.run(taker.run())
    assert numbers(taker.taken) == [4, 6, 7, 9, 10, 11, 12, 13, 14, 15]
