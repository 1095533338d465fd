"""Each kind of value accepts what it claims to accept, and nothing else."""

import ast
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.settings import validators
from serving.settings.validators import Validator, size_in_bytes

NOT_A_NUMBER = float("nan")
HUGE = 10**400

LITERALS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=6,
)

VALIDATORS = {
    "whole": validators.whole(0, 64),
    "number": validators.number(0.5, 64),
    "flag": validators.flag(),
    "choice": validators.choice("cpu", "cuda"),
    "memory": validators.memory("1Mi", "4Gi"),
    "name": validators.name(40, ("grey", "kube-")),
    "path": validators.path(),
    "word": validators.word(),
    "strings": validators.strings(validators.HOST, "hosts", '["img.example.com"]'),
    "labels": validators.labels(),
    "shares": validators.shares(0.5),
    "shapes": validators.shapes(),
    "levels": validators.levels(10),
    "steps": validators.steps(),
    "margins": validators.margins(),
    "counters": validators.counters(),
}


def takes(validator: Validator, value: Any) -> bool:
    try:
        validator.convert(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


@pytest.mark.parametrize("name", VALIDATORS)
def test_every_validator_takes_its_own_example(name: str) -> None:
    validator = VALIDATORS[name]
    assert takes(validator, ast.literal_eval(validator.example))
    assert validator.allowed


@pytest.mark.parametrize("name", VALIDATORS)
def test_any_literal_is_converted_or_refused(name: str) -> None:
    @given(LITERALS)
    def check(value: Any) -> None:
        if takes(VALIDATORS[name], value):
            converted = VALIDATORS[name].convert(value)
            assert VALIDATORS[name].convert(converted) == converted

    check()


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("7", 7),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1.5G", 1_500_000_000),
        ("512Mi", 512 * 2**20),
        ("4Gi", 4 * 2**30),
        ("0.5Gi", 2**29),
        ("64Ti", 64 * 2**40),
        ("2M", 2_000_000),
        ("3T", 3 * 10**12),
    ],
)
def test_a_quantity_has_its_bytes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


@pytest.mark.parametrize("text", ["", "Gi", "4 Gi", "4gi", "4GB", "-1Gi", "1e3", "100m", ".5Gi", "1.Gi", "4Gi\n", "٤Gi"])
def test_text_of_another_form_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match=r"^" + "".join(f"\\u{ord(c):04x}" for c in text) + "$"):
        size_in_bytes(text)


KEPT: dict[str, list[Any]] = {
    "name": ["demo", "a", "a-b", "a1", "x" * 40, "greyhound", "kube"],
    "path": ["", "a", "model/a.onnx", "model/large/ä b.onnx", "..a/b"],
    "strings": [("img.example.com",), ("*.example.com", "a"), (), ("a.b",) * 64],
    "labels": [{"pool": "gpu", "x.io/a": ""}],
}
REFUSED: dict[str, list[Any]] = {
    "whole": [-1, 65, 1.5, True, False, "1", None, [1], 1j, math.inf, -math.inf, NOT_A_NUMBER, HUGE],
    "number": [0.4, 64.1, True, "1", None, math.inf, NOT_A_NUMBER, HUGE, 1j],
    "flag": [2, -1, 1.0, "True", None, []],
    "choice": ["CPU", "", "rocm", 0, None, ["cpu"]],
    "memory": ["1Ki", "5Gi", 4, "4 Gi", None, "9" * 400],
    "name": ["", "Demo", "1a", "a-", "-a", "a_b", "a.b", "a b", "x" * 41, "grey", "kube-", "kube-system", "demo\n", "dämo", 7],
    "path": ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", "a\0b", None, 3],
    "word": ["a\nb", "x" * 201, None, 1, "\ud800"],
    "strings": ["img.example.com", ["*"], ["a.*"], ["A.b"], ["a", 1], ["a\n"], ["a"] * 65, {"a": 1}],
    "labels": [{"a": 1}, {1: "a"}, {"": "a"}, {"a": "b c"}, {"-": "a"}, ["a"], {f"k{n}": "v" for n in range(65)}],
    "shares": [
        {"a": 0.5},
        {"a": -1},
        {"a": "2"},
        {"a": True},
        {"a": 1025},
        {"a": NOT_A_NUMBER},
        {"": 1},
        {1: 1},
        {"a\n": 1},
        2,
    ],
    "shapes": [{"a": [0]}, {"a": [-1]}, {"a": [1.0]}, {"a": [True]}, {"a": 3}, {1: [3]}, {"a": [65537]}, [3]],
    "levels": [[1], [2, 1], [0, 1], [1, 11], [1, 2, 3], ["1", 2], [True, 2], 1],
    "steps": [[5, 5], [0], [51], [25, 5], list(range(1, 22)), 5, ["5"]],
    "margins": [[0.1, 0.1], [0, 0.1, 0.1], [0.1] * 4, 0.1],
    "counters": [{"faces": 0.1}, {"a_total": 0}, {"a_total": True}, {f"a{n}_total": 0.1 for n in range(17)}, ["a_total"]],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in KEPT.items() for value in values])
def test_an_allowed_value_is_kept(name: str, value: Any) -> None:
    assert VALIDATORS[name].convert(value) == value


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_any_other_value_is_refused(name: str, value: Any) -> None:
    assert not takes(VALIDATORS[name], value)


@pytest.mark.parametrize(
    ("name", "value", "converted"),
    [
        *[("whole", value, whole) for value, whole in ((0, 0), (64, 64), (1.0, 1), (-0.0, 0))],
        *[("flag", value, bool(value)) for value in (True, False, 1, 0)],
        ("number", 2, 2.0),
        ("strings", ["a", "b"], ("a", "b")),
        ("shares", {"detector": 2}, {"detector": 2.0}),
        ("shapes", {"images": [3, 224, 224], "n": ()}, {"images": (3, 224, 224), "n": ()}),
        ("levels", [1, 2], (1.0, 2.0)),
        ("steps", [5, 25.0], (5, 25)),
    ],
)
def test_a_value_becomes_one_of_its_settings_type(name: str, value: Any, converted: Any) -> None:
    assert repr(VALIDATORS[name].convert(value)) == repr(converted)


def test_a_taint_is_key_value_and_effect_and_text_of_another_form_is_not() -> None:
    taints = ["a", "a=b", "a=b:NoSchedule", "x.io/gpu:NoExecute", "a=:PreferNoSchedule"]
    texts = [*taints, "", "=b", "a:No", "a b", "a=b=c", "a:NoSchedule:NoExecute"]
    assert [text for text in texts if re.fullmatch(validators.TOLERATION, text)] == taints
