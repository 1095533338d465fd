"""The command: what goes wrong is told in a sentence, and a half is imported when a command needs it."""

import subprocess
import sys
from argparse import Namespace

import pytest

import monopod
from tests.running import PYTHONPATH


def fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> int:
    def command(arguments: Namespace) -> int:
        raise error

    monkeypatch.setattr(monopod, "_settings", command)
    return monopod.main(["settings"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.yaml"), "monopod: x.yaml: No such file or directory\n"),
        (ModuleNotFoundError("no", name="yaml"), "monopod: yaml is not installed here; run `make check` once"),
        (ValueError("odd"), "monopod: unexpected: odd (ValueError); MONOPOD_DEBUG=1 shows where, please report it\n"),
    ],
)
def test_what_goes_wrong_is_a_sentence(
    error: Exception, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fails_with(error, monkeypatch) == 1
    assert capsys.readouterr().err.startswith(told)


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
