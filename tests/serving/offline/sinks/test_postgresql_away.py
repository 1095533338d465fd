"""A table or a server that is wrong is told at the start. One that goes away later takes the same answers when it is back."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence

import psycopg
import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.records import Unreachable
from serving.offline.sinks import postgresql as table
from serving.offline.sinks.postgresql import PostgresqlTable
from tests.postgresql import PASSWORD, Server, server
from tests.running import free_port
from tests.serving.offline.answers import answer
from tests.waiting import on_loop

BATCH = [answer(offset) for offset in range(100)]
BLOCK = 8192  # bytes of a table's file that are written at once
_numbers = itertools.count()


def make_table(server: Server, change: str = "", key: Sequence[str] = ()) -> str:
    """Make a table, and change it by a statement in which {} stands for its name."""
    name = f"start_{next(_numbers)}"
    server.execute(table.definition(name, key))
    if change:
        server.execute(change.replace("{}", name))
    return name


def mistake(url: str, name: str = "ages", key: Sequence[str] = ()) -> str:
    """Return what an opened sink says is wrong."""

    async def opened() -> str:
        with pytest.raises(StartError) as error:
            await PostgresqlTable(f"postgresql:{name}", url, name, key, connect_second=5).open()
        return str(error.value)

    text = uvloop.run(opened())
    assert text.startswith(f"postgresql:{name}")
    assert PASSWORD not in text
    return text


def test_a_table_that_is_not_there_is_named_with_the_command_that_prints_its_statement(postgresql: Server) -> None:
    text = mistake(postgresql.url(), "nowhere.ages")
    assert f'"nowhere"."ages" in 127.0.0.1:{postgresql.port}/test' in text
    assert "does not exist" in text
    assert "`monopod offline table`" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE {} DROP version", 'column "version" text is missing'),
        ("ALTER TABLE {} ALTER results TYPE text", 'column "results" is text, not jsonb'),
        ('ALTER TABLE {} ALTER "offset" TYPE integer', 'column "offset" is integer, not bigint'),
        ("ALTER TABLE {} ALTER time TYPE timestamp", "is timestamp without time zone, not timestamp with time zone"),
        ("ALTER TABLE {} ADD note text NOT NULL", 'column "note" is NOT NULL and has no default'),
        ("ALTER TABLE {} DROP CONSTRAINT {}_pkey", "no unique index has exactly the key's columns"),
        (
            "ALTER TABLE {} DROP CONSTRAINT {}_pkey; CREATE UNIQUE INDEX ON {} (topic, partition)",
            "no unique index has exactly the key's columns",
        ),
        (
            "ALTER TABLE {} DROP CONSTRAINT {}_pkey; "
            'CREATE UNIQUE INDEX ON {} (topic, partition, "offset") WHERE partition > 0',
            "no unique index has exactly the key's columns",
        ),
    ],
)
def test_another_table_is_a_mistake_that_names_the_column_or_the_index(postgresql: Server, change: str, words: str) -> None:
    text = mistake(postgresql.url(), make_table(postgresql, change))
    assert words in text
    assert "`monopod offline table`" in text


def test_a_table_whose_key_is_another_than_offline_keys_is_a_mistake(postgresql: Server) -> None:
    assert "no unique index" in mistake(postgresql.url(), make_table(postgresql, key=["postid"]), ["uid"])


@pytest.mark.parametrize("right", ["INSERT", "UPDATE", "SELECT"])
def test_each_right_that_is_missing_is_a_mistake(postgresql: Server, right: str) -> None:
    name = make_table(postgresql)
    user = f"reader_{name}"
    postgresql.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{PASSWORD}'")
    postgresql.execute(f"GRANT {', '.join({'INSERT', 'UPDATE', 'SELECT'} - {right})} ON {name} TO {user}")
    text = mistake(postgresql.url(user=user), name)
    assert "grant SELECT, INSERT and UPDATE" in text
    postgresql.execute(f"GRANT {right} ON {name} TO {user}")
    assert uvloop.run(opens(postgresql.url(user=user), name))


async def opens(url: str, name: str) -> bool:
    sink = PostgresqlTable(f"postgresql:{name}", url, name)
    await sink.open()
    await sink.close()
    return True


def test_a_schema_that_the_user_may_not_use_is_a_mistake(postgresql: Server) -> None:
    postgresql.execute(f"CREATE SCHEMA hidden; CREATE ROLE outsider LOGIN PASSWORD '{PASSWORD}'")
    postgresql.execute(table.definition("hidden.ages", ()))
    assert "`monopod offline table`" in mistake(postgresql.url(user="outsider"), "hidden.ages")


def test_a_wrong_password_user_or_database_is_a_mistake_with_its_cure(postgresql: Server) -> None:
    assert "correct the user or the password" in mistake(postgresql.url(password="wrong"))
    assert "correct the user or the password" in mistake(postgresql.url(user="nobody_known"))
    assert "create the database" in mistake(postgresql.url("nowhere"))
    assert "put the user's password into the URL" in mistake(f"postgresql://owner@127.0.0.1:{postgresql.port}/test")
    assert "change sslmode" in mistake(postgresql.url() + "?sslmode=require")


@pytest.mark.parametrize("start", ["postgres", "postgresq://", "http://"])
def test_a_url_that_is_none_is_a_mistake_that_does_not_repeat_it(start: str) -> None:
    text = mistake(f"{start}owner:{PASSWORD}@127.0.0.1/test")
    assert "POSTGRESQL_URL" in text
    assert "postgresql://user:password@host:5432/database" in text


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid"])
def test_a_server_that_is_away_is_unreachable(host: str) -> None:
    async def opened() -> str:
        with pytest.raises(Unreachable) as error:
            await PostgresqlTable("postgresql:ages", f"postgresql://a:{PASSWORD}@{host}:{free_port()}/test", "ages").open()
        return str(error.value)

    text = uvloop.run(opened())
    assert host in text
    assert PASSWORD not in text


def test_a_server_that_only_reads_is_a_mistake(postgresql: Server) -> None:
    name = make_table(postgresql)
    text = mistake(postgresql.url() + "?options=-cdefault_transaction_read_only%3Don", name)
    assert "read-only" in text
    assert "target_session_attrs" in text


@pytest.fixture
def name(postgresql: Server) -> str:
    """An empty table."""
    made = f"away_{next(_numbers)}"
    postgresql.execute(table.definition(made, ()))
    return made


def trouble(postgresql: Server, name: str, begin: Callable[[], object], end: Callable[[], object], seconds: float = 20) -> str:
    """Write while something is wrong, and again after it. Return what was said, once every answer is a row.

    begin, end: what goes wrong and how it is mended. seconds: the longest that the failing write may take.
    """

    async def tried() -> str:
        sink = PostgresqlTable(f"postgresql:{name}", postgresql.url(), name, statement_second=1, connect_second=3)
        await sink.open()
        try:
            assert list(await sink.write(BATCH[:10])) == [None] * 10
            await asyncio.to_thread(begin)
            with pytest.raises(Unreachable) as error:
                await asyncio.wait_for(sink.write(BATCH), seconds)
            await asyncio.to_thread(end)
            assert list(await written(sink)) == [None] * len(BATCH)
        finally:
            await sink.close()
        return str(error.value)

    text = uvloop.run(tried())
    assert postgresql.execute(f'SELECT count(*), count(DISTINCT "offset") FROM {name}') == [(100, 100)]
    assert text.startswith(f'postgresql:{name} ("{name}" in 127.0.0.1:{postgresql.port}/test): ')
    return text


async def written(sink: PostgresqlTable) -> list[object]:
    """Write as the pipeline does: the same again, while the server is away."""
    for _ in range(100):
        try:
            return list(await sink.write(BATCH))
        except Unreachable:
            await asyncio.sleep(0.1)
    raise AssertionError("the server did not come back")


def backend(postgresql: Server) -> str:
    """Return the process of the sink's connection."""
    found = postgresql.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'monopod-offline'")
    assert len(found) == 1
    return str(found[0][0])


def nothing() -> None:
    pass


def test_a_server_that_is_stopped_and_started(postgresql: Server, name: str) -> None:
    assert "57P01" in trouble(postgresql, name, postgresql.stop, postgresql.start)


def test_a_server_that_is_killed_and_recovers(postgresql: Server, name: str) -> None:
    trouble(postgresql, name, postgresql.kill, postgresql.start)


def test_a_connection_that_an_administrator_ends(postgresql: Server, name: str) -> None:
    assert "57P01" in trouble(
        postgresql, name, lambda: postgresql.execute(f"SELECT pg_terminate_backend({backend(postgresql)})"), nothing
    )


def test_a_server_that_stands_still_for_longer_than_a_statement_may_take(postgresql: Server, name: str) -> None:
    assert "no answer within 3 s" in trouble(postgresql, name, postgresql.freeze, postgresql.thaw)


def test_a_server_that_stands_still_when_it_is_connected_to(postgresql: Server, name: str) -> None:
    async def opened() -> str:
        with pytest.raises(Unreachable) as error:
            await asyncio.wait_for(PostgresqlTable("postgresql:ages", postgresql.url(), name, connect_second=2).open(), 20)
        return str(error.value)

    postgresql.freeze()
    try:
        assert "timeout" in uvloop.run(opened())
    finally:
        postgresql.thaw()


@pytest.fixture
def lock(postgresql: Server, name: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection that holds the whole table until it is rolled back."""
    with psycopg.connect(postgresql.url()) as connection:
        yield connection


def test_a_table_that_somebody_has_locked(postgresql: Server, name: str, lock: psycopg.Connection[tuple[object, ...]]) -> None:
    text = trouble(postgresql, name, lambda: lock.execute(f"LOCK TABLE {name}".encode()), lock.rollback)
    assert "57014" in text
    assert postgresql.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'monopod-offline'") == [(0,)]


@on_loop
async def test_a_connection_that_is_killed_in_the_middle_of_a_statement(
    postgresql: Server, name: str, lock: psycopg.Connection[tuple[object, ...]]
) -> None:
    sink = PostgresqlTable(f"postgresql:{name}", postgresql.url(), name)
    await sink.open()
    lock.execute(f"LOCK TABLE {name}".encode())
    writing = asyncio.create_task(sink.write(BATCH))
    while not postgresql.execute("SELECT 1 FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.02)
    postgresql.execute(f"SELECT pg_terminate_backend({backend(postgresql)})")
    with pytest.raises(Unreachable, match="57P01"):
        await writing
    lock.rollback()
    assert await written(sink) == [None] * len(BATCH)
    await sink.close()


@on_loop
async def test_a_write_that_is_cancelled_leaves_a_sink_that_writes_again(
    postgresql: Server, name: str, lock: psycopg.Connection[tuple[object, ...]]
) -> None:
    sink = PostgresqlTable(f"postgresql:{name}", postgresql.url(), name)
    await sink.open()
    lock.execute(f"LOCK TABLE {name}".encode())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(sink.write(BATCH), 0.3)
    lock.rollback()
    assert await written(sink) == [None] * len(BATCH)
    await sink.close()


def test_a_table_that_is_dropped_and_made_again(postgresql: Server, name: str) -> None:
    assert "42P01" in trouble(
        postgresql,
        name,
        lambda: postgresql.execute(f"DROP TABLE {name}"),
        lambda: postgresql.execute(table.definition(name, ())),
    )


@on_loop
async def test_a_server_that_only_reads_for_a_while(postgresql: Server, name: str) -> None:
    def only_reads(value: str) -> None:
        postgresql.execute(f"ALTER DATABASE test SET default_transaction_read_only = {value}")
        postgresql.execute(f"SELECT pg_terminate_backend({pid})" if (pid := backend(postgresql)) else "")

    sink = PostgresqlTable(f"postgresql:{name}", postgresql.url(), name)
    await sink.open()
    only_reads("on")
    for words in ("57P01", "25006"):
        with pytest.raises(Unreachable, match=words):
            await sink.write(BATCH)
    psycopg.connect(postgresql.url("postgres"), autocommit=True).execute("ALTER DATABASE test RESET ALL").connection.close()
    assert await written(sink) == [None] * len(BATCH)
    await sink.close()


def test_a_server_without_a_free_connection() -> None:
    async def tried(few: Server) -> None:
        sink = PostgresqlTable("postgresql:ages", few.url(user="writer"), "ages")
        held = [psycopg.connect(few.url(user="writer")) for _ in range(2)]
        with pytest.raises(Unreachable, match="connection slots|too many"):
            await sink.open()
        held.pop().close()
        while few.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'writer'") != [(1,)]:
            await asyncio.sleep(0.02)
        await sink.open()
        assert list(await sink.write(BATCH)) == [None] * len(BATCH)
        await sink.close()
        held.pop().close()

    with server(max_connections="5", superuser_reserved_connections="3") as few:
        few.execute("CREATE ROLE writer LOGIN PASSWORD 'test-secret'")
        few.execute(table.definition("ages", ()))
        few.execute("GRANT ALL ON ages TO writer")
        uvloop.run(tried(few))


def test_a_disk_that_is_full_for_a_while() -> None:
    full = 4 * 2**20 + BLOCK // 2  # above the files of the server's log

    async def tried(small: Server) -> None:
        sink = PostgresqlTable("postgresql:ages", small.url(), "ages")
        await sink.open()
        large = [answer(offset, postid="x" * 7000) for offset in range(600)]
        await sink.write(large[:300])
        with pytest.raises(Unreachable, match="53100"):
            await sink.write(large[300:])
        small.execute("TRUNCATE ages")
        assert await written(sink) == [None] * len(BATCH)
        await sink.close()

    with server(largest_file=full) as small:
        small.execute(table.definition("ages", ()))
        small.execute("ALTER TABLE ages ALTER postid SET STORAGE PLAIN")
        uvloop.run(tried(small))
