"""The canary that flags and value.py ask for, and flags that do not go together."""

from pathlib import Path

import pytest

from conf.clusters.regions import load
from conf.commands.canary.orders import shares_of
from conf.rollout.targets import region_tracks
from conf.rules.check import read
from monopod import _parser, main
from tests.conf.rollout.checkout import Checkout

IMAGE = ["--image", "127.0.0.1:9/digits@sha256:" + "1" * 64]


@pytest.fixture
def mine(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "service", "like", {"hk": "no-such-context"})


def told(mine: Checkout, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run deploy in this process, and return its exit status and what it printed."""
    status = main(mine.command("deploy", *words)[3:])
    out, err = capsys.readouterr()
    return status, out + err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--continue", *IMAGE], "--continue goes on with the image that the canary has: leave --image out"),
        (["--continue", "--track", "grey"], "--continue is for prod alone: grey has no requests of users to share"),
        (["--canary", "5", "--track", "ab", *IMAGE], "--canary is for prod alone: ab has no requests of users to share"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_with_the_reason(
    words: list[str], why: str, mine: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = told(mine, capsys, *words)
    assert status == 2
    assert why in text


@pytest.mark.parametrize(
    ("words", "own", "found"),
    [
        ([], [], ()),
        ([], [10, 50], (10, 50)),
        (["--canary"], [], (5, 25, 50)),
        (["--canary"], [10, 50], (10, 50)),
        (["--canary", "1,2"], [10, 50], (1, 2)),
        (["--canary", "none"], [10, 50], ()),
    ],
)
def test_the_command_line_decides_then_value_py_and_then_what_is_usual(
    words: list[str], own: list[int], found: tuple[int, ...], mine: Checkout
) -> None:
    mine.write_value(canary=own)
    arguments = _parser().parse_args(mine.command("deploy", *words, *IMAGE)[3:])
    service, mistakes = read(mine.folder, load(mine.regions_file), "")
    assert service is not None, mistakes
    (prod, grey) = (region_tracks(service, load(mine.regions_file), track)[0] for track in ("prod", "grey"))
    assert shares_of(prod, arguments) == found
    assert shares_of(grey, arguments) == ()


@pytest.mark.parametrize("shares", ["0,5", "5,5", "50,5", "60", "a", "", "5,,50", "5.5"])
def test_shares_that_no_canary_can_have_are_refused(shares: str, mine: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        told(mine, capsys, "--canary", shares, *IMAGE)
    assert raised.value.code == 2
    assert "give rising whole percents of 50 at most, as 5,25,50, or none" in capsys.readouterr().err
