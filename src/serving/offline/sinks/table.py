"""A table of answers: its columns, the statements that make it and write rows, and the row of an answer.

It knows SQL as text, and no connection. Nothing but names from value.py stands in a statement, and each is quoted.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from serving.base import json_codec
from serving.base.errors import BadInput
from serving.offline.records import Answer, Refusal

# U+0000 as JSON writes it. An even number of backslashes before it are backslashes themselves.
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
BAD_ANSWER = "bad_answer"


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
    """Return the names of the columns that a unique index must have."""
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


def mistakes(found: Mapping[str, tuple[str, bool]], key: Sequence[str]) -> list[str]:
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
    """Return an answer as a row, or why it is none. key: the fields of the answer that are the table's key, or none."""
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
    """Return a field of an answer, or else of its results, as text. None where it is no string and no whole number."""
    results = document.get("results")
    value = document.get(name)
    return _text(results.get(name) if value is None and isinstance(results, dict) else value)


def _text(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
