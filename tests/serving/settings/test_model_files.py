"""Lists of checksums as sha256sum writes them, and Git LFS pointers."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from serving.settings.model_files import is_checksum_list, pointed_size, read_checksums, sha256_of

ONE, TWO = "1" * 64, "a" * 64


def read(folder: Path, name: str, text: str) -> list[tuple[str, str, int]]:
    """Write one list and return the file, the sum and the line of each of its lines."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    found = read_checksums(folder)
    assert {each.listed_in for each in found} <= {folder / name}
    return [(each.path.relative_to(folder).as_posix(), each.sha256, each.line) for each in found]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("SHA256SUMS", f"{ONE}  x.onnx\n\n{TWO} *large/y.onnx\n", [("x.onnx", ONE, 1), ("large/y.onnx", TWO, 3)]),
        ("SHA256SUMS", f"# of 2024\n{TWO.upper()}  a name.onnx\n", [("a name.onnx", TWO, 2)]),
        ("SHA256SUMS", f"{ONE}\nno sum\n", [("FILE", "", 1), ("FILE", "", 2)]),
        ("large/SHA256SUMS", f"{ONE}  x.onnx", [("large/x.onnx", ONE, 1)]),
        ("x.onnx.sha256", ONE, [("x.onnx", ONE, 1)]),
        ("x.onnx.sha256", f"{ONE}  model/x.onnx\n", [("x.onnx", ONE, 1)]),
        ("x.onnx.sha256", f"{ONE[1:]}  x.onnx\n", [("x.onnx", "", 1)]),
        ("index.sha256", f"{ONE} *index.npy\n", [("index.npy", ONE, 1)]),
        ("x.onnx.md5", f"{ONE}  x.onnx\n", []),
    ],
)
def test_a_list_says_of_each_line_the_file_and_its_sum(
    tmp_path: Path, name: str, text: str, expected: list[tuple[str, str, int]]
) -> None:
    assert read(tmp_path, name, text) == expected


def test_a_list_that_sha256sum_writes_agrees_with_the_files(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"weights")
    subprocess.run("sha256sum x.onnx >SHA256SUMS", shell=True, cwd=tmp_path, check=True)
    (listed,) = read_checksums(tmp_path)
    assert is_checksum_list(listed.listed_in)
    assert listed.sha256 == sha256_of(listed.path) == hashlib.sha256(b"weights").hexdigest()


def test_a_folder_that_is_not_there_has_no_lists(tmp_path: Path) -> None:
    assert read_checksums(tmp_path / "model") == []


@pytest.mark.parametrize(
    ("content", "size"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 11251860\n", 11251860),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", 0),
        ("version https://git-lfs.github.com/spec/v1\nsize many\n", 0),
        ("version https://git-lfs.github.com/spec/v1\n" + "x" * 1024, None),
        ("a model", None),
        ("", None),
    ],
)
def test_a_git_lfs_pointer_says_how_large_its_file_is(tmp_path: Path, content: str, size: int | None) -> None:
    (tmp_path / "x.onnx").write_text(content)
    assert pointed_size(tmp_path / "x.onnx") == size
