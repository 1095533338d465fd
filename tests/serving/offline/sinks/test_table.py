"""The columns of a table, its statements as text, and which rows of a batch count."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from serving.offline.sinks import postgresql as table
from serving.offline.sinks.postgresql import TableRow

ROWS = some.builds(
    TableRow,
    topic=some.sampled_from(["a", "b"]), partition=some.integers(0, 1), offset=some.integers(0, 3), time=some.integers(0, 3),
    document=some.just("{}"), postid=some.none(), uid=some.none(), seqid=some.none(), version=some.just("v1"),
    key=some.tuples(some.sampled_from(["x", "y"])),
)  # fmt: skip


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
    assert table.table_mistakes({**good, "results": ("text", False), "note": ("integer", True)}, ()) == [
        'column "version" text is missing',
        'column "results" is text, not jsonb',
        'column "note" is NOT NULL and has no default, and no answer fills it',
    ]
