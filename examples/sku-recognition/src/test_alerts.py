"""The alert rules, on synthetic histories: each fires when it should, and none when all is well."""

from pathlib import Path

import pytest

from tests.promtool import firing

RULES = Path(__file__).parents[1] / "alerts.yaml"

Histories = dict[str, str]  # a sample a minute


def pod(metric: str, name: str, namespace: str = "like") -> str:
    return f'{metric}{{service="sku-recognition",namespace="{namespace}",pod="{name}"}}'


def index(name: str, products: str, built: str, namespace: str = "like") -> Histories:
    pair = {"sku_index_products": products, "sku_index_built_timestamp_seconds": built}
    return {pod(metric, name, namespace): values for metric, values in pair.items()}


def searches(every: str, unknown: str) -> Histories:
    return {pod("sku_searches_total", "a"): every, pod("sku_unknown_total", "a"): unknown}


TOO_MANY, FINE = (searches("0+50x180", f"0+{unknown}x180") for unknown in (20, 5))
CASES: dict[str, tuple[Histories, list[str]]] = {
    "all is well": ({**index("a", "100x180", "7x180"), **index("b", "100x180", "7x180"), **FINE}, []),
    "a pod's index shrinks": (index("a", "100x90 40x90", "7x180"), ["SkuRecognitionIndexShrank"]),
    "a release shrinks it": (
        {**index("a", "100x90", "7x90"), **index("b", "_x90 40x90", "_x90 8x90")},
        ["SkuRecognitionIndexShrank"],
    ),
    "it loses a tenth": (index("a", "100x90 90x90", "7x180"), []),
    "a pod keeps an older index of the same size": (
        {**index("a", "100x180", "7x180"), **index("b", "100x180", "8x180")},
        ["SkuRecognitionIndexesDiffer"],
    ),
    "another track has another index": ({**index("a", "100x180", "7x180"), **index("b", "9x180", "8x180", "grey")}, []),
    "many pictures are unknown": (TOO_MANY, ["SkuRecognitionManyUnknown"]),
    "the night's few pictures are": (searches("0+0.04x180", "0+0.04x180"), []),
}


@pytest.mark.parametrize("case", CASES)
def test_an_alert_fires_when_it_should_and_no_other_does(case: str, tmp_path: Path) -> None:
    histories, names = CASES[case]
    assert firing(RULES, histories, "3h", tmp_path) == set(names)
