"""A table or a server that is wrong is told at the start, with the cure."""

import itertools
from collections.abc import Sequence

import pytest
import uvloop

from serving.base.errors import StartError
from serving.offline.records import Unreachable
from serving.offline.sinks import postgresql as table
from serving.offline.sinks.postgresql import PostgresqlTable
from tests.postgresql import PASSWORD, Server
from tests.running import free_port

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
    assert "grant SELECT, INSERT and UPDATE on the table" in text
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
