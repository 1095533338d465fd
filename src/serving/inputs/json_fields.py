"""Fields of a client's JSON, type by type, and how a client's values are shown in error messages.

Knows JSON's types and words. Does not know which fields a protocol has.
"""

from typing import Any, TypeVar

from serving.base.errors import BadInput, TooLarge
from serving.models.tensors import ModelSpec, TensorSpec

T = TypeVar("T")

LONGEST_SHOWN = 60
_WORDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


def show(value: object) -> str:
    """Return a JSON value for an error message: short whatever its size, and on one line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return _WORDS[type(value)]
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return repr(value[:LONGEST_SHOWN]) + "..."
    return repr(value)


def field(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T | None:
    """Return an optional field, None where it is missing or null. Raises BadInput where it is of another type."""
    value = owner.get(key)
    if value is None:
        return None
    if type(value) is not kind:  # isinstance takes true for an int
        raise BadInput(f"{key!r} of {where} must be {_WORDS[kind]}, not {show(value)}")
    return value


def needed(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """Return a field that must be there. Raises BadInput where it is missing, null or of another type."""
    value = field(owner, key, kind, where)
    if value is None:
        raise BadInput(f"{where} has no {key!r}; it must be {_WORDS[kind]}")
    return value


def json_object(value: object, where: str) -> dict[str, Any]:
    """Return a value that must be a JSON object. Raises BadInput for any other."""
    if not isinstance(value, dict):
        raise BadInput(f"{where} must be {_WORDS[dict]}, not {show(value)}")
    return value


def named_input(spec: ModelSpec, name: str) -> TensorSpec:
    """Return the model's input of a name. Raises BadInput, with the names there are, for any other."""
    for tensor in spec.inputs:
        if tensor.name == name:
            return tensor
    known = ", ".join(tensor.name for tensor in spec.inputs)
    raise BadInput(f"model {spec.name} has no input {show(name)}; its inputs are {known}")


def check_rows(spec: ModelSpec, shape: tuple[int, ...], max_rows: int | None, where: str) -> None:
    """Raise TooLarge for more rows than a request may have, before any data is converted."""
    if spec.batched and max_rows is not None and shape and shape[0] > max_rows:
        raise TooLarge(f"{where} has {shape[0]} rows; a request may have {max_rows}: send several requests")
