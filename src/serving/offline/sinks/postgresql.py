"""A table of PostgreSQL as a sink: each batch of answers is one statement, which writes every key's newest row.

Concurrency. All of it runs on the loop. One task at a time calls `write`, so one connection does. Each step has an end. The
server ends a statement after statement_second. A server that stands still is left MARGIN later: psycopg then takes 10 s at most
to cancel the statement and to close the connection. The caller gets Unreachable in both cases.

Nothing but names from value.py stands in a statement, and each is quoted.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from serving.base import json_codec
from serving.base.errors import BadInput, StartError
from serving.offline.records import Answer, Refusal, Unreachable

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

# The server's words on refusing a connection, and the cure. libpq does not pass their SQLSTATE on.
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
# U+0000 as JSON writes it. An even number of backslashes before it are backslashes themselves.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
BAD_ANSWER = "bad_answer"


def is_of_data(state: str) -> bool:
    return state[:2] in DATA_CLASSES


def cure_of_refusal(text: str) -> str:
    """Return what to do after the server refused a connection for good. Empty where waiting may help."""
    for words, cure in _REFUSED.items():
        if words in text and (_ABSENT in text or not words.endswith(" ")):
            return cure
    return ""


class Column(NamedTuple):
    """A column. type: as PostgreSQL spells it in its catalog. needed: whether it holds no null."""

    name: str
    type: str
    needed: bool


ORIGIN = (Column("topic", "text", True), Column("partition", "integer", True), Column("offset", "bigint", True))
TIME = Column("time", "timestamp with time zone", True)
RESULTS = Column("results", "jsonb", False)
IDS = tuple(Column(name, "text", False) for name in ("postid", "uid", "seqid"))
VERSION = Column("version", "text", True)

# A row is newer by its record's time, then by its offset. The partition decides where both are equal, so that any order of
# writing ends in the same row. The same record is written again for another version of the model alone.
_AGE = ("time", "offset", "partition")


class TableRow(NamedTuple):
    """An answer as a row, with its time in milliseconds since 1970, its whole JSON, and the values of its own key."""

    topic: str
    partition: int
    offset: int
    time: int
    document: str
    postid: str | None
    uid: str | None
    seqid: str | None
    version: str
    key: tuple[str, ...]

    @property
    def age(self) -> tuple[int, int, int]:
        """The order of the rows of one key. The greatest is the newest."""
        return self.time, self.offset, self.partition


def columns(key: Sequence[str]) -> tuple[Column, ...]:
    """Return a table's columns, the key's first. key: the fields of an answer that are the key, or none."""
    own = tuple(Column(name, "text", True) for name in dict.fromkeys(key))
    rest = (*ORIGIN, TIME, RESULTS, *IDS, VERSION)
    return (*own, *(column for column in rest if column.name not in key))


def key_columns(key: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key)) or tuple(column.name for column in ORIGIN)


def quoted(name: str) -> str:
    """Return a name as SQL. A dot parts a schema from its table."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def definition(table: str, key: Sequence[str]) -> str:
    """Return the statement that makes a table. table: its name, with a schema or without."""
    lines = [f"    {quoted(name)} {kind}{' NOT NULL' if needed else ''}" for name, kind, needed in columns(key)]
    lines.append(f"    PRIMARY KEY ({_names(key_columns(key))})")
    return f"CREATE TABLE {quoted(table)} (\n" + ",\n".join(lines) + "\n);\n"


def upsert(table: str, key: Sequence[str]) -> str:
    """Return the statement that writes rows. It takes one array for each of `arrays`, and each key once."""
    own = key_columns(key) if key else ()
    sources = {column.name: f"given.{quoted(column.name)}" for column in columns(key)}
    sources["time"] = "to_timestamp(given.time / 1000.0)"
    sources["results"] = "given.document::jsonb -> 'results'"
    taken = [*TableRow._fields[:-1], *(f"key {name}" for name in own)]
    kinds = {"partition": "integer", "offset": "bigint", "time": "bigint"}
    arrays = ", ".join(f"%s::{kinds.get(name, 'text')}[]" for name in taken)
    for name in own:
        sources[name] = f"given.{quoted(f'key {name}')}"
    changed = [name for name in sources if name not in key_columns(key)]
    return (
        f"INSERT INTO {quoted(table)} AS stored ({_names(sources)})\n"
        f"SELECT {', '.join(sources.values())}\n"
        f"FROM unnest({arrays}) AS given ({_names(taken)})\n"
        f"ON CONFLICT ({_names(key_columns(key))}) DO UPDATE SET "
        + ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changed)
        + f"\nWHERE ({_of('stored', _AGE)}) < ({_of('excluded', _AGE)})\n"
        f"OR ({_of('stored', _AGE)}) = ({_of('excluded', _AGE)}) AND stored.version <> excluded.version"
    )


def arrays(rows: Sequence[TableRow], key: Sequence[str]) -> list[list[object]]:
    """Return what `upsert` takes: a list for each field of rows, then one for each column of the own key."""
    fields: list[list[object]] = [[row[index] for row in rows] for index in range(len(TableRow._fields) - 1)]
    return fields + [[row.key[index] for row in rows] for index in range(len(dict.fromkeys(key)))]


def newest(rows: Sequence[TableRow]) -> list[TableRow]:
    """Return the newest row of each key, since one statement may not change a row twice. Of equal age, the last one counts."""
    found: dict[tuple[object, ...], TableRow] = {}
    for row in rows:
        identity = row.key or row[: len(ORIGIN)]
        if identity not in found or found[identity].age <= row.age:
            found[identity] = row
    return list(found.values())


def table_mistakes(found: Mapping[str, tuple[str, bool]], key: Sequence[str]) -> list[str]:
    """Return what keeps a table from taking rows, in words.

    found: for each column of the table its type, and whether a row must give it a value.
    """
    wanted = {column.name: column.type for column in columns(key)}
    missing = [f"column {quoted(name)} {kind} is missing" for name, kind in wanted.items() if name not in found]
    other = [
        f"column {quoted(name)} is {found[name][0]}, not {kind}"
        for name, kind in wanted.items()
        if name in found and found[name][0] != kind
    ]
    asked = [name for name, (_, must) in found.items() if must and name not in wanted]
    return missing + other + [f"column {quoted(name)} is NOT NULL and has no default, and no answer fills it" for name in asked]


def _names(names: Sequence[str] | dict[str, str]) -> str:
    return ", ".join(map(quoted, names))


def _of(relation: str, names: Sequence[str]) -> str:
    return ", ".join(f"{relation}.{quoted(name)}" for name in names)


def row_of(answer: Answer, key: Sequence[str]) -> TableRow | Refusal:
    """Return an answer as a row, or why it cannot be one. key: the fields of the answer that are the table's key, or none."""
    try:
        document = json_codec.loads(answer.body, "the answer")
    except BadInput as error:
        return Refusal(BAD_ANSWER, str(error))
    if not isinstance(document, dict):
        return Refusal(BAD_ANSWER, f"the answer is {type(document).__name__} in JSON; a table takes an object")
    if NUL.search(answer.body):
        return Refusal(BAD_ANSWER, "the answer holds U+0000, which PostgreSQL cannot store; leave it out in postprocess")
    values = {name: field(document, name) for name in dict.fromkeys(key)}
    for name, value in values.items():
        if value is None:
            found = "the answer has no such field that is a string or a whole number"
            return Refusal(BAD_ANSWER, f"offline_key names {name!r}, but {found}")
    postid, uid, seqid = (_text(document.get(column.name)) for column in IDS)
    own = tuple(map(str, values.values()))
    return TableRow(*answer.record.origin, answer.record.time, answer.body.decode(), postid, uid, seqid, answer.version, own)


def field(document: dict[str, object], name: str) -> str | None:
    """Return a field of an answer, or else of its results, as text. None where it is neither a string nor a whole number."""
    results = document.get("results")
    value = document.get(name)
    return _text(results.get(name) if value is None and isinstance(results, dict) else value)


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


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
        self._upsert = sql.SQL(upsert(relation, key))  # its names are quoted
        self._connection: psycopg.AsyncConnection | None = None

    async def open(self) -> None:
        try:
            found = await self._columns()
            mistakes = table_mistakes(found, self._key)
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
        rows: list[tuple[int, TableRow]] = []
        for index, answer in enumerate(answers):
            row = row_of(answer, self._key)
            if isinstance(row, Refusal):
                outcomes[index] = row
            else:
                rows.append((index, row))
        await self._put(rows, outcomes)
        return [outcomes.get(index) for index in range(len(answers))]

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            with contextlib.suppress(psycopg.Error):
                await connection.close()

    async def _put(self, rows: Sequence[tuple[int, TableRow]], outcomes: dict[int, Refusal]) -> None:
        """Write numbered rows. Where the server refuses some of them, each half is written apart until those are found."""
        if not rows:
            return
        try:
            await self._execute(newest([row for _, row in rows]))
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

    async def _execute(self, rows: Sequence[TableRow]) -> None:
        connection = await self._connected()
        async with self._bounded(), connection.transaction():
            await connection.execute(_LIMIT, [str(max(1, round(self._statement * 1000)))])
            await connection.execute(self._upsert, arrays(rows, self._key))

    async def _columns(self) -> Mapping[str, tuple[str, bool]]:
        """Return each column's type, and whether a row must give it a value. Empty where the table is not there."""
        connection = await self._connected()
        async with self._bounded():
            cursor = await connection.execute(_COLUMNS, [quoted(self._relation)])
            return {name: (kind, must) for name, kind, must in await cursor.fetchall()}

    @contextlib.asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._statement + MARGIN):
                yield
        except TimeoutError:
            await self.close()
            raise Unreachable(f"{self._place()}: no answer within {self._statement + MARGIN:g} s") from None

    async def _connected(self) -> psycopg.AsyncConnection:
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
        words = "is not a URL such as postgresql://user:password@host:5432/database; correct it"
        raise StartError(f"{self.name}: POSTGRESQL_URL {words}")

    def _place(self) -> str:
        parts = self._parts()
        where = f"{parts.get('host', 'this machine')}:{parts.get('port', 5432)}/{parts.get('dbname', parts.get('user', ''))}"
        return f"{self.name} ({quoted(self._relation)} in {where})"

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
