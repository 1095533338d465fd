"""Files that were made to break `monopod check`: each is told in a sentence and an exit status, within seconds of work.

Each runs in a process of its own, since some of them took the whole process down.
"""

import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conf.golden import GOLDEN
from tests.running import PYTHONPATH, ROOT

GOOD = 'service_name = "demo"\nusername = "like"\n'
DEEP = 100_000
MAX_KIB = 60  # KiB, just below the largest value.py and alerts.yaml that are read.
MAX_SECONDS = 60  # Seconds. Two are enough on an idle machine, and on a busy one a command only waits longer.
MEMORY = 2**30  # Bytes. A command that needs more ends with an unexpected MemoryError.
WORK = 4  # Seconds of a core's time, start included.

WriteFile = Callable[[Path], object]


def text(content: str) -> WriteFile:
    return lambda path: path.write_text(content)


def cut(content: str) -> WriteFile:
    """Write as much as is read, so that it is not refused for its size alone."""
    return text(content[: MAX_KIB * 1024])


def lines(line: str) -> WriteFile:
    return text("".join(line.format(number) for number in range(MAX_KIB * 1024 // (len(line) + 4))))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


ANY_FILE: dict[str, tuple[WriteFile, str]] = {
    "a named pipe": (os.mkfifo, "is a named pipe, and only a regular file is read"),
    "a device without end": (device, "is a device, and only a regular file is read"),
}
ANY_YAML: dict[str, tuple[WriteFile, str]] = {
    "lists in lists": (cut("[" * DEEP), ":1: nested more than 20 deep"),
    "lists in lists, as lines have them": (cut("- " * DEEP), ":1: nested more than 20 deep"),
    "tables in tables": (cut("{a: " * DEEP), ":1: nested more than 20 deep"),
    "names that are tables": (cut("? " * DEEP), ":1: nested more than 20 deep"),
    "anchors": (text("a: &a [x]\n" + "b: *a\n" * 9), "anchors (&) and aliases (*) may not stand here"),
    "a number of base 60": (text("groups: 9" + ":9" * 30_000), "is not a value that YAML can read"),
    "thousands of unknown names": (lines("x{}y: 2\n"), "no setting 'x0y' here"),
    "thousands of names that are none": (lines("{}: 2\n"), "a name must be a text"),
}
VALUES: dict[str, tuple[WriteFile, str]] = {
    "thousands of unknown names": (lines("x{}y = 1\n"), "value.py:1: no setting 'x0y'"),
    "thousands of nearly known names": (lines("hk_replica{} = 1\n"), "did you mean 'hk_replicas'?"),
    "lists in lists": (cut("a = " + "[" * DEEP), "too many nested parentheses"),
    "thousands of open brackets": (lines("a = [\n"), "was never closed"),
    "long lines of open brackets": (cut(("[[1]," + "1," * 150 + "\n") * 250), "was never closed"),
    "a chain of signs": (cut("a = " + "-" * DEEP), "value.py:1: not Python"),
    "a chain of attributes": (text("a = x" + ".y" * 25_000), "value.py:1: not Python"),
    "a chain of sums": (text("a = 1" + "+1" * 25_000), "value.py:1: not Python"),
    "decorators of nothing": (lines("@a\n"), "value.py:1: not Python"),
    "thousands of statements in a line": (cut("a=1;" * DEEP), "no setting 'a'"),
    "a number of thousands of digits": (cut("cpu = " + "9" * DEEP), "not Python: a number of thousands of digits"),
}


def checked(folder: Path, regions: Path) -> str:
    """Return the output of `monopod check` for a folder with mistakes."""
    return ended("check", "--service", str(folder), "--regions", str(regions))


def ended(*arguments: str) -> str:
    """Return the output of a command that ends with status 1."""
    command, environment = [sys.executable, "-m", "monopod", *arguments], {"PYTHONPATH": PYTHONPATH}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT / "src", env=environment, stdout=output, stderr=output)
        # The limit is set from outside: set in a fork of a large test worker, it would count the worker's memory too.
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY, MEMORY))
        timer = threading.Timer(MAX_SECONDS, process.kill)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)  # the use of this child alone
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        told = output.read().decode()
    assert process.returncode == 1, told[-2000:]
    assert "unexpected" not in told
    assert used.ru_utime + used.ru_stime < WORK
    return told


def good_service(folder: Path) -> Path:
    (folder / "value.py").write_text(GOOD)
    return folder


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(("value.py", name) for name in (*ANY_FILE, *VALUES)),
        *(("alerts.yaml", name) for name in (*ANY_FILE, *ANY_YAML)),
        *(("regions.yaml", name) for name in (*ANY_FILE, "lists in lists")),
    ],
)
def test_a_file_is_told_in_a_sentence(tmp_path: Path, file: str, name: str) -> None:
    make, told = {**ANY_FILE, **(VALUES if file == "value.py" else ANY_YAML)}[name]
    if file != "value.py":
        good_service(tmp_path)
    make(tmp_path / file)
    assert told in checked(tmp_path, tmp_path / file if file == "regions.yaml" else GOLDEN / "regions.yaml")


@pytest.mark.parametrize("command", ["serve", "verify", "render"])
def test_every_command_reads_value_py_the_same_way(tmp_path: Path, command: str) -> None:
    os.mkfifo(tmp_path / "value.py")
    assert "value.py: is a named pipe" in ended(command, "--service", str(tmp_path))


def test_a_models_folder_that_is_a_whole_disk_is_not_searched_for_ever(tmp_path: Path) -> None:
    (tmp_path / "value.py").write_text(GOOD + 'model_path = "model/none.onnx"\n')
    (tmp_path / "model").symlink_to("/")
    assert "value.py:3: 'model/none.onnx' is not in" in checked(tmp_path, GOLDEN / "regions.yaml")


def test_an_expression_that_would_be_matched_for_ever_is_not_judged(tmp_path: Path) -> None:
    name = "a" * 38
    (tmp_path / "value.py").write_text(GOOD.replace("demo", name) + "cpu = 0\n")
    rule = "groups:\n- name: a\n  rules:\n  - {alert: A, expr: 'up{service=~\"(a|a)*b\"}'}\n"
    (tmp_path / "alerts.yaml").write_text(rule)
    assert "value.py:3: cpu is 0" in checked(tmp_path, GOLDEN / "regions.yaml")
