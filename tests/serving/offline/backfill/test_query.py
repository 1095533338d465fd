import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from serving.base.errors import StartError
from serving.offline.backfill.query import PostgresqlQuery
from serving.offline.records import Record, SourceFailed
from tests.postgresql import Server
from tests.serving.offline.backfill.taker import Taker, opened
from tests.waiting import on_loop, until


@pytest.fixture
def posts(postgresql: Server) -> Iterator[str]:
    """A table of 5000 posts: id, name, and a picture's bytes."""
    postgresql.execute(
        "CREATE TABLE posts AS SELECT id, 'name ' || id AS name, decode(repeat(to_hex(id % 16) || 'f', 20), 'hex') AS picture "
        "FROM generate_series(1, 5000) AS id; ALTER TABLE posts ADD PRIMARY KEY (id)"
    )
    yield "SELECT id, name AS postid FROM posts"
    postgresql.execute("DROP TABLE posts")


def records(
    server: Server, text: str, key: str = "", after: list[int | str] | None = None, largest: int = 1000
) -> list[Record]:
    return [item.record for item in PostgresqlQuery(server.url(), text, key, largest).read(after)]


def test_each_row_is_a_json_object_in_the_order_of_the_key(postgresql: Server, posts: str) -> None:
    found = records(postgresql, posts)
    assert [record.origin.offset for record in found] == list(range(1, 5001))
    assert len({record.origin.topic for record in found}) == 1
    assert found[6].key == b"7"
    assert json.loads(found[6].value or b"") == {"id": 7, "postid": "name 7"}
    assert found[6].headers == (("content-type", b"application/json"),)


def test_a_key_and_one_column_of_bytea_are_raw_bytes(postgresql: Server, posts: str) -> None:
    found = records(postgresql, "SELECT id, picture FROM posts WHERE id < 3; ")
    assert [record.value for record in found] == [b"\x1f" * 20, b"\x2f" * 20]
    assert found[0].headers == ()


def test_reading_goes_on_behind_a_key_of_any_type(postgresql: Server, posts: str) -> None:
    for text, key in [
        (posts, ""),
        (posts, "postid"),
        ("SELECT md5(id::text)::uuid AS id FROM posts", ""),
        ("SELECT timestamptz '2026-01-01' + id * interval '1.000001 s' AS at, id FROM posts", "at"),
        ('SELECT id::numeric / 7 AS seventh, \'100%\' AS "a ""b{}" FROM posts -- a comment', ""),
    ]:
        query = PostgresqlQuery(postgresql.url(), text, key, 1000)
        whole = list(query.read(None))
        assert len({(item.record.origin, item.name) for item in whole}) == 5000, text
        for at in (0, 63, 64, 4998):
            place = whole[at].place
            rest = [(item.record.origin, item.record.value, item.place) for item in query.read(place)]
            assert rest == [(item.record.origin, item.record.value, item.place) for item in whole[at + 1 :]], text


def test_a_row_that_is_too_large_is_dead_and_is_not_sent_here(postgresql: Server) -> None:
    text = "SELECT id, repeat('x', CASE id WHEN 2 THEN 50000000 ELSE 10 END) AS data FROM generate_series(1, 3) AS id"
    found = records(postgresql, text)
    assert [record.value is None for record in found] == [False, True, False]
    refusal = found[1].refusal
    assert refusal
    assert refusal.reason == "too_large"
    assert refusal.text.startswith("the row has 50000018 bytes, ")


@pytest.mark.parametrize("doubled", [2, 64, 65, 129, 4000])
def test_a_key_that_is_not_unique_is_refused_wherever_it_stands(postgresql: Server, posts: str, doubled: int) -> None:
    text = f"SELECT CASE id WHEN {doubled} THEN id - 1 ELSE id END AS key, name FROM posts"
    with pytest.raises(SourceFailed, match=f"several rows whose key is {doubled - 1}; its key must be unique: name another"):
        records(postgresql, text)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("SELECT id FROM posts", "uid", "has no column uid; its columns are id"),
        ("SELECT id, name, picture FROM posts", "", r"column picture is bytea, .* encode\(picture, 'base64'\) AS picture"),
        ("SELECT id, id FROM posts", "", "has several columns id; give each column a name of its own by AS"),
        ("SELECT nothing FROM posts", "", r'column "nothing" does not exist \(SQLSTATE 42703\)'),
        ("SELECT json_build_object('id', id) AS id FROM posts", "", "could not identify an ordering operator for type json"),
        ("WITH gone AS (DELETE FROM posts RETURNING id) SELECT id FROM gone", "", "SQLSTATE"),
        ("SELECT setval('missing', 1)", "", "SQLSTATE"),
    ],
)
def test_a_query_that_cannot_be_refilled_from_is_refused_at_the_start(
    postgresql: Server, posts: str, text: str, key: str, words: str
) -> None:
    with pytest.raises(StartError, match=words):
        PostgresqlQuery(postgresql.url(), text, key, 1000)


def test_a_key_that_is_null_is_refused(postgresql: Server, posts: str) -> None:
    with pytest.raises(SourceFailed, match="a row whose id is NULL; .*add WHERE id"):
        records(postgresql, "SELECT nullif(id, 9) AS id FROM posts")


def test_a_query_writes_nothing(postgresql: Server, posts: str) -> None:
    postgresql.execute("CREATE FUNCTION empty_posts() RETURNS int LANGUAGE sql AS 'DELETE FROM posts RETURNING 1'")
    with pytest.raises(SourceFailed, match="read-only transaction"):
        records(postgresql, "SELECT empty_posts() AS id")
    assert postgresql.execute("SELECT count(*) FROM posts") == [(5000,)]
    postgresql.execute("DROP FUNCTION empty_posts()")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "POSTGRESQL_URL or --postgresql must name a database"),
        ("host=h password=secret nonsense", "POSTGRESQL_URL or --postgresql must name a database"),
        ("postgresql://u:secret@127.0.0.1:1/test", "127.0.0.1.*port 1 .*Connection refused"),
    ],
)
def test_a_url_that_leads_nowhere_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(StartError, match=words) as error:
        PostgresqlQuery(url, "SELECT 1 AS id", "", 1000)
    assert "secret" not in str(error.value)


def test_a_server_that_restarts_is_waited_for_and_no_row_is_lost(postgresql: Server, posts: str, tmp_path: Path) -> None:
    query = posts
    text = "offline_window = 100\noffline_retry_second = 0.1"

    async def work() -> list[int]:
        stopped = threading.Event()

        def take(taker: Taker, found: Sequence[Record]) -> None:
            if len(taker.taken) > 500 and not stopped.is_set():
                stopped.set()
                postgresql.stop()
                asyncio.get_running_loop().call_later(1, postgresql.start)
            taker.finish_all(found)

        taker = Taker(opened(tmp_path, query, settings=text, postgresql=postgresql.url()), take)
        await taker.run()
        assert stopped.is_set()
        return [record.origin.offset for record in taker.taken]

    assert asyncio.run(work()) == list(range(1, 5001))


@on_loop
async def test_a_query_that_waits_long_is_ended_by_a_stop(postgresql: Server, posts: str, tmp_path: Path) -> None:
    taker = Taker(opened(tmp_path, posts, postgresql=postgresql.url()), Taker.finish_all)
    with psycopg.connect(postgresql.url()) as other:
        other.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        running = asyncio.create_task(taker.run())
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        await asyncio.to_thread(until, lambda: bool(postgresql.execute(waits)))
        await taker.source.stop(60)
        assert postgresql.execute(waits) == []
        await running
    assert taker.taken == []
