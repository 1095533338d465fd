"""Answers become rows of a real PostgreSQL: once each, the newest wins, and a bad one is refused alone."""

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as some

from serving.offline.records import Answer, Refusal
from serving.offline.sinks import postgresql as table
from serving.offline.sinks.postgresql import PostgresqlTable, TableRow, cure_of_refusal, is_of_data, row_of
from tests.postgresql import Server
from tests.serving.offline.answers import TIME, answer, answer_of

_numbers = itertools.count()
ROWS = some.builds(
    TableRow,
    topic=some.sampled_from(["a", "b"]), partition=some.integers(0, 1), offset=some.integers(0, 3), time=some.integers(0, 3),
    document=some.just("{}"), postid=some.none(), uid=some.none(), seqid=some.none(), version=some.just("v1"),
    key=some.tuples(some.sampled_from(["x", "y"])),
)  # fmt: skip


def make_table(server: Server, key: Sequence[str] = (), schema: str = "") -> str:
    """Make an empty table and return its name."""
    name = f"{schema}ages_{next(_numbers)}"
    server.execute(table.definition(name, key))
    return name


def write(server: Server, name: str, *batches: Sequence[Answer], key: Sequence[str] = ()) -> list[Refusal | None]:
    """Write batches one after the other through one sink, and return what became of the last one's answers."""

    async def written() -> list[Refusal | None]:
        sink = PostgresqlTable(f"postgresql:{name}", server.url(), name, key)
        await sink.open()
        try:
            for batch in batches:
                outcomes = list(await sink.write(batch))
        finally:
            await sink.close()
        return outcomes

    return uvloop.run(written())


def test_an_answer_is_a_row_with_its_origin_time_results_ids_and_version(postgresql: Server) -> None:
    name = make_table(postgresql)
    assert write(postgresql, name, [answer(7, postid=12, uid="u", results={"age": [1.5, None], "name": "\\ü\U0001f600"})]) == [
        None
    ]
    time = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=TIME)
    results = {"age": [1.5, None], "name": "\\ü\U0001f600"}
    assert postgresql.execute(f"SELECT * FROM {name}") == [("videos", 0, 7, time, results, "12", "u", None, "v1")]


def test_answers_that_are_written_twice_are_one_row_each(postgresql: Server) -> None:
    name = make_table(postgresql)
    batch = [answer(offset) for offset in range(500)]
    before = write(postgresql, name, batch, batch[100:] + batch)
    places = postgresql.execute(f"SELECT ctid FROM {name} ORDER BY 1")
    assert before == [None] * 900
    assert len(places) == 500
    write(postgresql, name, batch)
    assert postgresql.execute(f"SELECT ctid FROM {name} ORDER BY 1") == places  # a duplicate does not write the row again


def test_the_same_record_is_written_again_for_another_version_alone(postgresql: Server) -> None:
    name = make_table(postgresql)
    write(postgresql, name, [answer(1)], [answer(1, results=5, version="v2")], [answer(1, results=6, version="v2")])
    assert postgresql.execute(f"SELECT results, version FROM {name}") == [(5, "v2")]


@pytest.mark.parametrize("size", [1, 3, 40])
def test_the_newest_record_of_a_key_is_left_in_any_order_and_in_one_batch(postgresql: Server, size: int) -> None:
    name = make_table(postgresql, ["postid"])
    given = [
        answer(offset, TIME + time, results=[post, time, offset], postid=post)
        for post, time, offset in itertools.product(range(4), range(3), range(3))
    ]
    random.Random(size).shuffle(given)
    write(postgresql, name, *(given[start : start + size] for start in range(0, len(given), size)), key=["postid"])
    expected = [(str(post), [post, 2, 2]) for post in range(4)]
    assert postgresql.execute(f"SELECT postid, results FROM {name} ORDER BY 1") == expected


def test_an_older_row_is_written_where_the_newer_one_of_its_key_is_refused(postgresql: Server) -> None:
    name = make_table(postgresql, ["postid"])
    postgresql.execute(f"ALTER TABLE {name} ADD CHECK (results <> '13')")
    outcomes = write(postgresql, name, [answer(1, postid="p", results=1), answer(2, postid="p", results=13)], key=["postid"])
    assert [outcome is None for outcome in outcomes] == [True, False]
    assert postgresql.execute(f"SELECT results FROM {name}") == [(1,)]


BAD = {
    "a U+0000": answer_of(rb'{"results":"\u0000"}', 250),
    "bytes that are not UTF-8": answer_of(b'{"results":"\xff"}', 250),
    "a NaN": answer_of(b'{"results":NaN}', 250),
    "half of a surrogate pair": answer_of(rb'{"results":"\ud800"}', 250),
    "a time out of range": answer(250, 10**17),
    "a number that jsonb cannot hold": answer_of(b'{"results":1e-200000}', 250),
    "brackets that nest too deeply": answer_of(b'{"results":' + b"[" * 20_000 + b"]" * 20_000 + b"}", 250),
    "a key that an index cannot hold": answer(250, topic=random.Random(1).randbytes(5000).hex()),
    "a row that a constraint refuses": answer(250, version="forbidden"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_answer_among_500_is_refused_alone(postgresql: Server, bad: Answer) -> None:
    name = make_table(postgresql)
    postgresql.execute(f"ALTER TABLE {name} ADD CHECK (version <> 'forbidden')")
    batch = [answer(offset) for offset in range(500)]
    batch[250] = bad
    outcomes = write(postgresql, name, batch)
    refused = outcomes.pop(250)
    assert refused
    assert refused.reason in {"bad_answer", "refused_by_sink"}
    assert refused.text
    assert outcomes == [None] * 499
    assert postgresql.execute(f"SELECT count(*) FROM {name}") == [(499,)]


def test_the_reason_of_a_refusal_names_the_table_and_the_sqlstate_and_repeats_no_row(postgresql: Server) -> None:
    name = make_table(postgresql)
    postgresql.execute(f"ALTER TABLE {name} ADD CONSTRAINT small CHECK (jsonb_typeof(results) = 'number')")
    refused = write(postgresql, name, [answer(1, results="a secret")])[0]
    assert refused
    assert refused.reason == "refused_by_sink"
    assert f'"{name}"' in refused.text
    assert '"small" (SQLSTATE 23514)' in refused.text
    assert "secret" not in refused.text


def test_key_columns_come_from_the_answer_and_an_answer_without_them_is_refused(postgresql: Server) -> None:
    key = ["item", "uid"]
    name = make_table(postgresql, key)
    batch = [answer(1, item="a", uid=1), answer(2, item="a", uid=2), answer(3, item="a", uid=1), answer(4, uid=1)]
    outcomes = write(postgresql, name, batch, key=key)
    assert outcomes[:3] == [None] * 3
    assert outcomes[3]
    assert "offline_key names 'item'" in outcomes[3].text
    assert postgresql.execute(f'SELECT item, uid, "offset" FROM {name} ORDER BY 2') == [("a", "1", 3), ("a", "2", 2)]


def test_keys_that_are_one_to_the_tables_collation_are_one_row(postgresql: Server) -> None:
    name = make_table(postgresql, ["postid"])
    postgresql.execute("CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    postgresql.execute(f"ALTER TABLE {name} ALTER postid TYPE text COLLATE caseless")
    batch = [answer(2, postid="A"), answer(1, postid="b"), answer(1, postid="a"), answer(3, postid="B")]
    assert write(postgresql, name, batch, key=["postid"]) == [None] * 4
    assert postgresql.execute(f'SELECT postid, "offset" FROM {name} ORDER BY 1') == [("A", 2), ("b", 3)]


def test_a_table_may_stand_in_a_schema_and_have_a_word_of_sql_as_its_name(postgresql: Server) -> None:
    postgresql.execute('CREATE SCHEMA IF NOT EXISTS "select"')
    postgresql.execute(table.definition("select.from", ["order"]))
    assert write(postgresql, "select.from", [answer(1, order="o")], key=["order"]) == [None]
    assert postgresql.execute('SELECT "order" FROM "select"."from"') == [("o",)]


def test_a_table_may_have_further_columns_and_parts(postgresql: Server) -> None:
    name = make_table(postgresql)
    postgresql.execute(f"ALTER TABLE {name} ADD note text, ADD written timestamptz NOT NULL DEFAULT now()")
    assert write(postgresql, name, [answer(1)]) == [None]
    parted = table.definition(f"{name}_parted", ()).replace(");\n", ") PARTITION BY LIST (topic)")
    postgresql.execute(parted)
    postgresql.execute(f"CREATE TABLE {name}_part PARTITION OF {name}_parted FOR VALUES IN ('videos')")
    outcomes = write(postgresql, f"{name}_parted", [answer(1), answer(2, topic="other")])
    assert outcomes[0] is None
    assert outcomes[1]
    assert "no partition of relation" in outcomes[1].text


def test_no_answers_are_no_statement(postgresql: Server) -> None:
    assert write(postgresql, make_table(postgresql), []) == []


def test_the_key_of_a_table_is_the_records_origin_or_fields_of_the_answer() -> None:
    assert table.key_columns(()) == ("topic", "partition", "offset")
    assert table.key_columns(("postid", "uid", "postid")) == ("postid", "uid")
    assert [column.name for column in table.columns(("item", "uid"))] == [
        "item", "uid", "topic", "partition", "offset", "time", "results", "postid", "seqid", "version",
    ]  # fmt: skip


def test_a_column_of_the_key_holds_no_null() -> None:
    found = {column.name: column.needed for column in table.columns(("postid",))}
    assert found["postid"]
    assert not found["uid"]


@pytest.mark.parametrize(
    ("name", "sql"),
    [("ages", '"ages"'), ("likes.ages", '"likes"."ages"'), ('a"; DROP TABLE b; --', '"a""; DROP TABLE b; --"')],
)
def test_a_name_is_quoted_and_a_dot_parts_schema_and_table(name: str, sql: str) -> None:
    assert table.quoted(name) == sql
    for statement in (table.definition(name, ()), table.upsert(name, ())):
        assert f" {sql} " in statement


def test_a_statement_has_a_place_for_each_array() -> None:
    row = TableRow("videos", 0, 1, 2, "{}", None, None, None, "v1", ("x", "y"))
    for key in ((), ("postid",), ("item", "uid")):
        assert table.upsert("ages", key).count("%s") == len(table.arrays([row], key))


@given(some.lists(ROWS, max_size=8))
def test_each_key_is_left_once_with_its_newest_row(rows: list[TableRow]) -> None:
    left = table.newest(rows)
    assert {row.key for row in left} == {row.key for row in rows}
    assert len({row.key for row in left}) == len(left)
    for row in left:
        assert row.age == max(other.age for other in rows if other.key == row.key)


def test_of_two_equal_rows_the_last_one_counts() -> None:
    first, last = (TableRow("videos", 0, 1, 2, document, None, None, None, "v1", ()) for document in ("1", "2"))
    assert table.newest([first, last]) == [last]


def test_a_tables_mistakes_name_each_column_that_is_missing_other_or_asked_for() -> None:
    good = {column.name: (column.type, False) for column in table.columns(())}
    assert table.table_mistakes({**good, "note": ("text", False)}, ()) == []
    del good["version"]
    *known, note = table.table_mistakes({**good, "results": ("text", False), "note": ("integer", True)}, ())
    assert known == ['column "version" text is missing', 'column "results" is text, not jsonb']
    assert note.startswith('column "note" is NOT NULL ')


def test_a_row_holds_the_records_origin_the_ids_as_text_and_the_version() -> None:
    row = row_of(answer(7, postid=12, uid="u", version="v2"), ())
    assert isinstance(row, TableRow)
    assert (row.topic, row.partition, row.offset, row.time, row.version) == ("videos", 0, 7, TIME, "v2")
    assert (row.postid, row.uid, row.seqid, row.key) == ("12", "u", None, ())


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b'{"results":"\xff"}', b'{"results":NaN}', b'{"results":1e400}', b'"text"', b"[]", b'{"results":"\\ud800"}'],
)
def test_what_is_no_object_in_json_is_refused(body: bytes) -> None:
    row = row_of(answer_of(body), ())
    assert isinstance(row, Refusal)
    assert row.reason == "bad_answer"


@pytest.mark.parametrize("body", [rb'{"results":"\u0000"}', rb'{"results":"\\\u0000"}', rb'{"a\u0000":1}'])
def test_u_0000_is_refused(body: bytes) -> None:
    row = row_of(answer_of(body), ())
    assert isinstance(row, Refusal)
    assert "U+0000" in row.text


@pytest.mark.parametrize("body", [rb'{"results":"\\u0000"}', rb'{"results":"\\\\u0000"}'])
def test_a_backslash_before_the_digits_of_u_0000_is_no_u_0000(body: bytes) -> None:
    assert isinstance(row_of(answer_of(body), ()), TableRow)


def test_a_key_is_a_field_of_the_answer_or_of_its_results() -> None:
    row = row_of(answer(postid="p", results={"item": 3, "postid": "other"}), ("item", "postid"))
    assert isinstance(row, TableRow)
    assert row.key == ("3", "p")


@pytest.mark.parametrize("value", [None, True, 1.5, [1], {"a": 1}])
def test_an_answer_without_the_key_is_refused_with_the_fields_name(value: object) -> None:
    row = row_of(answer(postid=value), ("postid",))
    assert isinstance(row, Refusal)
    assert "offline_key names 'postid'" in row.text


@pytest.mark.parametrize("state", ["21000", "22003", "22P05", "23505", "23514", "44000", "54000", "P0001"])
def test_an_error_of_values_and_constraints_comes_from_the_rows(state: str) -> None:
    assert is_of_data(state)


@pytest.mark.parametrize("state", ["08006", "53100", "53300", "57014", "57P01", "40P01", "42P01", "42501", "25006", "XX000"])
def test_an_error_that_a_person_or_time_can_mend_does_not(state: str) -> None:
    assert not is_of_data(state)


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ('FATAL:  password authentication failed for user "a"', "correct the user or the password"),
        ('FATAL:  database "a" does not exist', "create the database, or correct its name"),
        ('FATAL:  role "a" does not exist', "create the role, or correct the user"),
        ('FATAL:  role "a" is not permitted to log in', "grant the role LOGIN"),
        ("FATAL:  the database system is starting up", ""),
        ("Connection refused", ""),
        ('FATAL:  too many connections for role "a"', ""),
        ('FATAL:  too many connections for database "a"', ""),
    ],
)
def test_a_refused_connection_has_a_cure_where_waiting_does_not_help(text: str, cure: str) -> None:
    assert cure_of_refusal(text) == cure
