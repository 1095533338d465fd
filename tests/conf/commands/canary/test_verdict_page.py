"""The page of a canary's verdicts: what happened, a curve of each metric, and nothing that loads or runs."""

from pathlib import Path

from conf.canary.counts import Counts
from conf.canary.judging import Judging, Metric, judge
from conf.commands.canary.verdict_page import page, write_page
from conf.rollout.canary.journal import Journal, Look
from conf.rollout.canary.state import StepVerdict
from conf.rollout.report import RegionResult

RESULT = RegionResult(
    "hk",
    "prod",
    "undone",
    words="restarts: 1 of the canary's containers",
    log="error: no <memory>",
    status=34,
    runs={"1": 2},
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
    made.telling(said.append)("it is worse & is taken back")
    assert said == ["it is worse & is taken back"]
    return made


def test_it_has_both_curves_of_each_metric_the_last_verdict_and_what_happened() -> None:
    text = page("cats", [journal()], [RESULT], 1_760_000_500.0)
    assert text.count("<svg") == 2 * len(SETTINGS.metrics)
    assert "The verdict on step 2, at 25 %: worse" in text
    assert "errors: worse: 300 of 3,000 (10 %) in the canary, 0 of 3,000 (0 %) in the baseline" in text
    assert "2025-10-09 08:53:20 it is worse &amp; is taken back" in text
    line = text.partition('class="line"')[0].rpartition('<path d="')[2]
    assert line.count("M") == 1  # one curve without a gap
    assert line.count("L") == 29


def test_the_verdicts_of_former_commands_and_the_outcome_stand_on_it() -> None:
    text = page("cats", [journal()], [RESULT, RegionResult("eu", "prod", "not begun")], 1_760_000_500.0)
    assert "The verdict on step 1, at 5 %: good</h3><ul><li>errors: good: 0 of 900</li>" in text
    outcome = "hk, prod: undone: restarts: 1 of the canary&#x27;s containers; now version 1 in 2 pods"
    assert f"<h3>Outcome</h3><ul><li>{outcome}</li><li>log: error: no &lt;memory&gt;</li></ul>" in text
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
