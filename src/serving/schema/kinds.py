"""What a setting's value may be: each kind describes itself and converts a literal.

Knows Python literals and how to say what is wrong with one. Knows no setting by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
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

    allowed: what may stand there, as the end of a sentence ("a whole number from 1 to 64").
    example: a literal that is allowed, as Python source.
    convert: takes a literal; returns the value as the setting's type; raises ValueError when it is not allowed.
    """

    allowed: str
    example: str
    convert: Callable[[Any], Any]


def size_in_bytes(quantity: str) -> int:
    """Return the bytes of a Kubernetes quantity: "4Gi", "512Mi", "1.5G".

    Source: Kubernetes' resource quantities, without exponents and milli-units.
    Raises ValueError when the text is no such quantity.
    """
    match = QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(quantity)
    return int(float(match[1]) * SUFFIXES.get(match[2], 1))


def whole(low: int, high: int) -> Kind:
    """A whole number; 1. counts as 1, as older files write it."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or not low <= value <= high:
            raise ValueError
        return int(value)

    return Kind(f"a whole number from {low} to {high}", str(max(low, 1)), convert)


def number(low: float, high: float) -> Kind:
    """A number, whole or not."""

    def convert(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Kind(f"a number from {low:g} to {high:g}", f"{max(low, 1):g}", convert)


def flag() -> Kind:
    """True or False; 0 and 1 count, as older files write them."""

    def convert(value: Any) -> bool:
        if value not in (0, 1) or not isinstance(value, bool | int):
            raise ValueError
        return bool(value)

    return Kind("True or False", "False", convert)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return Kind("one of " + ", ".join(f'"{name}"' for name in names), f'"{names[0]}"', convert)


def memory(low: str, high: str) -> Kind:
    """A quantity of memory as Kubernetes writes it."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not size_in_bytes(low) <= size_in_bytes(value) <= size_in_bytes(high):
            raise ValueError
        return value

    return Kind(f'a quantity from "{low}" to "{high}", with Ki, Mi, Gi, k, M or G', f'"{low}"', convert)


def name(longest: int, reserved: tuple[str, ...]) -> Kind:
    """A DNS label, since names become hosts, paths and objects. A reserved word that ends in - forbids what it begins."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not LABEL.fullmatch(value) or len(value) > longest:
            raise ValueError
        if value in reserved or any(word.endswith("-") and value.startswith(word) for word in reserved):
            raise ValueError
        return value

    words = ", ".join(word + "*" if word.endswith("-") else word for word in reserved)
    return Kind(f"lower-case letters, digits and -, from a letter, {longest} at most, none of {words}", '"demo"', convert)


def path() -> Kind:
    """A file inside the service's folder, or nothing."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or "\\" in value or value.startswith("/"):
            raise ValueError
        if any(part in ("", ".", "..") for part in value.split("/")) and value:
            raise ValueError
        return value

    return Kind("a path inside the service's folder, with / and no ..", '"model/model.onnx"', convert)


def word() -> Kind:
    """Any short text on one line."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise ValueError
        return value

    return Kind("a text on one line, 200 characters at most", '""', convert)


def strings(pattern: re.Pattern[str], each: str, example: str) -> Kind:
    """A list of texts of one form."""

    def convert(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) and pattern.fullmatch(v) for v in value):
            raise ValueError
        if len(value) > 64:
            raise ValueError
        return tuple(value)

    return Kind(f"a list of {each}, 64 at most", example, convert)


def labels() -> Kind:
    """A table of Kubernetes labels."""

    def convert(value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or len(value) > 64:
            raise ValueError
        for key, text in value.items():
            if not isinstance(key, str) or not LABEL_KEY.fullmatch(key):
                raise ValueError
            if not isinstance(text, str) or not LABEL_VALUE.fullmatch(text):
                raise ValueError
        return dict(value)

    return Kind("a table of node labels, 64 at most", '{"pool": "gpu"}', convert)


def named(what: str, example: str) -> Kind:
    """The name of an object of a kind, or nothing. what: the kind, as in "a Secret"."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or (value and (not OBJECT.fullmatch(value) or len(value) > 253)):
            raise ValueError
        return value

    return Kind(f"{what}'s name, of lower-case letters, digits, - and ., or nothing", f'"{example}"', convert)


def options() -> Kind:
    """A table of plain values that mean something to the service's own code alone."""

    def convert(value: Any) -> dict[str, str | int | float | bool]:
        if not isinstance(value, dict) or len(value) > 64:
            raise ValueError
        for key, item in value.items():
            if not isinstance(key, str) or not key.isidentifier() or not isinstance(item, str | int | float):
                raise ValueError
        return dict(value)

    return Kind("a table from names to texts, numbers, True or False, 64 at most", '{"threshold": 0.5}', convert)


def shapes() -> Kind:
    """A table from a model's input to the sizes of one row, for the dimensions a model leaves open."""

    def convert(value: Any) -> dict[str, tuple[int, ...]]:
        if not isinstance(value, dict):
            raise ValueError
        result = {}
        for key, sizes in value.items():
            if not isinstance(key, str) or not isinstance(sizes, list | tuple):
                raise ValueError
            if not all(isinstance(size, int) and not isinstance(size, bool) and 1 <= size <= 65536 for size in sizes):
                raise ValueError
            result[key] = tuple(sizes)
        return result

    return Kind("a table from an input's name to the sizes of one row", '{"images": [3, 224, 224]}', convert)
