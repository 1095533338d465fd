"""Rows of a SQL query on PostgreSQL, in the order of a unique key, page by page.

A transaction lasts one page, so that a backfill of hours keeps no old rows alive. A row is its JSON object, or its bytes where
the query has a key and one column of bytea.

Concurrency. One thread reads. Another one may call `interrupt`, which psycopg allows beside a query.
"""

import contextlib
import hashlib
import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.connection import Connection
from psycopg.errors import Error, ProgrammingError
from psycopg.sql import SQL, Composed, Identifier, Literal

from serving.base.errors import StartError
from serving.offline.backfill.input_progress import Item, Place
from serving.offline.records import Origin, Record, Refusal, SourceFailed, Unreachable
from serving.offline.sinks.postgresql import error_words

WHOLE, BYTES = (20, 21, 23), 17  # PostgreSQL's numbers of its types int8, int2, int4, and bytea
MAX_ROWS, FIRST_ROWS, PAGE_BYTES = 2000, 64, 16 * 2**20  # of a page
CONNECT_SECONDS = 10
AWAY = ("08", "53", "57")  # classes of SQLSTATE that say nothing of the query
URL = "POSTGRESQL_URL or --postgresql must name a database, as postgresql://user:password@host:5432/database"
JSON_HEADERS = (("content-type", b"application/json"),)


class PostgresqlQuery:
    """An Input. The name of a row is its key as text, and its place is that and the number of rows up to it."""

    def __init__(self, url: str, text: str, key: str, largest: int):
        """url: of libpq. key: a column of the query, or "" for its first one. largest: bytes of a row. Raises StartError."""
        if not url:
            raise StartError(f"the query: {URL}")
        self._url, self._largest = url, largest
        self._connection: Connection[tuple[Any, ...]] | None = None
        self._text = SQL(text.strip().rstrip(";"))  # the user's own query
        self._where = ""
        self.name = "query-" + hashlib.sha256(text.encode()).hexdigest()[:10]
        self.passed_over = 0
        try:
            info = self._connected().info
            self._where = f"{info.host}:{info.port}/{info.dbname}"
            self._describe(key)
        except Error as error:
            where = f" on {self._where}" if self._where else ""
            words = URL if isinstance(error, ProgrammingError) and not where else error_words(error)
            raise StartError(f"the query{where}: {words}") from None
        finally:
            self._close()

    def identity(self) -> Mapping[str, object]:
        return {"key": self._key, "database": self._where}

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(Error):
                connection.cancel_safe(timeout=2)

    def read(self, after: Place | None) -> Iterator[Item]:
        try:
            yield from self._rows(after)
        finally:
            self._close()

    def _rows(self, after: Place | None) -> Iterator[Item]:
        last, count = (str(after[0]), int(after[1])) if isinstance(after, list) else (None, 0)
        rows = max(1, min(FIRST_ROWS, PAGE_BYTES // self._largest))
        while True:
            try:
                if last is None:
                    self._check_null()
                page = self._page(last, rows + 1)
            except Error as error:
                raise self._failure(error, last) from None
            now = time.time_ns() // 1_000_000
            self._check_unique(page)
            for key, length, value in page[:rows]:
                count += 1
                yield Item(self._record(key, length, value, now), key, [key, count], float(count))
                last = key
            if len(page) <= rows:
                return
            largest = max(length for _, length, _ in page)
            rows = max(1, min(MAX_ROWS, PAGE_BYTES // max(1, largest)))

    def _describe(self, key: str) -> None:
        """Ask what columns the query has and how many rows it may have, without running it. Raises Error, StartError."""
        columns = self._columns()
        self._key = key or next(iter(columns))
        if self._key not in columns:
            raise StartError(f"the query has no column {self._key}; its columns are {', '.join(columns)}")
        others = [name for name in columns if name != self._key]
        self._bytes = others[0] if len(others) == 1 and columns[others[0]] == BYTES else ""
        for name in others if not self._bytes else ():
            if columns[name] == BYTES:
                raise StartError(
                    f"the query's column {name} is bytea, which JSON cannot hold; "
                    f"select it alone beside the key, or encode({name}, 'base64') AS {name}"
                )
        self._whole = columns[self._key] in WHOLE
        self._type = str(self._execute(SQL("SELECT format_type({}, -1)").format(Literal(columns[self._key])))[0][0])
        self.size = float(self._execute(self._from("EXPLAIN (FORMAT JSON) SELECT *"))[0][0][0]["Plan"]["Plan Rows"])
        self._execute(SQL("EXPLAIN ") + self._statement(None, 1))  # refuses a key that has no order

    def _columns(self) -> dict[str, int]:
        connection = self._connected()
        with connection.transaction():
            described = connection.execute(self._from("SELECT *", "LIMIT 0")).description
        found = [(column.name, column.type_code) for column in described or ()]
        names = [name for name, _ in found]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if not found or doubled:
            words = f"has several columns {', '.join(doubled)}" if doubled else "has no columns"
            raise StartError(f"the query {words}; give each column a name of its own by AS")
        return dict(found)

    def _from(self, head: str, tail: str = "") -> SQL | Composed:
        """Return a statement over the query. The line's end closes a comment at the query's end."""
        key = SQL("query.") + Identifier(getattr(self, "_key", ""))
        body = SQL(" FROM (\n{text}\n) AS query ").format(text=self._text)
        return SQL(head) + body + SQL(tail).format(key=key)  # words of this module

    def _page(self, last: str | None, rows: int) -> list[tuple[str, int, Any]]:
        """Return the rows behind a key: key, bytes of the value, and the value or None where it is too large.

        Raises Error.
        """
        return [(str(key), int(length), value) for key, length, value in self._execute(self._statement(last, rows))]

    def _statement(self, last: str | None, rows: int) -> Composed:
        key = SQL("query.") + Identifier(self._key)
        behind = SQL("WHERE {} > CAST({} AS {})").format(key, Literal(last), SQL(self._type)) if last is not None else SQL("")
        value = SQL("query.") + Identifier(self._bytes) if self._bytes else SQL("row_to_json(query)::text")
        return SQL(
            "SELECT page.k, coalesce(octet_length(page.v), 0), CASE WHEN octet_length(page.v) <= {largest} THEN page.v END "
            "FROM (SELECT {key}::text AS k, {key} AS o, {value} AS v FROM (\n{text}\n) AS query {behind} "
            "ORDER BY {key} LIMIT {rows}) AS page ORDER BY page.o"
        ).format(largest=Literal(self._largest), key=key, value=value, text=self._text, behind=behind, rows=Literal(rows))

    def _check_null(self) -> None:
        """Raise SourceFailed where a key is NULL, since no row is behind it in any order. Raises Error."""
        if self._execute(self._from("SELECT 1", "WHERE {key} IS NULL LIMIT 1")):
            raise SourceFailed(
                f"the query has a row whose {self._key} is NULL; its key must be unique and never NULL: "
                f"add WHERE {self._key} IS NOT NULL, or name another column by --key"
            )

    def _check_unique(self, page: list[tuple[str, int, Any]]) -> None:
        """Raise SourceFailed where two rows have one key. Pages overlap by a row, so that none hides between two of them."""
        for (key, _, _), (following, _, _) in itertools.pairwise(page):
            if key == following:
                raise SourceFailed(
                    f"the query has several rows whose {self._key} is {key}; its key must be unique: "
                    f"name another column by --key, or add DISTINCT ON ({self._key})"
                )

    def _record(self, key: str, length: int, value: Any, now: int) -> Record:
        origin = Origin(self.name, 0, int(key)) if self._whole else Origin(f"{self.name}/{key}", 0, 0)
        headers = () if self._bytes else JSON_HEADERS
        if length > self._largest:
            words = f"the row has {length} bytes, and offline_max_record allows {self._largest}"
            return Record(origin, now, key.encode(), None, headers, Refusal("too_large", words))
        return Record(origin, now, key.encode(), value.encode() if isinstance(value, str) else value, headers)

    def _failure(self, error: Error, last: str | None) -> Exception:
        """Return what an error means: a server that is away, or a query that fails."""
        if error.sqlstate is None or error.sqlstate[:2] in AWAY:
            self._close()
            return Unreachable(f"PostgreSQL at {self._where}: {error_words(error)}")
        return SourceFailed(f"the query on {self._where}, behind the key {last}: {error_words(error)}")

    def _execute(self, statement: SQL | Composed) -> list[tuple[Any, ...]]:
        """Run a statement in a transaction that writes nothing. Its texts may hold %, so it has no parameters."""
        connection = self._connected()
        with connection.transaction():
            return connection.execute(statement).fetchall()

    def _connected(self) -> Connection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = Connection.connect(
                self._url, autocommit=True, client_encoding="utf8", prepare_threshold=None, connect_timeout=CONNECT_SECONDS
            )
            self._connection.read_only = True
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Error):
                connection.close()
