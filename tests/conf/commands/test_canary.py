"""The canary that flags and value.py ask for, and the page of its verdicts, which neither loads nor runs anything."""

from pathlib import Path

import pytest

from conf.canary.counts import Counts
from conf.canary.verdict import Judging, Metric, judge
from conf.clusters.regions import load
from conf.commands.canary import page, shares_of, write_page
from conf.rollout.canary.state import Journal, Look, StepVerdict
from conf.rollout.report import RegionResult
from conf.rollout.targets import region_tracks
from conf.rules.check import read
from monopod import _parser, main
from tests.conf.rollout.checkout import Checkout

RESULT = RegionResult(
    "hk", "prod", "undone", words="restarts: 1 of the canary's containers", log="error: no <memory>", status=34, runs={"1": 2}
)
SETTINGS = Judging((Metric("errors", 0.005), Metric("slower than <25> ms", 0.1)), steps=2)


def journal() -> Journal:
    """Return a journal of a canary of which each tenth request fails, and none of the baseline's."""
    made = Journal("hk", "<2>", "1", clock=lambda: 1_760_000_000.0)
    for number in range(1, 31):
        new, old = Counts(100 * number, 10 * number), Counts(100 * number, 0)
        verdict = judge(
            {each.name: new for each in SETTINGS.metrics}, {each.name: old for each in SETTINGS.metrics}, 0.5, SETTINGS
        )
        made.looks.append(Look(1_760_000_000.0 + 5 * number, 0, 5, verdict))
    made.verdicts = [
        StepVerdict(5, "good", ("errors: good: 0 of 900",), 1_750_000_000.0),
        StepVerdict(25, made.looks[-1].verdict.state, made.looks[-1].verdict.words, made.looks[-1].at),
    ]
    said: list[str] = []
    made.keeping(said.append)("it is worse & is taken back")
    assert said == ["it is worse & is taken back"]
    return made


def test_it_has_both_curves_of_each_metric_the_last_verdict_and_what_happened() -> None:
    text = page("cats", [journal()], [RESULT], 1_760_000_500.0)
    assert text.count("<svg") == 2 * len(SETTINGS.metrics)
    assert "The verdict on step 2, at 25 %: worse" in text
    assert "errors: worse: 300 of 3,000 (10 %) in" in text
    assert "08:53:20 it is worse &amp; is" in text
    line = text.partition('class="line"')[0].rpartition('<path d="')[2]
    assert line.count("M") == 1  # one curve without a gap
    assert line.count("L") == 29


def test_the_verdicts_of_former_commands_and_the_outcome_stand_on_it() -> None:
    text = page("cats", [journal()], [RESULT, RegionResult("eu", "prod", "not begun")], 1_760_000_500.0)
    assert "step 1, at 5 %: good</h3><ul><li>errors: good" in text
    assert "<ul><li>hk, prod: undone: restarts" in text
    assert "</li><li>log: error: no &lt;memory&gt;</li></ul>" in text
    assert "not begun" not in text


def test_text_from_elsewhere_is_escaped_and_nothing_is_loaded() -> None:
    text = page("cats", [journal()], [], 0.0)
    assert "<2>" not in text
    assert "<25>" not in text
    assert "default-src 'none'" in text
    assert "<script" not in text


def test_a_command_that_drove_no_canary_writes_so_and_one_without_a_file_writes_nothing(tmp_path: Path) -> None:
    write_page(None, "cats", [journal()], [])
    write_page(tmp_path / "verdict.html", "cats", [], [])
    assert "No canary was driven." in (tmp_path / "verdict.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["verdict.html"]


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
        (["--continue", *IMAGE], "leave --image out"),
        (["--continue", "--track", "grey"], "--continue is for prod alone: grey "),
        (["--canary", "5", "--track", "ab", *IMAGE], "--canary is for prod alone: ab "),
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
    assert mistakes == []
    assert service
    (prod, grey) = (region_tracks(service, load(mine.regions_file), track)[0] for track in ("prod", "grey"))
    assert shares_of(prod, arguments) == found
    assert shares_of(grey, arguments) == ()


@pytest.mark.parametrize("shares", ["0,5", "5,5", "50,5", "60", "a", "", "5,,50", "5.5"])
def test_shares_that_no_canary_can_have_are_refused(shares: str, mine: Checkout, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        told(mine, capsys, "--canary", shares, *IMAGE)
    assert raised.value.code == 2
    assert "give rising whole percentages" in capsys.readouterr().err
