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

EVERY_KIND = {
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
    "steps": validators.steps(),
    "margins": validators.margins(),
    "counters": validators.counters(),
}


def takes(kind: Validator, value: Any) -> bool:
    try:
        kind.convert(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


@pytest.mark.parametrize("name", EVERY_KIND)
def test_every_kind_takes_its_own_example(name: str) -> None:
    kind = EVERY_KIND[name]
    assert takes(kind, ast.literal_eval(kind.example))
    assert kind.allowed


@pytest.mark.parametrize("name", EVERY_KIND)
def test_any_literal_is_converted_or_refused(name: str) -> None:
    @given(LITERALS)
    def check(value: Any) -> None:
        if takes(EVERY_KIND[name], value):
            converted = EVERY_KIND[name].convert(value)
            assert EVERY_KIND[name].convert(converted) == converted

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
def test_what_is_no_quantity_has_no_bytes(text: str) -> None:
    with pytest.raises(ValueError, match=r"^" + "".join(f"\\u{ord(c):04x}" for c in text) + "$"):
        size_in_bytes(text)


@pytest.mark.parametrize(("value", "whole"), [(0, 0), (64, 64), (1.0, 1), (-0.0, 0)])
def test_a_whole_number_may_be_written_with_a_point(value: Any, whole: int) -> None:
    converted = validators.whole(0, 64).convert(value)
    assert converted == whole
    assert type(converted) is int


@pytest.mark.parametrize("value", [-1, 65, 1.5, True, False, "1", None, [1], 1j, math.inf, -math.inf, NOT_A_NUMBER, HUGE])
def test_what_is_not_whole_is_refused(value: Any) -> None:
    assert not takes(validators.whole(0, 64), value)


@pytest.mark.parametrize("value", [0.4, 64.1, True, "1", None, math.inf, NOT_A_NUMBER, HUGE, 1j])
def test_what_is_no_number_in_range_is_refused(value: Any) -> None:
    assert not takes(validators.number(0.5, 64), value)


def test_a_number_becomes_a_float() -> None:
    converted = validators.number(0, 64).convert(2)
    assert converted == 2.0
    assert type(converted) is float


@pytest.mark.parametrize(("value", "meaning"), [(True, True), (False, False), (1, True), (0, False)])
def test_zero_and_one_are_flags(value: Any, meaning: bool) -> None:
    assert validators.flag().convert(value) is meaning


@pytest.mark.parametrize("value", [2, -1, 1.0, "True", None, []])
def test_nothing_else_is_a_flag(value: Any) -> None:
    assert not takes(validators.flag(), value)


@pytest.mark.parametrize("value", ["CPU", "", "rocm", 0, None, ["cpu"]])
def test_a_word_outside_the_choice_is_refused(value: Any) -> None:
    assert not takes(validators.choice("cpu", "cuda"), value)


@pytest.mark.parametrize("value", ["1Ki", "5Gi", 4, "4 Gi", None, "9" * 400])
def test_memory_outside_its_bounds_is_refused(value: Any) -> None:
    assert not takes(validators.memory("1Mi", "4Gi"), value)


@pytest.mark.parametrize("value", ["demo", "a", "a-b", "a1", "x" * 40, "greyhound", "kube"])
def test_a_dns_label_is_a_name(value: str) -> None:
    assert validators.name(40, ("grey", "kube-")).convert(value) == value


@pytest.mark.parametrize(
    "value", ["", "Demo", "1a", "a-", "-a", "a_b", "a.b", "a b", "x" * 41, "grey", "kube-", "kube-system", "demo\n", "dämo", 7]
)
def test_what_is_no_label_or_reserved_is_no_name(value: Any) -> None:
    assert not takes(validators.name(40, ("grey", "kube-")), value)


@pytest.mark.parametrize("value", ["", "a", "model/a.onnx", "model/large/ä b.onnx", "..a/b"])
def test_a_relative_path_is_a_path(value: str) -> None:
    assert validators.path().convert(value) == value


@pytest.mark.parametrize("value", ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "a\nb", "a\0b", None, 3])
def test_a_path_cannot_leave_the_folder(value: Any) -> None:
    assert not takes(validators.path(), value)


@pytest.mark.parametrize("value", ["a\nb", "x" * 201, None, 1, "\ud800"])
def test_a_word_is_short_and_on_one_line(value: Any) -> None:
    assert not takes(validators.word(), value)


@pytest.mark.parametrize("value", [["img.example.com"], ("*.example.com", "a"), [], ["a.b"] * 64])
def test_hosts_may_have_a_wild_first_label(value: Any) -> None:
    assert validators.strings(validators.HOST, "hosts", "[]").convert(value) == tuple(value)


@pytest.mark.parametrize("value", ["img.example.com", ["*"], ["a.*"], ["A.b"], ["a", 1], ["a\n"], ["a"] * 65, {"a": 1}])
def test_what_is_no_list_of_hosts_is_refused(value: Any) -> None:
    assert not takes(validators.strings(validators.HOST, "hosts", "[]"), value)


@pytest.mark.parametrize("taint", ["a", "a=b", "a=b:NoSchedule", "x.io/gpu:NoExecute", "a=:PreferNoSchedule"])
def test_a_taint_is_key_value_and_effect(taint: str) -> None:
    assert re.fullmatch(validators.TOLERATION, taint)


@pytest.mark.parametrize("taint", ["", "=b", "a:No", "a b", "a=b=c", "a:NoSchedule:NoExecute"])
def test_what_is_no_taint_does_not_match(taint: str) -> None:
    assert not re.fullmatch(validators.TOLERATION, taint)


def test_labels_are_kept_as_they_are() -> None:
    assert validators.labels().convert({"pool": "gpu", "x.io/a": ""}) == {"pool": "gpu", "x.io/a": ""}


@pytest.mark.parametrize(
    "value", [{"a": 1}, {1: "a"}, {"": "a"}, {"a": "b c"}, {"-": "a"}, ["a"], {f"k{n}": "v" for n in range(65)}]
)
def test_what_is_no_label_is_refused(value: Any) -> None:
    assert not takes(validators.labels(), value)


def test_shares_become_floats() -> None:
    assert validators.shares(0.5).convert({"detector": 2, "a b": 0.75}) == {"detector": 2.0, "a b": 0.75}
    assert type(validators.shares(0.5).convert({"detector": 2})["detector"]) is float


@pytest.mark.parametrize(
    "value",
    [{"a": 0.5}, {"a": -1}, {"a": "2"}, {"a": True}, {"a": 1025}, {"a": NOT_A_NUMBER}, {"": 1}, {1: 1}, {"a\n": 1}, [2], 2],
)
def test_what_is_no_share_is_refused(value: Any) -> None:
    assert not takes(validators.shares(0.5), value)


def test_shapes_become_tuples() -> None:
    assert validators.shapes().convert({"images": [3, 224, 224], "n": ()}) == {"images": (3, 224, 224), "n": ()}


@pytest.mark.parametrize(
    "value", [{"a": [0]}, {"a": [-1]}, {"a": [1.0]}, {"a": [True]}, {"a": 3}, {1: [3]}, {"a": [65537]}, [3]]
)
def test_what_is_no_shape_is_refused(value: Any) -> None:
    assert not takes(validators.shapes(), value)
