"""The files of a new service, as data: made for a model, or taken from an example under another name.

Knows a model's tensors and the texts of templates/new. Opens no file.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Template

from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec

DEMO = ("like", "demo")  # the username and service_name of the root's value.py, as the platform brings it
SECONDS = 30  # of init_delay_second, at least
READ_RATE = 50 * 2**20  # bytes a second at which a model loads, at least
BETWEEN = ",\n    "  # items of a literal
SIDE = 224  # pixels of a picture's side where the model leaves it open

Read = Callable[[str], str]  # returns the text of a file of templates/new


@dataclass(frozen=True)
class TriedModel:
    """A model that was run. path: in the service's folder. size: bytes. row: zeros that it took, with 1 as the batch axis."""

    path: str
    size: int
    spec: ModelSpec
    row: Arrays


def of_model(username: str, name: str, model: TriedModel, read: Read) -> dict[str, str]:
    """Return path -> text: value.py, a test, and src/server.py where the inputs are more than plain rows."""
    first, picture = model.spec.inputs[0], _picture(model.spec)
    names = {
        "username": username,
        "name": name,
        "kind": "".join(part.capitalize() for part in name.split("-")),
        "outputs": BETWEEN.join(_text(tensor.name) for tensor in model.spec.outputs),
        "inputs": ", ".join(f"{each.name!r} as {each.datatype} {list(each.shape)}" for each in model.spec.inputs),
        "input": _text(first.name),
        "data": BETWEEN.join(map(_zeros, model.row, model.row.values())),
        **_settings(model),
        **picture,
    }
    plain = model.spec.batched and all(len(tensor.shape) <= 2 for tensor in model.spec.inputs)
    kind = "pictures" if picture else "tensors"
    chosen = {"value.py": "value.py", "src/test_server.py": f"test_{kind}.py"} | (
        {} if plain else {"src/server.py": f"{kind}.py"}
    )
    return {path: Template(read(f"{source}.txt")).substitute(names) for path, source in chosen.items()}


def of_example(example: str, username: str, name: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Return an example's texts for the root's folder, under another name and owner. texts: path -> text."""
    owner = re.compile(rf'(?<=["/]){DEMO[0]}(?=[\\"/])')
    whole = re.compile(rf"(?<![\w-]){re.escape(example)}(?![\w-])")

    def renamed(text: str) -> str:
        return whole.sub(name, owner.sub(username, text.replace(f"examples/{example}", ".")))

    return {path: renamed(text) for path, text in texts.items()}


def _settings(model: TriedModel) -> dict[str, str]:
    lines = []
    if not model.spec.batched:
        lines.append("max_batch_size = 0  # the first axis of its tensors does not count rows")
    elif any(tensor.shape[0] == 1 for tensor in model.spec.inputs):
        lines.append("max_batch_size = 1  # its first axis is always 1")
    shapes = {each.name: model.row[each.name].shape for each in model.spec.inputs}
    rows = {name: shape[1:] if model.spec.batched else shape for name, shape in shapes.items()}
    open_sizes = {t.name: rows[t.name] for t in model.spec.inputs if -1 in t.shape[1 if model.spec.batched else 0 :]}
    if open_sizes:
        shown = ", ".join(f"{_text(each)}: {shape}" for each, shape in open_sizes.items())
        lines.append(f"warmup_shapes = {{{shown}}}  # sizes that the model leaves open: name those of real requests")
    return {
        "path": model.path,
        "memory": f"{max(2, math.ceil(0.5 + 3 * model.size / 2**30))}Gi",
        "seconds": str(max(SECONDS, math.ceil(model.size / READ_RATE))),
        "further": "".join(f"{line}\n" for line in lines),
    }


def _picture(spec: ModelSpec) -> dict[str, str]:
    """Return the names of the template for pictures, none where the model does not take one picture of three channels."""
    tensor = spec.inputs[0]
    if len(spec.inputs) > 1 or not spec.batched or len(tensor.shape) != 4 or 3 not in (tensor.shape[1], tensor.shape[3]):
        return {}
    channels_first = tensor.shape[1] == 3
    height, width = (side if side > 0 else SIDE for side in (tensor.shape[2:] if channels_first else tensor.shape[1:3]))
    scaled = tensor.datatype in ("FP16", "FP32", "FP64")
    return {
        "width": str(width),
        "height": str(height),
        "dtype": DATATYPES[tensor.datatype].name,
        "scale": " / 255  # 0 to 1; write here what the model was trained with" if scaled else "",
        "order": ".transpose(2, 0, 1)" if channels_first else "",
    }


def _zeros(name: str, array: Array) -> str:
    made = f'np.full({array.shape}, "")' if array.dtype == object else f'np.zeros({array.shape}, "{array.dtype}")'
    return f"{_text(name)}: {made}.tolist()"


def _text(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)
