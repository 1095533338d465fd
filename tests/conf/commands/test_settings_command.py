"""`monopod settings` for a terminal, for a program, and as docs/settings.md."""

import json

import pytest

import monopod
from tests.running import ROOT

Captured = pytest.CaptureFixture[str]


def test_settings_are_printed_for_people_and_for_programs(capsys: Captured) -> None:
    assert monopod.main(["settings"]) == 0
    assert "  cpu  [1]\n      a number from 0.1 to 256 (cores)\n" in capsys.readouterr().out
    assert monopod.main(["settings", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "service_name"


def test_the_manual_of_the_settings_is_what_the_settings_say(capsys: Captured) -> None:
    assert monopod.main(["settings", "--markdown"]) == 0
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == capsys.readouterr().out
