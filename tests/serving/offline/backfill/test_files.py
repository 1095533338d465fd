"""Lines of a file and files of folders are records, each with its place, and what cannot be read is told."""

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from serving.base.errors import StartError
from serving.inputs.files import PICTURES, file_kinds
from serving.offline.backfill.files import FolderFiles, LineFile
from serving.offline.backfill.input_progress import Item
from serving.offline.records import SourceFailed
from tests.running import ROOT

IMAGES = ROOT / "examples/images"


def items(path: Path, largest: int = 1000, after: list[int | str] | None = None) -> list[Item]:
    return list(LineFile(str(path), largest).read(after))


def test_each_line_that_is_not_blank_is_a_record_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"postid":"1"}\r\n\n  \n{"postid":"4"}\n{"postid":"5"}')
    found = items(path)
    assert [(item.record.origin, item.record.value) for item in found] == [
        ((str(path), 0, 1), b'{"postid":"1"}'),
        ((str(path), 0, 4), b'{"postid":"4"}'),
        ((str(path), 0, 5), b'{"postid":"5"}'),
    ]
    assert found[0].record.headers == (("content-type", b"application/json"),)
    assert found[0].record.time == path.stat().st_mtime_ns // 1_000_000
    assert found[-1].through == path.stat().st_size


@pytest.mark.parametrize("zipped", [False, True])
def test_reading_goes_on_behind_any_line(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.jsonl"
    text = b"".join(b'{"n":%d,"text":"%s"}\n' % (number, b"x" * (number % 7)) for number in range(500))
    path.write_bytes(gzip.compress(text[:3000]) + gzip.compress(text[3000:]) if zipped else text)  # of two members
    whole = items(path)
    assert [json.loads(item.record.value or b"")["n"] for item in whole] == list(range(500))
    for at in (0, 123, 498):
        place = whole[at].place
        assert isinstance(place, list)
        assert [each.record for each in items(path, after=place)] == [each.record for each in whole[at + 1 :]]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_line_that_is_too_long_is_dead_without_being_held(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.jsonl"
    with gzip.open(path, "wb", 1) if zipped else path.open("wb") as file:
        file.write(b'{"n":1}\n{"text":"')
        for _ in range(60):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"n":3}\n')
    tracemalloc.start()
    found = items(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    assert [item.record.value for item in found] == [b'{"n":1}', None, b'{"n":3}']
    refusal = found[1].record.refusal
    assert refusal
    assert refusal.reason == "too_large"
    assert refusal.text.startswith(f"the line has {60 * 2**20 + 12} bytes, ")
    assert refusal.text.endswith(" allows 1000")


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_of_exactly_the_largest_record_is_taken(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a":"' + b"x" * 92 + b'"}' + end)
    assert [item.record.refusal for item in items(path, 100)] == [None]
    found = items(path, 99)[0].record
    assert (found.value, found.refusal and found.refusal.reason) == (None, "too_large")


ZIPPED = gzip.compress(b"".join(b'{"n":"%x"}\n' % (number * 7919 % 10007) for number in range(200_000)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (ZIPPED[:-200_000], rf"byte {len(ZIPPED) - 200_000}, .*--again"),
        (ZIPPED[:200_000] + bytes(50) + ZIPPED[200_050:], r"byte \d+, behind line \d+ \(CRC"),
    ],
    ids=["it breaks off", "wrong bytes in its middle"],
)
def test_a_broken_gzip_is_found_and_names_the_file_and_the_position(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(SourceFailed, match=rf"^{path}: its gzip is broken at {reason}"):
        list(LineFile(str(path), 1000).read(None))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PAR1....", "is Parquet; --from takes JSON lines, plain or gzip"),
        (b"\x28\xb5\x2f\xfd....", "is compressed by zstd"),
        (b'[{"n": 1}]', "holds no JSON lines: it begins with '['"),
        (b"id,url\n1,x\n", "holds no JSON lines: it begins with 'i'"),
        (gzip.compress(b'"text"\n', mtime=0), "holds no JSON lines: it begins with '\"'"),
        (b"\x1f\x8bnonsense", "its gzip is broken at the beginning"),
    ],
)
def test_a_file_of_another_kind_is_refused_at_the_start(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(StartError) as error:
        LineFile(str(path), 1000)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


def test_an_empty_file_holds_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"")
    assert items(path) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them in a folder inside, and files that are no pictures."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b/cat.PNG").write_bytes((IMAGES / "coins.png").read_bytes())
    (tmp_path / "c.jpg").write_bytes((IMAGES / "chelsea.jpg").read_bytes())
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / ".DS_Store").write_text("none")
    return tmp_path


def test_a_picture_is_a_record_with_its_path_as_key_and_its_bytes_as_value(folder: Path) -> None:
    input = FolderFiles([str(folder)], PICTURES, 10**6)
    first, second = (item.record for item in input.read(None))
    path = str(folder / "b/cat.PNG")
    assert first.origin == (path, 0, 0)
    assert first.key == path.encode()
    assert first.value == (IMAGES / "coins.png").read_bytes()
    assert first.headers == (("content-type", b"image/png"),)
    assert second.key == str(folder / "c.jpg").encode()
    assert (input.count, input.passed_over) == (2, 2)


def test_reading_goes_on_behind_any_picture(folder: Path) -> None:
    input = FolderFiles([str(folder)], PICTURES, 10**6)
    whole = list(input.read(None))
    assert list(input.read(whole[0].place)) == whole[1:]
    assert whole[-1].through == input.size


def test_a_picture_that_is_too_large_or_cannot_be_read_is_dead(folder: Path) -> None:
    size = (folder / "c.jpg").stat().st_size
    large = [item.record for item in FolderFiles([str(folder)], PICTURES, size - 1).read(None)][1]
    assert large.value is None
    assert large.refusal
    assert large.refusal == ("too_large", f"the file has {size} bytes, and offline_max_record allows {size - 1}")
    input = FolderFiles([str(folder / "c.jpg")], PICTURES, 10**6)
    (folder / "c.jpg").unlink()
    gone = next(iter(input.read(None))).record
    assert gone.refusal == ("unreadable", f"{folder / 'c.jpg'}: No such file or directory")


def test_another_picture_is_another_identity(folder: Path) -> None:
    before = FolderFiles([str(folder)], PICTURES, 10**6).identity()
    assert FolderFiles([str(folder)], PICTURES, 10**6).identity() == before
    (folder / "a.jpg").write_bytes(b"new")
    assert FolderFiles([str(folder)], PICTURES, 10**6).identity() != before


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb") as file:
        file.write(b"x")
    record = next(iter(FolderFiles([str(tmp_path)], PICTURES, 10**6).read(None))).record
    assert record.origin.topic == f"{tmp_path}/\\xff.jpg"
    assert record.key == os.fsencode(tmp_path) + b"/\xff.jpg"
    assert record.value == b"x"


def test_the_files_of_a_folder_are_those_that_the_service_declares(folder: Path) -> None:
    for name in ("a.WAV", "b/x.flac", "c.pdf", "d.tiff", "e.jsonl", "f"):
        (folder / name).write_bytes(b"x")
    found = {}
    for types in ("audio/*", "application/pdf, image/*", "audio/wav", "image/tiff", "*/*"):
        input = FolderFiles([str(folder)], file_kinds({"file": types}), 10**6)
        found[types] = [item.record.origin.topic.removeprefix(f"{folder}/") for item in input.read(None)]
    assert found == {
        "audio/*": ["a.WAV", "b/x.flac"],
        "application/pdf, image/*": ["b/cat.PNG", "c.jpg", "c.pdf"],
        "audio/wav": ["a.WAV"],
        "image/tiff": ["d.tiff"],
        "*/*": ["a.WAV", "b/cat.PNG", "b/x.flac", "c.jpg", "c.pdf", "notes.txt"],
    }
    sound = next(iter(FolderFiles([str(folder)], file_kinds({"file": "audio/*"}), 10**6).read(None))).record
    assert sound.headers == (("content-type", b"audio/wav"),)
