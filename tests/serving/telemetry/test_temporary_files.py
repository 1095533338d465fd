"""All bytes that the process has on the disk of its temporary folder are counted, those of files without a name too."""

import os
import tempfile
from pathlib import Path

import pytest

from serving.telemetry import temporary_files
from serving.telemetry.temporary_files import bytes_on_disk

MIB = 2**20


def test_files_below_the_folder_are_counted(tmp_path: Path) -> None:
    before = bytes_on_disk(str(tmp_path))
    (tmp_path / "tensorrt" / "engines").mkdir(parents=True)
    (tmp_path / "tensorrt" / "engines" / "demo").write_bytes(os.urandom(2 * MIB))
    (tmp_path / "link").symlink_to("/usr")
    assert 2 * MIB <= bytes_on_disk(str(tmp_path)) - before < 2.1 * MIB


def test_an_open_file_without_a_name_is_counted_until_it_is_closed(tmp_path: Path) -> None:
    before = bytes_on_disk(str(tmp_path))
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        file.write(os.urandom(3 * MIB))
        file.flush()
        assert list(tmp_path.iterdir()) == []
        assert 3 * MIB <= bytes_on_disk(str(tmp_path)) - before < 3.1 * MIB
    assert bytes_on_disk(str(tmp_path)) == before


def test_the_number_of_files_that_are_looked_at_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary_files, "MAX_FILES", 3)
    before = bytes_on_disk(str(tmp_path))
    for number in range(10):
        (tmp_path / str(number)).write_bytes(os.urandom(MIB))
    assert bytes_on_disk(str(tmp_path)) - before < 3.1 * MIB


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert bytes_on_disk(str(tmp_path / "nowhere")) == 0
