"""The committed dashboards are those that the Python makes, the same at every run, and easy to read as a diff."""

import subprocess
import sys

import pytest

from dashboards.__main__ import FOLDER, texts
from tests.dashboards.written import NAMES, read
from tests.running import ROOT


def test_the_committed_files_are_what_make_dashboards_writes_in_two_processes() -> None:
    code = "import json; from dashboards.__main__ import texts; print(json.dumps(texts()))"
    runs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    committed = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*")}
    assert texts() == committed, "run make dashboards"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_has_short_lines_and_sorted_keys_so_that_a_change_is_read_as_a_diff(name: str) -> None:
    text = (FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert list(read(name)) == sorted(read(name))
    assert all(len(line) < 1000 for line in text.splitlines())  # a query stands on one line


def test_each_dashboard_has_an_address_of_its_own_and_fits_a_configmap() -> None:
    assert len({read(name)["uid"] for name in NAMES}) == len(NAMES)
    assert all(len(text.encode()) < 2**20 for text in texts().values())
