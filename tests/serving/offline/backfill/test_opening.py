import json
from pathlib import Path

import pytest

from serving.base.errors import StartError
from serving.offline.backfill.opening import summary
from tests.serving.offline.backfill.taker import opened, write_lines


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["in/*.jsonl"], "in/*.jsonl matches no file in {folder}"),
        (["in"], "in: no such file or folder; --from takes files, folders, globs such as 'in/*.jsonl', or a query"),
        (["others"], "others: no pictures in it (jpg, png, webp, gif, bmp), and 2 other files; JSON lines are named as files"),
        (["SELECT 1 AS id", "a.jsonl"], "--from takes one query, or paths"),
        (["SELECT 1 AS id"], "the query: POSTGRESQL_URL or --postgresql must name a database"),
        (["others/b.txt"], "others/b.txt holds no JSON lines: it begins with 'b', not with an object as {{...}}"),
    ],
)
def test_what_names_no_records_is_told_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "a.jsonl", 1)
    (tmp_path / "others").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "others" / name).write_text("b")
    with pytest.raises(StartError) as error:
        opened(tmp_path, *given)
    assert words.format(folder=tmp_path) in str(error.value)
    assert not list(tmp_path.glob("refill-*"))


def test_two_refills_of_the_same_inputs_do_not_run_at_once(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 1)
    first = opened(tmp_path, str(path))
    with pytest.raises(StartError, match="another process does this backfill"):
        opened(tmp_path, str(path))
    other = opened(tmp_path, f"{tmp_path}/a*.jsonl")
    assert first.dead
    assert other.dead
    first.dead.release()
    other.dead.release()


def test_a_folder_that_takes_no_note_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", 1)
    opened(tmp_path, str(path), dry_run=True)
    with pytest.raises(StartError, match="/proc/refill-small-.*; a backfill writes"):
        opened(tmp_path, str(path), folder=Path("/proc"))


def test_the_summary_tells_counts_rate_and_where_dead_letters_are(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.txt"):
        (tmp_path / "in" / name).write_bytes(b"x")
    backfill = opened(tmp_path, str(tmp_path / "in"))
    assert backfill.dead
    backfill.dead.path.write_text("{}\n")
    told = summary(backfill, 1230, 4, 10.0)
    records, passed_over, letters, goes_on = told.text().splitlines()
    assert records.startswith("1,234 records in 10.0 s, 123.4/s: ")
    assert records.endswith(" 1,230 answered, 4 dead")
    assert passed_over.endswith("not records: 1")
    assert letters == f"dead letters: {backfill.dead.path}"
    assert goes_on.endswith(f"by its checkpoint {backfill.note}")
    assert json.loads(told.json()) == {
        "records": 1234,
        "answered": 1230,
        "dead": 4,
        "seconds": 10.0,
        "records_per_second": 123.4,
        "complete": False,
        "passed_over": 1,
        "dead_letters": str(backfill.dead.path),
        "note": str(backfill.note),
    }
    assert (told.status(), told.status(interrupted=True), summary(backfill, 5, 0, 1.0).status()) == (3, 130, 0)
    backfill.dead.release()
