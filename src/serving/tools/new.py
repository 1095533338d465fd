"""`monopod new`: write a service of one's own into a clone of the platform, in place of the demo.

In: an ONNX file, or the name of an example. Out: the service's files. Their texts are data here, which `_write` puts in place.
"""

import filecmp
import json
import math
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from string import Template

from serving.base.errors import BadInput, StartError
from serving.models.engine import Engine, EngineError, Hardware
from serving.models.model import check_file, example_of
from serving.models.tensors import DATATYPES, Array, Arrays, ModelSpec
from serving.service.loader import silence
from serving.settings import SettingsError, load, read

DEMO = ("like", "demo")  # the username and service_name of the root's value.py, as the platform brings it
SECONDS = 30  # of init_delay_second, at least
READ_RATE = 50 * 2**20  # bytes a second at which a model loads, at least
BETWEEN = ",\n    "  # items of a literal
SIDE = 224  # pixels of a picture's side where the model leaves it open

Read = Callable[[str], str]  # returns the text of a file of templates/new
OPEN_SIZES = (224, 16_000, 16, 1)  # tried in turn, where a model leaves a size open
MAX_ELEMENTS = 10_000_000  # of one input that is tried
# Of the root or an example, as git's patterns: what conf/PATHS gives to a service. allowed_signers stays in each branch.
PARTS = (
    *("value.py", "alerts.yaml", "panels.yaml", "pod.yaml", "model", "src", ":!src/serving", ":!src/monopod.py"),
    *("README.md", "CHANGELOG.md", "docs/service", "tests/service", "service.Dockerfile"),
)
NEXT = "next:\n    monopod check\n    make test-service\n    make serve"


@dataclass(frozen=True)
class TriedModel:
    """A model that was run. path: in the service's folder. size: bytes. row: zeros that it took, with 1 as the batch axis."""

    path: str
    size: int
    spec: ModelSpec
    row: Arrays


def of_model(username: str, name: str, model: TriedModel, read: Read) -> dict[str, str]:
    """Return path -> text: value.py, README.md, a test, and src/server.py where the inputs are more than plain rows."""
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
    chosen = {"value.py": "value.py", "README.md": "README.md", "src/test_server.py": f"test_{kind}.py"} | (
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
    dtype, scaled = DATATYPES[tensor.datatype].name, tensor.datatype in ("FP16", "FP32", "FP64")
    return {
        "width": str(width),
        "height": str(height),
        "std": "255" if scaled else "1",
        "dtype": dtype if scaled else "uint8",
        "layout": "NCHW" if channels_first else "NHWC",
        "cast": "" if scaled or dtype == "uint8" else f'.astype("{dtype}")',
    }


def _zeros(name: str, array: Array) -> str:
    made = f'np.full({array.shape}, "")' if array.dtype == object else f'np.zeros({array.shape}, "{array.dtype}")'
    return f"{_text(name)}: {made}.tolist()"


def _text(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def new_command(arguments: Namespace) -> int:
    """Write the files and print what to type next. Return 1, with nothing changed, where they cannot be written."""
    silence()
    root, name = arguments.service.resolve(), arguments.service_name
    try:
        tracked = _demo_files(root)
        if bool(arguments.model) == bool(arguments.example):
            raise StartError("name one of --model FILE and --example NAME")
        made = _for_model(root, name, arguments) if arguments.model else _for_example(root, name, arguments)
        read(made[0]["value.py"], "value.py", None)
        _write(root, tracked, *made)
    except SettingsError as error:
        print(*error.mistakes, sep="\n", file=sys.stderr)
        return 1
    except StartError as error:
        print(f"monopod: {error}", file=sys.stderr)
        return 1
    print(f"{name} is in place of the demo: {', '.join([*made[0], *made[1]])}\n{NEXT}")
    return _format(root) if arguments.example else 0


def _format(root: Path) -> int:
    """Have an example's imports sorted as the root's folder requires it, where its modules are the first-party ones."""
    return subprocess.run(["make", "--no-print-directory", "format"], cwd=root, stdout=sys.stderr).returncode


def _demo_files(root: Path) -> list[str]:
    """Return the demo's files in a clone. Raises StartError where it is none, is changed, or holds another service."""
    changed = _git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5])
        raise StartError(f"changes are not committed ({names}): commit them, or `git stash` them")
    settings = load(root / "value.py", None).settings
    if (settings.username, settings.service_name) != DEMO:
        raise StartError(
            f"value.py is that of {settings.username}/{settings.service_name}, and only the demo is replaced: "
            "begin a branch where the demo is, as `git checkout -b NAME origin/main`"
        )
    return _git(root, "ls-files", "-z", "--", *PARTS).split("\0")[:-1]


def _for_model(root: Path, name: str, arguments: Namespace) -> tuple[dict[str, str], dict[str, Path]]:
    """Return the texts to write, and the files to copy: the model, and what lies beside it under its name and more."""
    file = arguments.model.resolve()
    check_file(file)
    model = _tried(name, file)
    texts = of_model(arguments.username, name, model, _templates(root))
    family = sorted(item for item in file.parent.iterdir() if item.name.startswith(file.name) and item.is_file())
    return texts, {f"model/{item.name}": item for item in family}


def _for_example(root: Path, name: str, arguments: Namespace) -> tuple[dict[str, str], dict[str, Path]]:
    """Return the texts to write, and the files to copy, which are an example's binary files."""
    known = sorted(item.parent.name for item in root.glob("examples/*/value.py"))
    if arguments.example not in known:
        raise StartError(f"there is no example {arguments.example!r}; the examples are {', '.join(known)}")
    folder, texts, others = root / "examples" / arguments.example, dict[str, str](), dict[str, Path]()
    for path in _git(folder, "ls-files", "-z", "--", *PARTS).split("\0")[:-1]:
        try:
            texts[path] = (folder / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            others[path] = folder / path
    readme = Template(_templates(root)("README.md.txt")).substitute(username=arguments.username, name=name)
    return of_example(arguments.example, arguments.username, name, texts) | {"README.md": readme}, others


def _templates(root: Path) -> Read:
    return lambda name: (root / "templates/new" / name).read_text(encoding="utf-8")


def _tried(name: str, file: Path) -> TriedModel:
    """Return a model with zeros that it took. Raises StartError where it takes none of those that are tried."""
    engine, failed = Engine(file, Hardware()), "its inputs are too large"
    firsts = {tensor.shape[:1] for tensor in engine.inputs}
    for size in OPEN_SIZES:
        whole = {each.name: tuple(size if side == -1 else side for side in each.shape) for each in engine.inputs}
        for batched in (True, False) if firsts <= {(-1,), (1,)} else (False,):
            spec = ModelSpec(name, engine.inputs, engine.outputs, batched)
            shapes = {each: shape[1:] if batched else shape for each, shape in whole.items()}
            if any(prod(shape) > MAX_ELEMENTS for shape in shapes.values()):
                continue
            row = example_of(spec, shapes) or {}
            rows = 2 if batched and firsts == {(-1,)} else 1
            try:
                outputs = engine.run(example_of(spec, shapes, rows) or {})
            except (BadInput, EngineError) as error:
                failed = str(error)
                continue
            if row and (not batched or all(array.shape[:1] == (rows,) for array in outputs.values())):
                return TriedModel(f"model/{file.name}", file.stat().st_size, spec, row)
    raise StartError(f"{file}: it does not run on zeros ({failed}); write value.py by hand, as docs/service.md shows")


def _write(root: Path, tracked: list[str], texts: Mapping[str, str], copies: Mapping[str, Path]) -> None:
    """Put the files in place, and delete the demo's. git has every file that is deleted or replaced."""
    lost = [path for path in (*texts, *copies) if path not in tracked and (root / path).exists()]
    lost = [path for path in lost if path not in copies or not filecmp.cmp(copies[path], root / path, shallow=False)]
    if lost:
        raise StartError(f"{', '.join(lost)}: there already, and git does not have it: move it away")
    for path in {*tracked} - {*copies}:
        (root / path).unlink()
    for path, source in copies.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not (root / path).exists() or not source.samefile(root / path):
            shutil.copyfile(source, root / path)
    for path, text in texts.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True)
    if done.returncode:
        raise StartError(f"git {words[0]} in {folder}: {done.stderr.strip()}; run it in a clone of the platform")
    return done.stdout
