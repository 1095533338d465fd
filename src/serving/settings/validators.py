"""The validators of settings: each describes the values that it allows and converts a literal. Knows no setting by name."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any

SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MAX_ITEMS = 64  # of a list or a table
MAX_STEPS, MAX_COUNTERS = 20, 16  # of a canary
COUNTER = r"[a-zA-Z_][a-zA-Z0-9_]{0,190}_total"
LOOSE_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
HOST = r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
DOMAIN = r"(?=[a-z0-9.-]{1,253}/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/"
OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
LABEL_KEY = rf"({DOMAIN})?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?"
LABEL_VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
TOLERATION = rf"({LABEL_KEY})(=({LABEL_VALUE}))?(:(NoSchedule|PreferNoSchedule|NoExecute))?"

Convert = Callable[[Any], Any]
Near = Callable[[Any], Iterator[Any]]


def nothing_near(value: Any) -> Iterator[Any]:
    """Suggest nothing."""
    yield from ()


@dataclass(frozen=True)
class Validator:
    """The check of one kind of value.

    convert: return a literal as the setting's type. Raises ValueError where the literal is not allowed.
    near: yield the values that a literal that is not allowed may stand for, the most likely first.
    """

    allowed: str  # The values that it allows, as the end of a sentence: "a whole number from 1 to 64".
    example: str  # An allowed literal, as Python source.
    convert: Convert
    near: Near = nothing_near


def _require(allowed: object) -> None:
    if not allowed:
        raise ValueError


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def string(value: Any) -> str:
    """Return a value that is a string. Raises ValueError for any other."""
    _require(isinstance(value, str))
    return str(value)


def size_in_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity: "4Gi", "512Mi", "1.5G".

    Raises ValueError for any other text.
    Source: Kubernetes' resource quantities, without exponents and milli-units.
    """
    match = QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(quantity)
    return int(float(match[1]) * SUFFIXES.get(match[2], 1))


def whole(low: int, high: int) -> Validator:
    """A whole number. 1. counts as 1, since older files write it so."""

    def convert(value: Any) -> int:
        _require(_is_number(value) and value == value // 1 and low <= value <= high)
        return int(value)

    return Validator(f"a whole number from {low} to {high}", str(max(low, 1)), convert)


def number(low: float, high: float) -> Validator:
    """A number, whole or not."""

    def convert(value: Any) -> float:
        _require(_is_number(value) and low <= value <= high)
        return float(value)

    return Validator(f"a number from {low:g} to {high:g}", f"{min(max(low, 1), high):g}", convert)


def flag() -> Validator:
    """True or False. 0 and 1 count too, since older files write them."""

    def convert(value: Any) -> bool:
        _require(value in (0, 1) and isinstance(value, bool | int))
        return bool(value)

    def near(value: Any) -> Iterator[bool]:
        if isinstance(value, str) and value.lower() in ("true", "yes", "on", "1"):
            yield True
        if isinstance(value, str) and value.lower() in ("false", "no", "off", "0"):
            yield False

    return Validator("True or False", "False", convert, near)


def string_where(is_allowed: Callable[[str], object], allowed: str, example: str, near: Near = nothing_near) -> Validator:
    """A string that a predicate allows."""

    def convert(value: Any) -> str:
        text = string(value)
        _require(is_allowed(text))
        return text

    return Validator(allowed, example, convert, near)


def list_of(
    each: Convert,
    allowed: str,
    example: str,
    near: Near = nothing_near,
    most: float = inf,
    is_allowed: Convert = lambda found: True,
) -> Validator:
    """A list, whose items `each` converts. is_allowed: a predicate of the whole. The result is a tuple."""

    def convert(value: Any) -> tuple[Any, ...]:
        _require(isinstance(value, list | tuple) and len(value) <= most)
        found = tuple(each(item) for item in value)
        _require(is_allowed(found))
        return found

    return Validator(allowed, example, convert, near)


def table_of(
    is_key: Callable[[str], object],
    each: Convert,
    allowed: str,
    example: str,
    near: Near = nothing_near,
    most: float = MAX_ITEMS,
) -> Validator:
    """A table, whose keys are strings that a predicate allows, and whose values `each` converts."""

    def convert(value: Any) -> dict[str, Any]:
        _require(isinstance(value, dict) and len(value) <= most and all(is_key(string(key)) for key in value))
        return {key: each(item) for key, item in value.items()}

    return Validator(allowed, example, convert, near)


def choice(*names: str) -> Validator:
    """One of a few words."""

    def near(value: Any) -> Iterator[str]:
        yield from (name for name in names if isinstance(value, str) and value.strip().lower() == name.lower())

    return string_where(names.__contains__, "one of " + ", ".join(f'"{name}"' for name in names), f'"{names[0]}"', near)


def levels(most: float) -> Validator:
    """Two numbers that rise: the first is a warning's, the second a critical one's."""

    def rise(found: tuple[float, ...]) -> bool:
        return len(found) == 2 and 0 < found[0] <= found[1]

    allowed = f"two numbers that rise, above 0 and to {most:g} at most"
    return list_of(number(0, most).convert, allowed, "[1, 2]", is_allowed=rise)


def memory(low: str, high: str) -> Validator:
    """A quantity of memory, in Kubernetes' notation."""

    def is_allowed(text: str) -> bool:
        return size_in_bytes(low) <= size_in_bytes(text) <= size_in_bytes(high)

    def near(value: Any) -> Iterator[str]:
        match = LOOSE_QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        units = ("Mi", "Gi") if match and not match[2] else (f"{match[2].upper()}i",) if match else ()
        yield from (f"{match[1]}{unit}" for unit in units if match)

    return string_where(is_allowed, f'a quantity from "{low}" to "{high}", with Ki, Mi, Gi, k, M or G', f'"{low}"', near)


def name(longest: int, reserved: tuple[str, ...]) -> Validator:
    """A DNS label, since names become hosts, paths and objects.

    longest: characters. reserved: names that are not allowed. A reserved name that ends in - forbids all that begin with it.
    """

    def is_allowed(text: str) -> bool:
        is_reserved = text in reserved or any(word.endswith("-") and text.startswith(word) for word in reserved)
        return bool(LABEL.fullmatch(text)) and len(text) <= longest and not is_reserved

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            letters = re.sub("[^a-z0-9]+", "-", value.lower()).strip("-")
            yield letters[:longest].rstrip("-")
            yield f"my-{letters}"

    words = ", ".join(word + "*" if word.endswith("-") else word for word in reserved)
    form = f"lower-case letters, digits and -, from a letter, {longest} at most"
    return string_where(is_allowed, f"{form}, and none of the reserved {words}", '"demo"', near)


def path() -> Validator:
    """The path of a file inside the service's folder, or ""."""

    def is_allowed(text: str) -> bool:
        inside = not text or all(part not in ("", ".", "..") for part in text.split("/"))
        return inside and text.isprintable() and "\\" not in text

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str) and not value.startswith(("/", "\\")):
            yield "/".join(part for part in value.replace("\\", "/").split("/") if part not in ("", "."))

    return string_where(is_allowed, "a path inside the service's folder, with / and no ..", '"model/model.onnx"', near)


def word() -> Validator:
    """Any short string on one line."""
    return string_where(
        lambda text: text.isprintable() and len(text) <= 200, "a string on one line, 200 characters at most", '""'
    )


def text(pattern: str, allowed: str, example: str) -> Validator:
    """A string that matches a pattern as a whole. allowed: the form in words."""
    return string_where(re.compile(pattern).fullmatch, allowed, example)


def named(what: str, example: str) -> Validator:
    """The name of a Kubernetes object, or "". what: its resource kind with an article, as in "a Secret"."""
    allowed = f"{what}'s name, of lower-case letters, digits, - and ., or nothing"
    return string_where(lambda text: not text or (OBJECT.fullmatch(text) and len(text) <= 253), allowed, f'"{example}"')


def strings(pattern: str, each: str, example: str) -> Validator:
    """A list of strings that each match a pattern as a whole. each: the form in words."""

    def near(value: Any) -> Iterator[list[str]]:
        if isinstance(value, str):
            yield [value]

    one = text(pattern, each, example)
    return list_of(one.convert, f"a list of {each}, {MAX_ITEMS} at most", example, near, MAX_ITEMS)


def labels() -> Validator:
    """A table of Kubernetes labels."""

    def near(value: Any) -> Iterator[dict[str, str]]:
        if isinstance(value, dict):
            yield {key: str(text).lower() if isinstance(text, bool) else str(text) for key, text in value.items()}
        pairs = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        if pairs and all(isinstance(pair, str) and "=" in pair for pair in pairs):
            yield dict(pair.split("=", 1) for pair in pairs)

    value = text(LABEL_VALUE, "", "")
    allowed = f"a table of node labels, {MAX_ITEMS} at most"
    return table_of(re.compile(LABEL_KEY).fullmatch, value.convert, allowed, '{"pool": "gpu"}', near)


def options() -> Validator:
    """A table of plain values for the service's own code."""

    def convert(value: Any) -> str | int | float | bool:
        _require(isinstance(value, str | int | float))
        return value  # type: ignore[no-any-return]

    allowed = f"a table from names to strings, numbers, True or False, {MAX_ITEMS} at most"
    return table_of(str.isidentifier, convert, allowed, '{"threshold": 0.5}')


def shares(above: float) -> Validator:
    """A table from a model's name to its share in GiB, each above a bound."""

    def convert(value: Any) -> float:
        _require(_is_number(value) and above < value <= 1024)
        return float(value)

    allowed = f"a table from a model's name to a number above {above:g}, {MAX_ITEMS} at most"
    return table_of(lambda key: key.isprintable() and 1 <= len(key) <= 200, convert, allowed, '{"detector": 2}')


def shapes() -> Validator:
    """A table from a model's input to the sizes of one row, for inputs whose sizes the model leaves open."""

    def size(value: Any) -> int:
        _require(isinstance(value, int) and _is_number(value) and 1 <= value <= 65536)
        return int(value)

    sizes = list_of(size, "", "")
    allowed = "a table from an input's name to the sizes of one row"
    return table_of(lambda key: True, sizes.convert, allowed, '{"images": [3, 224, 224]}', most=inf)


MARGIN = number(0.0001, 1)


def steps() -> Validator:
    """Shares of a canary in %, each above the one before. The baseline gets as much, so that 50 is the most."""

    def rise(found: tuple[int, ...]) -> bool:
        return all(before < after for before, after in pairwise(found))

    allowed = f"a list of whole numbers that rise, from 1 to 50, {MAX_STEPS} at most"
    return list_of(whole(1, 50).convert, allowed, "[5, 25, 50]", most=MAX_STEPS, is_allowed=rise)


def margins() -> Validator:
    """Three margins."""
    words = "three numbers from 0.0001 to 1"
    return list_of(MARGIN.convert, words, "[0.1, 0.03, 0.015]", is_allowed=lambda found: len(found) == 3)


def counters() -> Validator:
    """A table from a counter of the service's own to its margin."""
    words = f"a table from a counter, such as faces_missed_total, to a number from 0.0001 to 1, {MAX_COUNTERS} at most"
    return table_of(re.compile(COUNTER).fullmatch, MARGIN.convert, words, '{"faces_missed_total": 0.02}', most=MAX_COUNTERS)
