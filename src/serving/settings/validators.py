"""The validators of settings: each describes the values that it allows and converts a literal. Knows no setting by name."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MAX_ITEMS = 64  # of a list or a table
MAX_STEPS, MAX_COUNTERS = 20, 16  # of a canary
COUNTER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,190}_total")
LOOSE_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
HOST = r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
DOMAIN = r"(?=[a-z0-9.-]{1,253}/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/"
OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
LABEL_KEY = re.compile(rf"({DOMAIN})?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
TOLERATION = rf"({LABEL_KEY.pattern})(=({LABEL_VALUE.pattern}))?(:(NoSchedule|PreferNoSchedule|NoExecute))?"


@dataclass(frozen=True)
class Validator:
    """The check of one kind of value.

    convert: return a literal as the setting's type. Raises ValueError where the literal is not allowed.
    near: yield the values that a literal that is not allowed may stand for, the most likely first.
    """

    allowed: str  # The values that it allows, as the end of a sentence: "a whole number from 1 to 64".
    example: str  # An allowed literal, as Python source.
    convert: Callable[[Any], Any]
    near: Callable[[Any], Iterator[Any]] = lambda value: iter(())


def _require(allowed: object) -> None:
    if not allowed:
        raise ValueError


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _table(value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise ValueError
    return dict(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def size_in_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity: "4Gi", "512Mi", "1.5G".

    Raises ValueError where the text is no such quantity.
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


def levels(most: float) -> Validator:
    """Two numbers that rise: the first is a warning's, the second a critical one's."""

    def convert(value: Any) -> tuple[float, float]:
        _require(isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)))
        low, high = value
        _require(0 < low <= high <= most)
        return float(low), float(high)

    return Validator(f"two numbers that rise, above 0 and to {most:g} at most", "[1, 2]", convert)


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


def choice(*names: str) -> Validator:
    """One of a few words."""

    def convert(value: Any) -> str:
        _require(value in names)
        return _string(value)

    def near(value: Any) -> Iterator[str]:
        yield from (name for name in names if isinstance(value, str) and value.strip().lower() == name.lower())

    return Validator("one of " + ", ".join(f'"{name}"' for name in names), f'"{names[0]}"', convert, near)


def memory(low: str, high: str) -> Validator:
    """A quantity of memory, in Kubernetes' notation."""

    def convert(value: Any) -> str:
        _require(size_in_bytes(low) <= size_in_bytes(_string(value)) <= size_in_bytes(high))
        return _string(value)

    def near(value: Any) -> Iterator[str]:
        match = LOOSE_QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        units = ("Mi", "Gi") if match and not match[2] else (f"{match[2].upper()}i",) if match else ()
        yield from (f"{match[1]}{unit}" for unit in units if match)

    return Validator(f'a quantity from "{low}" to "{high}", with Ki, Mi, Gi, k, M or G', f'"{low}"', convert, near)


def name(longest: int, reserved: tuple[str, ...]) -> Validator:
    """A DNS label, since names become hosts, paths and objects.

    longest: characters. reserved: names that are not allowed. A reserved name that ends in - forbids all that begin with it.
    """

    def convert(value: Any) -> str:
        text = _string(value)
        _require(LABEL.fullmatch(text) and len(text) <= longest)
        _require(text not in reserved and not any(word.endswith("-") and text.startswith(word) for word in reserved))
        return text

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            letters = re.sub("[^a-z0-9]+", "-", value.lower()).strip("-")
            yield letters[:longest].rstrip("-")
            yield f"my-{letters}"

    words = ", ".join(word + "*" if word.endswith("-") else word for word in reserved)
    form = f"lower-case letters, digits and -, from a letter, {longest} at most"
    return Validator(f"{form}, and none of the reserved {words}", '"demo"', convert, near)


def path() -> Validator:
    """The path of a file inside the service's folder, or ""."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(text.isprintable() and "\\" not in text and not text.startswith("/"))
        _require(not text or all(part not in ("", ".", "..") for part in text.split("/")))
        return text

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str) and not value.startswith(("/", "\\")):
            yield "/".join(part for part in value.replace("\\", "/").split("/") if part not in ("", "."))

    return Validator("a path inside the service's folder, with / and no ..", '"model/model.onnx"', convert, near)


def word() -> Validator:
    """Any short string on one line."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(text.isprintable() and len(text) <= 200)
        return text

    return Validator("a string on one line, 200 characters at most", '""', convert)


def text(pattern: str, allowed: str, example: str) -> Validator:
    """A string that matches a pattern as a whole. allowed: the form in words."""
    form = re.compile(pattern)

    def convert(value: Any) -> str:
        found = _string(value)
        _require(form.fullmatch(found))
        return found

    return Validator(allowed, example, convert)


def strings(pattern: str, each: str, example: str) -> Validator:
    """A list of strings that each match a pattern as a whole. each: the form in words."""
    form = re.compile(pattern)

    def convert(value: Any) -> tuple[str, ...]:
        _require(isinstance(value, list | tuple) and len(value) <= MAX_ITEMS)
        _require(all(form.fullmatch(_string(item)) for item in value))
        return tuple(value)

    def near(value: Any) -> Iterator[list[str]]:
        if isinstance(value, str):
            yield [value]

    return Validator(f"a list of {each}, {MAX_ITEMS} at most", example, convert, near)


def labels() -> Validator:
    """A table of Kubernetes labels."""

    def convert(value: Any) -> dict[str, str]:
        table = _table(value)
        _require(all(LABEL_KEY.fullmatch(_string(key)) for key in table))
        _require(all(LABEL_VALUE.fullmatch(_string(text)) for text in table.values()))
        return table

    def near(value: Any) -> Iterator[dict[str, str]]:
        if isinstance(value, dict):
            yield {key: str(text).lower() if isinstance(text, bool) else str(text) for key, text in value.items()}
        pairs = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        if pairs and all(isinstance(pair, str) and "=" in pair for pair in pairs):
            yield dict(pair.split("=", 1) for pair in pairs)

    return Validator(f"a table of node labels, {MAX_ITEMS} at most", '{"pool": "gpu"}', convert, near)


def named(what: str, example: str) -> Validator:
    """The name of a Kubernetes object, or "". what: its resource kind with an article, as in "a Secret"."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(not text or (OBJECT.fullmatch(text) and len(text) <= 253))
        return text

    return Validator(f"{what}'s name, of lower-case letters, digits, - and ., or nothing", f'"{example}"', convert)


def options() -> Validator:
    """A table of plain values for the service's own code."""

    def convert(value: Any) -> dict[str, str | int | float | bool]:
        table = _table(value)
        _require(all(_string(key).isidentifier() for key in table))
        _require(all(isinstance(item, str | int | float) for item in table.values()))
        return table

    return Validator(
        f"a table from names to strings, numbers, True or False, {MAX_ITEMS} at most", '{"threshold": 0.5}', convert
    )


def shares(above: float) -> Validator:
    """A table from a model's name to its share in GiB, each above a bound."""

    def convert(value: Any) -> dict[str, float]:
        table, gib = _table(value), number(0, 1024)
        _require(all(_string(key).isprintable() and 1 <= len(key) <= 200 for key in table))
        _require(all(share > above for share in table.values()))
        return {key: gib.convert(share) for key, share in table.items()}

    return Validator(
        f"a table from a model's name to a number above {above:g}, {MAX_ITEMS} at most", '{"detector": 2}', convert
    )


def shapes() -> Validator:
    """A table from a model's input to the sizes of one row, for inputs whose sizes the model leaves open."""

    def convert(value: Any) -> dict[str, tuple[int, ...]]:
        _require(isinstance(value, dict))
        result = {}
        for key, sizes in value.items():
            _require(isinstance(sizes, list | tuple))
            _require(all(isinstance(size, int) and _is_number(size) and 1 <= size <= 65536 for size in sizes))
            result[_string(key)] = tuple(sizes)
        return result

    return Validator("a table from an input's name to the sizes of one row", '{"images": [3, 224, 224]}', convert)


MARGIN = number(0.0001, 1)


def steps() -> Validator:
    """Shares of a canary in %, each above the one before. The baseline gets as much, so that 50 is the most."""
    share = whole(1, 50)

    def convert(value: Any) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or len(value) > MAX_STEPS:
            raise ValueError
        found = tuple(share.convert(each) for each in value)
        if any(after <= before for before, after in pairwise(found)):
            raise ValueError
        return found

    return Validator(f"a list of whole numbers that rise, from 1 to 50, {MAX_STEPS} at most", "[5, 25, 50]", convert)


def margins() -> Validator:
    """Three margins."""

    def convert(value: Any) -> tuple[float, float, float]:
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError
        first, second, third = (MARGIN.convert(each) for each in value)
        return first, second, third

    return Validator("three numbers from 0.0001 to 1", "[0.1, 0.03, 0.015]", convert)


def counters() -> Validator:
    """A table from a counter of the service's own to its margin."""

    def convert(value: Any) -> dict[str, float]:
        if not isinstance(value, dict) or len(value) > MAX_COUNTERS:
            raise ValueError
        if not all(isinstance(name, str) and COUNTER.fullmatch(name) for name in value):
            raise ValueError
        return {name: MARGIN.convert(margin) for name, margin in value.items()}

    words = f"a table from a counter, such as faces_missed_total, to a number from 0.0001 to 1, {MAX_COUNTERS} at most"
    return Validator(words, '{"faces_missed_total": 0.02}', convert)
