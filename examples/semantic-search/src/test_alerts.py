"""The alert rules, run by promtool over synthetic series: they fire when they should, and only then."""

from pathlib import Path

import pytest

from tests.promtool import firing

EXAMPLE = Path(__file__).parents[1]
PROD, GREY = 'service="semantic-search", namespace="like"', 'service="semantic-search", namespace="grey"'
STEADY, EVERY_MINUTE = "268x120", "0+{}x120"

CASES = {
    "two pods of one track that differ": (
        "SemanticSearchPodsDiffer",
        {f'search_corpus_sentences{{{PROD}, pod="a"}}': STEADY, f'search_corpus_sentences{{{PROD}, pod="b"}}': "267x120"},
        True,
    ),
    "a grey release with another corpus": (
        "SemanticSearchPodsDiffer",
        {f'search_corpus_sentences{{{PROD}, pod="a"}}': STEADY, f'search_corpus_sentences{{{GREY}, pod="b"}}': "300x120"},
        False,
    ),
    "most questions without a sentence near": (
        "SemanticSearchNothingNear",
        {
            f'search_best_score_bucket{{{PROD}, le="0.3"}}': EVERY_MINUTE.format(6),
            f"search_best_score_count{{{PROD}}}": EVERY_MINUTE.format(10),
        },
        True,
    ),
    "some questions without a sentence near": (
        "SemanticSearchNothingNear",
        {
            f'search_best_score_bucket{{{PROD}, le="0.3"}}': EVERY_MINUTE.format(4),
            f"search_best_score_count{{{PROD}}}": EVERY_MINUTE.format(10),
        },
        False,
    ),
    "one strange question every ten minutes and no other": (
        "SemanticSearchNothingNear",
        {
            f'search_best_score_bucket{{{PROD}, le="0.3"}}': EVERY_MINUTE.format(0.1),
            f"search_best_score_count{{{PROD}}}": EVERY_MINUTE.format(0.1),
        },
        False,
    ),
    "questions that are cut all the time": (
        "SemanticSearchQuestionsCut",
        {f'search_tokens_cut_total{{{PROD}, of="request"}}': EVERY_MINUTE.format(120)},
        True,
    ),
    "a corpus that was cut": (
        "SemanticSearchQuestionsCut",
        {f'search_tokens_cut_total{{{PROD}, of="corpus"}}': EVERY_MINUTE.format(120)},
        False,
    ),
}


@pytest.mark.parametrize(("alert", "series", "fires"), CASES.values(), ids=CASES)
def test_an_alert_fires_for_what_it_names_alone(alert: str, series: dict[str, str], fires: bool, tmp_path: Path) -> None:
    assert (alert in firing(EXAMPLE / "alerts.yaml", series, "115m", tmp_path)) is fires
