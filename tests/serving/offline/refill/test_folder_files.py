import os
from pathlib import Path

import pytest

from serving.inputs.files import PICTURES, file_kinds
from serving.offline.refill.folder_files import FolderFiles
from tests.running import ROOT

IMAGES = ROOT / "examples/images"


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
