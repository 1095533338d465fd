"""The kinds of values that settings have: each kind describes itself and converts a literal.

Knows Python literals and what is wrong with one. Knows no setting by name.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MOST_ITEMS = 64  # of a list or a table
LOOSE_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
DOMAIN = r"(?=[a-z0-9.-]{1,253}/)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/"
OBJECT = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
LABEL_KEY = re.compile(rf"({DOMAIN})?[A-Za-z0-9]([A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
TOLERATION = re.compile(rf"({LABEL_KEY.pattern})(=({LABEL_VALUE.pattern}))?(:(NoSchedule|PreferNoSchedule|NoExecute))?")


@dataclass(frozen=True)
class Kind:
    """One kind of value.

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
    if not isinstance(value, dict) or len(value) > MOST_ITEMS:
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


def whole(low: int, high: int) -> Kind:
    """A whole number. 1. counts as 1, since older files write it so."""

    def convert(value: Any) -> int:
        _require(_is_number(value) and value == value // 1 and low <= value <= high)
        return int(value)

    return Kind(f"a whole number from {low} to {high}", str(max(low, 1)), convert)


def number(low: float, high: float) -> Kind:
    """A number, whole or not."""

    def convert(value: Any) -> float:
        _require(_is_number(value) and low <= value <= high)
        return float(value)

    return Kind(f"a number from {low:g} to {high:g}", f"{min(max(low, 1), high):g}", convert)


def levels(most: float) -> Kind:
    """Two numbers that rise: the first is a warning's, the second a critical one's."""

    def convert(value: Any) -> tuple[float, float]:
        _require(isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value)))
        low, high = value
        _require(0 < low <= high <= most)
        return float(low), float(high)

    return Kind(f"two numbers that rise, above 0 and to {most:g} at most", "[1, 2]", convert)


def flag() -> Kind:
    """True or False. 0 and 1 count too, since older files write them."""

    def convert(value: Any) -> bool:
        _require(value in (0, 1) and isinstance(value, bool | int))
        return bool(value)

    def near(value: Any) -> Iterator[bool]:
        if isinstance(value, str) and value.lower() in ("true", "yes", "on", "1"):
            yield True
        if isinstance(value, str) and value.lower() in ("false", "no", "off", "0"):
            yield False

    return Kind("True or False", "False", convert, near)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def convert(value: Any) -> str:
        _require(value in names)
        return _string(value)

    def near(value: Any) -> Iterator[str]:
        yield from (name for name in names if isinstance(value, str) and value.strip().lower() == name.lower())

    return Kind("one of " + ", ".join(f'"{name}"' for name in names), f'"{names[0]}"', convert, near)


def memory(low: str, high: str) -> Kind:
    """A quantity of memory, in Kubernetes' notation."""

    def convert(value: Any) -> str:
        _require(size_in_bytes(low) <= size_in_bytes(_string(value)) <= size_in_bytes(high))
        return _string(value)

    def near(value: Any) -> Iterator[str]:
        match = LOOSE_QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        units = ("Mi", "Gi") if match and not match[2] else (f"{match[2].upper()}i",) if match else ()
        yield from (f"{match[1]}{unit}" for unit in units if match)

    return Kind(f'a quantity from "{low}" to "{high}", with Ki, Mi, Gi, k, M or G', f'"{low}"', convert, near)


def name(longest: int, reserved: tuple[str, ...]) -> Kind:
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
    return Kind(f"{form}, and none of the reserved {words}", '"demo"', convert, near)


def path() -> Kind:
    """The path of a file inside the service's folder, or ""."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(text.isprintable() and "\\" not in text and not text.startswith("/"))
        _require(not text or all(part not in ("", ".", "..") for part in text.split("/")))
        return text

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str) and not value.startswith(("/", "\\")):
            yield "/".join(part for part in value.replace("\\", "/").split("/") if part not in ("", "."))

    return Kind("a path inside the service's folder, with / and no ..", '"model/model.onnx"', convert, near)


def word() -> Kind:
    """Any short string on one line."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(text.isprintable() and len(text) <= 200)
        return text

    return Kind("a string on one line, 200 characters at most", '""', convert)


def text(pattern: re.Pattern[str], allowed: str, example: str) -> Kind:
    """A string of one form. allowed: the form in words."""

    def convert(value: Any) -> str:
        found = _string(value)
        _require(pattern.fullmatch(found))
        return found

    return Kind(allowed, example, convert)


def strings(pattern: re.Pattern[str], each: str, example: str) -> Kind:
    """A list of strings of one form. each: the form in words."""

    def convert(value: Any) -> tuple[str, ...]:
        _require(isinstance(value, list | tuple) and len(value) <= MOST_ITEMS)
        _require(all(pattern.fullmatch(_string(item)) for item in value))
        return tuple(value)

    def near(value: Any) -> Iterator[list[str]]:
        if isinstance(value, str):
            yield [value]

    return Kind(f"a list of {each}, {MOST_ITEMS} at most", example, convert, near)


def labels() -> Kind:
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

    return Kind(f"a table of node labels, {MOST_ITEMS} at most", '{"pool": "gpu"}', convert, near)


def named(what: str, example: str) -> Kind:
    """The name of a Kubernetes object, or "". what: its resource kind with an article, as in "a Secret"."""

    def convert(value: Any) -> str:
        text = _string(value)
        _require(not text or (OBJECT.fullmatch(text) and len(text) <= 253))
        return text

    return Kind(f"{what}'s name, of lower-case letters, digits, - and ., or nothing", f'"{example}"', convert)


def options() -> Kind:
    """A table of plain values for the service's own code."""

    def convert(value: Any) -> dict[str, str | int | float | bool]:
        table = _table(value)
        _require(all(_string(key).isidentifier() for key in table))
        _require(all(isinstance(item, str | int | float) for item in table.values()))
        return table

    return Kind(f"a table from names to strings, numbers, True or False, {MOST_ITEMS} at most", '{"threshold": 0.5}', convert)


def shares(above: float) -> Kind:
    """A table from a model's name to its share in GiB, each above a bound."""

    def convert(value: Any) -> dict[str, float]:
        table, gib = _table(value), number(0, 1024)
        _require(all(_string(key).isprintable() and 1 <= len(key) <= 200 for key in table))
        _require(all(share > above for share in table.values()))
        return {key: gib.convert(share) for key, share in table.items()}

    return Kind(f"a table from a model's name to a number above {above:g}, {MOST_ITEMS} at most", '{"detector": 2}', convert)


def shapes() -> Kind:
    """A table from a model's input to the sizes of one row, for inputs whose sizes the model leaves open."""

    def convert(value: Any) -> dict[str, tuple[int, ...]]:
        _require(isinstance(value, dict))
        result = {}
        for key, sizes in value.items():
            _require(isinstance(sizes, list | tuple))
            _require(all(isinstance(size, int) and _is_number(size) and 1 <= size <= 65536 for size in sizes))
            result[_string(key)] = tuple(sizes)
        return result

    return Kind("a table from an input's name to the sizes of one row", '{"images": [3, 224, 224]}', convert)
