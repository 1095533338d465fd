"""The code that the manual shows is run."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import monopod
from tests.charts.manual import commands
from tests.running import ROOT
from tests.test_layers import FOLDERS


def test_the_tests_that_the_manual_shows_are_formatted_and_pass(tmp_path: Path) -> None:
    manual = (ROOT / "docs/service.md").read_text(encoding="utf-8")
    (shown,) = (block for block in re.findall(r"```python\n(.*?)```", manual, re.DOTALL) if "def test_" in block)
    own = tmp_path / "test_shown.py"
    own.write_text(shown, encoding="utf-8")
    for command in (["ruff", "check", "--isolated", str(own)], ["ruff", "format", "--line-length=128", "--check", str(own)]):
        done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT)]
    done = subprocess.run([*pytest, "-c", str(ROOT / "pyproject.toml"), str(own)], cwd=ROOT, capture_output=True, text=True)
    assert re.search(r"^2 passed", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_the_commands_of_the_first_cluster_are_ones_that_monopod_and_make_have() -> None:
    page = ROOT / "docs/first-cluster.md"
    typed = [command for at in range(2, 8) for command in commands(f"## {at}.", page)]
    parser = monopod._parser()
    for command in typed:
        program, *words = shlex.split(command.replace("$IMAGE", "localhost:5000/like/cats"))
        if program == "monopod":
            parser.parse_args(words)
        elif program == "make":
            assert re.search(rf"^{re.escape(words[0])}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), words
    assert [command.split()[1] for command in typed if command.startswith("monopod")] == [
        *("new", "check", "doctor", "deploy", "status", "deploy", "history", "rollback"),
        *("bench", "deploy", "deploy", "stop", "stop"),
    ]
    assert "cp conf/regions.example-one.yaml one.yaml" in typed


def test_the_version_is_the_same_wherever_it_stands_and_its_changes_are_told_first() -> None:
    changes = re.findall(r"^## (\S+)$", (ROOT / "docs/changelog.md").read_text(encoding="utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert changes[0] == project["version"] == monopod.VERSION
    assert changes == sorted(changes, key=lambda version: [int(part) for part in version.split(".")], reverse=True)


def test_the_page_of_the_architecture_has_each_folder_in_its_order_and_names_files_that_are_there() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tables = re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE)
    assert tables == [folder for half in ("serving", "conf") for folder in FOLDERS[half] if folder]
    named = re.findall(r"`((?:src|conf|tests|templates|docs)/[\w./-]+)`", page)
    assert [path for path in named if not (ROOT / path).exists()] == []
    assert len(named) >= 15
