"""What a setting's value may be: each kind describes itself and converts a literal.

Knows Python literals and how to say what is wrong with one. Knows no setting by name.
"""

import ast
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

SUFFIXES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
LONGEST_NEAR = 100  # characters of a text of which is guessed what was meant
ABOUT_A_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
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
    near: takes a literal that is not allowed; yields what may have been meant, the most likely first.
    """

    allowed: str
    example: str
    convert: Callable[[Any], Any]
    near: Callable[[Any], Iterator[Any]] = lambda value: iter(())


def nearest_value(kind: Kind, value: Any) -> str:
    """Return, as the end of a sentence, what a person who wrote a literal that is not allowed may have meant, or ""."""
    if isinstance(value, str) and len(value) > LONGEST_NEAR:
        return ""
    with suppress(ValueError, SyntaxError):  # of what cannot be written out, or is no literal
        near = next((meant for meant in kind.near(value) if _is_allowed(kind, meant)), None)
        if near is not None:
            return f"; did you mean {_literal(near)}?" if len(_literal(near)) <= LONGEST_NEAR else ""
        if isinstance(value, str) and _is_allowed(kind, ast.literal_eval(value)):
            return f"; drop the quotes: {value}"
    return ""


def _is_allowed(kind: Kind, value: Any) -> bool:
    try:
        kind.convert(value)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _literal(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value).replace("'", '"')


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

    def near(value: Any) -> Iterator[bool]:
        if isinstance(value, str) and value.lower() in ("true", "yes", "on", "1"):
            yield True
        if isinstance(value, str) and value.lower() in ("false", "no", "off", "0"):
            yield False

    return Kind("True or False", "False", convert, near)


def choice(*names: str) -> Kind:
    """One of a few words."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    def near(value: Any) -> Iterator[str]:
        yield from (name for name in names if isinstance(value, str) and value.strip().lower() == name.lower())

    return Kind("one of " + ", ".join(f'"{name}"' for name in names), f'"{names[0]}"', convert, near)


def memory(low: str, high: str) -> Kind:
    """A quantity of memory as Kubernetes writes it."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not size_in_bytes(low) <= size_in_bytes(value) <= size_in_bytes(high):
            raise ValueError
        return value

    def near(value: Any) -> Iterator[str]:
        match = ABOUT_A_QUANTITY.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        units = ("Mi", "Gi") if match and not match[2] else (f"{match[2].upper()}i",) if match else ()
        yield from (f"{match[1]}{unit}" for unit in units if match)

    return Kind(f'a quantity from "{low}" to "{high}", with Ki, Mi, Gi, k, M or G', f'"{low}"', convert, near)


def name(longest: int, reserved: tuple[str, ...]) -> Kind:
    """A DNS label, since names become hosts, paths and objects. A reserved word that ends in - forbids what it begins."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not LABEL.fullmatch(value) or len(value) > longest:
            raise ValueError
        if value in reserved or any(word.endswith("-") and value.startswith(word) for word in reserved):
            raise ValueError
        return value

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            letters = re.sub("[^a-z0-9]+", "-", value[:LONGEST_NEAR].lower()).strip("-")
            yield letters[:longest].rstrip("-")
            yield f"my-{letters}"

    words = ", ".join(word + "*" if word.endswith("-") else word for word in reserved)
    form = f"lower-case letters, digits and -, from a letter, {longest} at most"
    return Kind(f"{form}, and none of the reserved {words}", '"demo"', convert, near)


def path() -> Kind:
    """A file inside the service's folder, or nothing."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable() or "\\" in value or value.startswith("/"):
            raise ValueError
        if any(part in ("", ".", "..") for part in value.split("/")) and value:
            raise ValueError
        return value

    def near(value: Any) -> Iterator[str]:
        if isinstance(value, str) and not value.startswith(("/", "\\")):
            yield "/".join(part for part in value.replace("\\", "/").split("/") if part not in ("", "."))

    return Kind("a path inside the service's folder, with / and no ..", '"model/model.onnx"', convert, near)


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

    def near(value: Any) -> Iterator[list[str]]:
        if isinstance(value, str):
            yield [value]

    return Kind(f"a list of {each}, 64 at most", example, convert, near)


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

    def near(value: Any) -> Iterator[dict[str, str]]:
        if isinstance(value, dict):
            yield {key: str(text).lower() if isinstance(text, bool) else str(text) for key, text in value.items()}
        pairs = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        if pairs and all(isinstance(pair, str) and "=" in pair for pair in pairs):
            yield dict(pair.split("=", 1) for pair in pairs)

    return Kind("a table of node labels, 64 at most", '{"pool": "gpu"}', convert, near)


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


def shares(above: float) -> Kind:
    """A table from a model's name to the GiB that it gets, each above a bound."""

    def convert(value: Any) -> dict[str, float]:
        if not isinstance(value, dict) or len(value) > 64:
            raise ValueError
        for key in value:
            if not isinstance(key, str) or not key.isprintable() or not 1 <= len(key) <= 200:
                raise ValueError
        gib = number(0, 1024)
        if not all(share > above for share in value.values()):
            raise ValueError
        return {key: gib.convert(share) for key, share in value.items()}

    return Kind(f"a table from a model's name to a number above {above:g}, 64 at most", '{"detector": 2}', convert)


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
