"""A table of PostgreSQL as a sink: each batch of answers is one statement, which writes every key's newest row.

Concurrency. All of it runs on the loop. One task at a time calls `write`, so one connection does. Each step has an end. The
server ends a statement after statement_second. A server that stands still is left MARGIN later: psycopg then takes 10 s at most
to cancel the statement and to close the connection. The caller gets Unreachable in both cases.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from serving.base.errors import StartError
from serving.offline.records import Answer, Refusal, Unreachable
from serving.offline.sinks import table

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 30.0
MARGIN = 2.0  # seconds in which the server's own end of a statement is awaited
REFUSED = "refused_by_sink"
CURE = "`monopod offline table` prints the statement that makes it"

_COLUMNS = """SELECT attname, format_type(atttypid, NULL), attnotnull AND NOT atthasdef AND attidentity = ''
FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
_LIMIT = "SELECT set_config('statement_timeout', %s, true)"
# A type cannot hold a value (22), or a constraint or a view refuses it (23, 44). An index or jsonb cannot hold so much (54). A
# trigger refuses a row (P0). Two keys of a batch are one to the table's collation (21), and each alone is good. Other errors
# come from a server, a table or rights, which a person can mend.
DATA_CLASSES = ("21", "22", "23", "44", "54", "P0")

# The server's words on refusing a connection, of which libpq keeps the SQLSTATE for itself, and the cure.
_REFUSED = {
    "password authentication failed": "correct the user or the password",
    "no password supplied": "put the user's password into the URL",
    "authentication failed": "correct the user or the way to authenticate",
    "no pg_hba.conf entry": "let this user and host in by pg_hba.conf",
    "is not permitted to log in": "grant the role LOGIN",
    "permission denied for database": "grant CONNECT on the database",
    "certificate verify failed": "name the server's CA by sslrootcert",
    "root certificate file": "name the server's CA by sslrootcert",
    "server does not support SSL": "change sslmode",
    "role ": "create the role, or correct the user",
    "database ": "create the database, or correct its name",
}
_ABSENT = "does not exist"

# The meaning of an error at the start, where the statement that writes rows is tried with no row.
CURES = {
    "42P01": "the table does not exist",
    "3F000": "the schema does not exist",
    "42501": "a right is missing: grant SELECT, INSERT and UPDATE on the table, and USAGE on its schema",
    "42P10": "no unique index has exactly the key's columns",
    "25006": "the server is read-only, so it is a replica: name the primary, or add target_session_attrs=read-write",
}


class PostgresqlTable:
    """A sink that writes rows.

    name: as in value.py, with the track's suffix. relation: the table's name, with a schema or without.
    key: the fields of an answer that are the table's key, or none. url: of libpq.
    statement_second, connect_second: the longest of each.
    """

    def __init__(
        self,
        name: str,
        url: str,
        relation: str,
        key: Sequence[str] = (),
        statement_second: float = STATEMENT_SECONDS,
        connect_second: int = CONNECT_SECONDS,
    ):
        self.name = name
        self._url, self._relation, self._key = url, relation, tuple(key)
        self._statement, self._connect_second = statement_second, connect_second
        self._upsert = sql.SQL(table.upsert(relation, key))  # its names are quoted
        self._connection: psycopg.AsyncConnection | None = None

    async def open(self) -> None:
        """Connect, and look whether the table takes rows. Raises StartError, Unreachable."""
        try:
            found = await self._columns()
            mistakes = table.mistakes(found, self._key)
            if not found:
                raise StartError(f"{self._place()}: the table does not exist, or its schema is not to be used; {CURE}")
            if mistakes:
                raise StartError(f"{self._place()}: {'; '.join(mistakes)}; {CURE}")
            await self._execute([])
        except psycopg.Error as error:
            await self.close()
            raise self._start_error(error) from None
        except BaseException:
            await self.close()
            raise

    async def write(self, answers: Sequence[Answer]) -> Sequence[Refusal | None]:
        """Write answers as rows, and return for each None once it is committed, or why the table refuses it for good.

        An answer is also acknowledged where the table holds a newer row of its key. Raises Unreachable.
        """
        outcomes: dict[int, Refusal] = {}
        rows: list[tuple[int, table.TableRow]] = []
        for index, answer in enumerate(answers):
            row = table.row_of(answer, self._key)
            if isinstance(row, Refusal):
                outcomes[index] = row
            else:
                rows.append((index, row))
        await self._put(rows, outcomes)
        return [outcomes.get(index) for index in range(len(answers))]

    async def close(self) -> None:
        """Disconnect. Each row that `write` acknowledged is committed already."""
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def _put(self, rows: Sequence[tuple[int, table.TableRow]], outcomes: dict[int, Refusal]) -> None:
        """Write numbered rows. Where the server refuses some of them, each half is written apart until those are found."""
        if not rows:
            return
        try:
            await self._execute(table.newest([row for _, row in rows]))
        except psycopg.Error as error:
            if not (is_of_data(error.sqlstate) if error.sqlstate else isinstance(error, psycopg.DataError)):
                await self.close()
                raise Unreachable(f"{self._place()}: {error_words(error)}") from None
            refusal = Refusal(REFUSED, f"{self._place()}: {error_words(error)}")
        except BaseException:
            await self.close()  # a connection in the middle of a statement serves no other
            raise
        else:
            return
        if len(rows) == 1:
            outcomes[rows[0][0]] = refusal
            return
        half = len(rows) // 2
        await self._put(rows[:half], outcomes)
        await self._put(rows[half:], outcomes)

    async def _execute(self, rows: Sequence[table.TableRow]) -> None:
        """Write rows in one transaction. Raises psycopg.Error, Unreachable."""
        connection = await self._connected()
        async with self._bounded(), connection.transaction():
            await connection.execute(_LIMIT, [str(max(1, round(self._statement * 1000)))])
            await connection.execute(self._upsert, table.arrays(rows, self._key))

    async def _columns(self) -> Mapping[str, tuple[str, bool]]:
        """Return each column's type, and whether a row must give it a value. Empty where the table is not there."""
        connection = await self._connected()
        async with self._bounded():
            cursor = await connection.execute(_COLUMNS, [table.quoted(self._relation)])
            return {name: (kind, must) for name, kind, must in await cursor.fetchall()}

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Raise Unreachable where a block takes longer than a statement may."""
        try:
            async with asyncio.timeout(self._statement + MARGIN):
                yield
        except TimeoutError:
            await self.close()
            raise Unreachable(f"{self._place()}: no answer within {self._statement + MARGIN:g} s") from None

    async def _connected(self) -> psycopg.AsyncConnection:
        """Return the connection, which is made where there is none. Raises psycopg.Error, StartError."""
        if self._connection is None or self._connection.closed:
            usual = {"application_name": "monopod-offline", "connect_timeout": self._connect_second}
            whole = make_conninfo(**{**usual, **self._parts(), "client_encoding": "utf8"})
            # A prepared statement would not outlive a transaction behind PgBouncer.
            self._connection = await psycopg.AsyncConnection.connect(whole, autocommit=True, prepare_threshold=None)
        return self._connection

    def _parts(self) -> dict[str, Any]:
        """Return the URL's parts. Raises StartError, which does not repeat the URL, since it holds a password."""
        try:
            return conninfo_to_dict(self._url)
        except psycopg.Error:
            pass
        raise StartError(f"{self.name}: POSTGRESQL_URL is no URL as postgresql://user:password@host:5432/database; correct it")

    def _place(self) -> str:
        parts = self._parts()
        where = f"{parts.get('host', 'this machine')}:{parts.get('port', 5432)}/{parts.get('dbname', parts.get('user', ''))}"
        return f"{self.name} ({table.quoted(self._relation)} in {where})"

    def _start_error(self, error: psycopg.Error) -> Exception:
        """Return what an error of the start means: a mistake of the settings, or a server that is away."""
        words = error_words(error)
        if error.sqlstate is None:
            cure = cure_of_refusal(words)
            return StartError(f"{self._place()}: {words}; {cure}") if cure else Unreachable(f"{self._place()}: {words}")
        cure = CURES.get(error.sqlstate, "")
        if cure or error.sqlstate.startswith("42"):
            return StartError(f"{self._place()}: {words}; {cure or 'the table has other columns'}; {CURE}")
        return Unreachable(f"{self._place()}: {words}")


def error_words(error: psycopg.Error) -> str:
    """Return an error's first line and SQLSTATE. The server's details are left out, since they repeat rows."""
    text = error.diag.message_primary or " ".join(str(error).split())
    return f"{text} (SQLSTATE {error.sqlstate})" if error.sqlstate else text


def is_of_data(state: str) -> bool:
    """Return whether an error comes from the rows."""
    return state[:2] in DATA_CLASSES


def cure_of_refusal(text: str) -> str:
    """Return what to do after the server refused a connection for good. Empty where waiting may help."""
    for words, cure in _REFUSED.items():
        if words in text and (_ABSENT in text or not words.endswith(" ")):
            return cure
    return ""
