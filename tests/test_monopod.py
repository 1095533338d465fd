"""The command line: an error is one sentence, and a half is imported only when a command needs it."""

import ast
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from argparse import Namespace
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

import monopod
from image.extras import requirements
from tests.running import PYTHONPATH, ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
(SERVED,) = [line.split(",") for line in re.findall(r"^\.venv/serve:.*\n\t.*'\.\[(.*)\]'", MAKEFILE, re.MULTILINE)]


def fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def command(arguments: Namespace) -> int:
        raise error

    monkeypatch.setattr(monopod, "_run", command)
    return monopod.main(["settings"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), "monopod: x.yaml: No such file or directory\n"),
        (
            ModuleNotFoundError("no", name="yaml"),
            f"monopod: yaml is not installed here; run `{sys.executable} -m pip",
        ),
        (ValueError("odd"), "monopod: unexpected: odd (ValueError); MONOPOD_DEBUG=1 shows"),
    ],
)
def test_an_error_is_one_sentence(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails_with(error, monkeypatch) == 1
    assert capsys.readouterr().err.startswith(told)


@pytest.mark.parametrize(("command", "missing"), [("bench", "serving.tools.bench"), ("check", "conf")])
def test_a_command_that_a_services_image_does_not_hold_says_where_to_run_it(command: str, missing: str, tmp_path: Path) -> None:
    """The folder holds what the Dockerfile leaves in the image: no conf/, and of serving/tools no bench and no optimize."""
    left_out = shutil.ignore_patterns("__pycache__", "bench", "optimize")
    shutil.copytree(ROOT / "src/serving", tmp_path / "src/serving", ignore=left_out)
    shutil.copy(ROOT / "src/monopod.py", tmp_path / "src")
    arguments = [sys.executable, "-S", "src/monopod.py", command]  # -S: this checkout is installed, conf with it
    done = subprocess.run(arguments, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "src")}, capture_output=True, text=True)
    told = f"monopod: the image of a service holds no {missing}: run this command in a clone of the service's repository\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


def test_the_version_is_the_projects_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        monopod.main(["--version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (ended.value.code, capsys.readouterr().out) == (0, f"monopod {project['version']}\n")


COMMANDS = re.findall(r"^    ([a-z]+) ", monopod._parser().format_help(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_of_help_names_a_service_that_is_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        monopod.main([command, "--help"])
    example = capsys.readouterr().out.partition("example:")[2]
    assert f"monopod {command}" in example
    for folder in re.findall(r"--service (\S+)", example):
        assert (ROOT / folder / "value.py").is_file()


@pytest.mark.parametrize("command", ["serve", "verify", "bench", "check", "render"])
def test_a_folder_that_is_no_services_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert monopod.main([command, "--service", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "value.py: cannot be read (No such file" in captured.out + captured.err
    assert f"in {tmp_path};" in captured.out + captured.err


def test_make_serve_takes_other_ports() -> None:
    make = ["make", "--no-print-directory", "--dry-run", "serve", "PORT=18080", "ADMIN_PORT=18081"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].endswith("--port 18080 --admin-port 18081")


def test_a_port_that_is_taken_is_told_with_both_ways_to_choose_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = [
            sys.executable,
            "-m",
            "monopod",
            "serve",
            "--service",
            str(ROOT),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        environment = {"PYTHONPATH": PYTHONPATH}
        done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"127.0.0.1:{port}: Address already in use")
    assert told.endswith("make serve PORT=18080 ADMIN_PORT=18081")


def test_ctrl_c_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails_with(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == ""


def test_the_settings_need_no_half_but_conf_and_no_outside_library() -> None:
    script = (
        "import sys, monopod; monopod.main(['settings']); print(sorted(m for m in sys.modules if 'onnx' in m or 'flask' in m))"
    )
    environment = {"PYTHONPATH": PYTHONPATH}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


README_LINE = re.compile(r"^    \.venv/bin/pip install -c requirements\.lock -e '\.\[(.*)\]'", re.MULTILINE)
INSTALLED = README_LINE.findall((ROOT / "docs/README.md").read_text(encoding="utf-8"))[0].split(",")


@pytest.mark.parametrize(
    ("command", "extras"),
    [(["check"], SERVED), (["render", "--output", "rendered"], SERVED), (["check"], INSTALLED)],
)
def test_a_command_needs_no_more_than_is_installed_for_it(command: list[str], extras: list[str], tmp_path: Path) -> None:
    """Its modules come from the extras that the Makefile's `serve` or README names, dependencies included."""
    script = f"import sys, monopod; monopod.main({command!r}); print({{name.partition('.')[0] for name in sys.modules}})"
    arguments = [sys.executable, "-c", script.replace("'rendered'", repr(str(tmp_path)))]
    found = subprocess.run(arguments, cwd=ROOT, env={"PYTHONPATH": PYTHONPATH}, capture_output=True, text=True, check=True)
    imported = ast.literal_eval(found.stdout.splitlines()[-1])
    owners = metadata.packages_distributions()
    packages = {normalized(owner) for name in imported for owner in owners.get(name, ())}
    assert "jinja2" in packages, "what is imported is seen"
    assert packages - installed(extras) == set()


def installed(extras: Sequence[str]) -> set[str]:
    """Return the packages that extras of the project install, dependencies included."""
    todo, found = requirements((ROOT / "pyproject.toml").read_text(encoding="utf-8"), extras), {"monopod", "setuptools"}
    while todo:
        name = normalized(re.split(r"[^\w.-]", todo.pop(), maxsplit=1)[0])
        if name not in found and any(metadata.distributions(name=name)):  # some are for other systems alone
            found.add(name)
            todo += [line for line in metadata.requires(name) or () if "extra ==" not in line]
    return found


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
