"""Fields of a client's JSON, checked for their types, and how a client's values are shown in error messages.

Knows JSON's types. Does not know which fields a protocol has.
"""

from typing import Any, TypeVar

from serving.base.errors import BadInput, TooLarge
from serving.models.tensors import ModelSpec, TensorSpec

T = TypeVar("T")

LONGEST_SHOWN = 60
_TYPE_NAMES: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a whole number",
    bool: "true or false",
}


def show(value: object) -> str:
    """Return a JSON value for an error message: on one line, and short for a value of any size."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return _TYPE_NAMES[type(value)]
    if isinstance(value, str) and len(value) > LONGEST_SHOWN:
        return repr(value[:LONGEST_SHOWN]) + "..."
    return repr(value)


def optional_field(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T | None:
    """Return a field, None where it is missing or null. Raises BadInput for another type. where: the owner, in its message."""
    value = owner.get(key)
    if value is None:
        return None
    if type(value) is not kind:  # isinstance takes true for an int
        raise BadInput(f"{key!r} of {where} must be {_TYPE_NAMES[kind]}, not {show(value)}")
    return value


def required_field(owner: dict[str, Any], key: str, kind: type[T], where: str) -> T:
    """Return a field that must be there. Raises BadInput where it is missing, null or of another type."""
    value = optional_field(owner, key, kind, where)
    if value is None:
        raise BadInput(f"{where} has no {key!r}; it must be {_TYPE_NAMES[kind]}")
    return value


def json_object(value: object, where: str) -> dict[str, Any]:
    """Return a value that must be a JSON object. Raises BadInput for any other."""
    if not isinstance(value, dict):
        raise BadInput(f"{where} must be {_TYPE_NAMES[dict]}, not {show(value)}")
    return value


def named_input(spec: ModelSpec, name: str) -> TensorSpec:
    """Return the model's input of a name. Raises BadInput, which lists the inputs, where there is none."""
    for tensor in spec.inputs:
        if tensor.name == name:
            return tensor
    known = ", ".join(tensor.name for tensor in spec.inputs)
    raise BadInput(f"model {spec.name} has no input {show(name)}; its inputs are {known}")


def check_rows(spec: ModelSpec, shape: tuple[int, ...], max_rows: int | None, where: str) -> None:
    """Raise TooLarge for more rows than a request may have, before any data is converted. max_rows: None for no limit."""
    if spec.batched and max_rows is not None and shape and shape[0] > max_rows:
        raise TooLarge(f"{where} has {shape[0]} rows; a request may have {max_rows}: send several requests")
