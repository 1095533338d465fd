"""`monopod new`: write a service of one's own into a clone of the platform, in place of the demo.

Knows git, files and how a model is run once. Does not know what the files say: service_files does.
"""

import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Mapping
from math import prod
from pathlib import Path

from serving.base.errors import BadInput, StartError
from serving.models.engine import Engine, EngineError, Hardware
from serving.models.model import check_file, example_of
from serving.models.tensors import ModelSpec
from serving.service.loader import silence
from serving.settings import SettingsError, load, read
from serving.tools.new.service_files import DEMO, TriedModel, of_example, of_model

OPEN_SIZES = (224, 16_000, 16, 1)  # tried in turn, where a model leaves a size open
MOST_ELEMENTS = 10_000_000  # of one input that is tried
# Of the root or an example, as git's patterns: what conf/PATHS gives to a service.
PARTS = ("value.py", "alerts.yaml", "model", "src", ":!src/serving", ":!src/monopod.py")
NEXT = "next:\n    monopod check\n    make test-service\n    make serve"


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
    texts = of_model(arguments.username, name, model, lambda each: (root / "templates/new" / each).read_text(encoding="utf-8"))
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
    return of_example(arguments.example, arguments.username, name, texts), others


def _tried(name: str, file: Path) -> TriedModel:
    """Return a model with zeros that it took. Raises StartError where it takes none of those that are tried."""
    engine, failed = Engine(file, Hardware()), "its inputs are too large"
    firsts = {tensor.shape[:1] for tensor in engine.inputs}
    for size in OPEN_SIZES:
        whole = {each.name: tuple(size if side == -1 else side for side in each.shape) for each in engine.inputs}
        for batched in (True, False) if firsts <= {(-1,), (1,)} else (False,):
            spec = ModelSpec(name, engine.inputs, engine.outputs, batched)
            shapes = {each: shape[1:] if batched else shape for each, shape in whole.items()}
            if any(prod(shape) > MOST_ELEMENTS for shape in shapes.values()):
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
    lost = [path for path in lost if path not in copies or not copies[path].samefile(root / path)]
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
