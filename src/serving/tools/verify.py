"""`monopod verify`: which models a service has, and whether each is there, whole, and answers.

Knows files, checksums and how a model is opened at a start. Does not know what a model is good for.
"""

import contextlib
import gc
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from serving.base.errors import StartError
from serving.base.process_memory import resident_bytes, trim
from serving.models.entries import ModelSource
from serving.models.model import check_file
from serving.models.tensors import TensorSpec
from serving.service.embedded import open_service, set_up, silence
from serving.service.own_code import TRACEBACK_ABOVE
from serving.service.service import Service
from serving.settings import Settings, SettingsError, gpu_memory, size_in_bytes
from serving.settings.model_files import Checksum, read_checksums, sha256_of
from serving.tools.terminal import size, table

CLOSE_SECONDS = 1.0
HEAD = ("", "model", "file", "size", "sha256", "memory", "one row", "")
RIGHT = ("size", "memory", "one row")
MOST_TENSORS = 3  # that a line of the table names
OPEN_SIZES = "sizes are open; name them in warmup_shapes"


@dataclass(frozen=True)
class Line:
    """What was found of one thing. A thing that is right has no problem.

    model: its name, "" for another file, "setup" or "list". file: as seen from the service's folder, "" for a function.
    bytes: -1 for what is no file or not there. listed: the list that agrees with sha256. memory: bytes that the process holds
    more once the model is loaded and warm, -1 where it was not. row_ms: milliseconds that a row took in the warm-up.
    """

    model: str = ""
    file: str = ""
    bytes: int = -1
    sha256: str = ""
    listed: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    memory: int = -1
    row_ms: float | None = None
    note: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Memory:
    """Bytes of a pod's memory.

    process: without models, after setup. start: models that the start loads. on_demand: models loaded on first use, as far as
    model_memory lets them be loaded together. limit: what value.py gives a pod.
    """

    process: int
    start: int
    on_demand: int
    limit: int

    @property
    def all(self) -> int:
        return self.process + self.start + self.on_demand

    def in_words(self) -> str:
        parts = [f"the process {size(self.process)}", f"models of the start {size(self.start)}"]
        if self.on_demand:
            parts.append(f"models loaded on first use {size(self.on_demand)}")
        return f"{', '.join(parts)}: {size(self.all)} of {size(self.limit)}"


@dataclass(frozen=True)
class Found:
    """All that was found. gpu: who takes how much of gpu_memory, in words; "" without."""

    lines: list[Line]
    memory: Memory | None = None
    gpu: str = ""


Sums = dict[Path, Checksum]


def verify_command(arguments: Namespace) -> int:
    """Return 0 where everything is right, else 1."""
    silence()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the service's own code prints is no part of the answer
            found = verify(arguments.service.resolve(), arguments.provider)
    except SettingsError as error:
        found = Found([Line("value.py", problem=mistake) for mistake in error.mistakes])
    print((as_json if arguments.json else as_text)(found), end="")
    return int(any(line.problem for line in found.lines))


def verify(folder: Path, provider: str = "") -> Found:
    """Return a line for each model that the service names, and for what else is listed or fails. Raises SettingsError."""
    checksums = read_checksums(folder / "model")
    sums = {listed.path: listed for listed in checksums if listed.sha256}
    service, failed = _opened(folder, provider)
    models = service.models.sources()
    for named in models:
        service.models.unload(named.name)  # where setup has used it
    process, found = _resident(), []
    for at, named in enumerate(models, 1):
        _progress(f"{at} of {len(models)}: {named.name}")
        found.append(_look(named, folder, sums))
    _progress("")
    others = set(sums) - {named.file for named in models}
    if not models and not failed and type(service) is Service:
        failed = [Line("setup", problem="no model_path in value.py, and no src/server.py that brings a model; set model_path")]
    memory = _memory(process, found, models, service.settings)
    lines = [
        *found,
        *(_file(Line(), path, folder, sums) for path in sorted(others)),
        *_not_checksums(checksums, folder),
        *failed,
    ]
    if not failed:
        lines += [*_too_much(memory), *_unclaimed(models, service.settings)]
    return Found(lines, memory, _gpu(service.settings))


def as_text(found: Found) -> str:
    """Return a table with a line each, what is taken of memory, and the count."""
    lines = found.lines
    wrong = sum(bool(line.problem) for line in lines)
    summary = [f"{wrong} of {len(lines)} wrong" if wrong else f"{len(lines)} of {len(lines)} right"]
    if found.memory and any(line.memory >= 0 for line in lines):
        summary.append(f"memory: {found.memory.in_words()}")
    if found.gpu:
        summary.append(f"gpu_memory: {found.gpu}")
    return table(HEAD, [_cells(line) for line in lines], right=RIGHT) + "".join(f"{line}\n" for line in reversed(summary))


def as_json(found: Found) -> str:
    ok = not any(line.problem for line in found.lines)
    said = {"ok": ok, "found": [asdict(line) for line in found.lines], "gpu_memory": found.gpu}
    said["memory"] = asdict(found.memory) if found.memory else None
    return json.dumps(said, indent=2) + "\n"


def _progress(text: str) -> None:
    """Replace the terminal's line. A bar would need a package that a service's image, where this command is run too, lacks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _opened(folder: Path, provider: str) -> tuple[Service, list[Line]]:
    """Return the service, set up, and what failed of that. Where its own code cannot be read, value.py's model is left."""
    try:
        service = open_service(folder, provider)
    except StartError as error:
        return open_service(folder, provider, Service), [_failed(error, folder)]
    try:
        set_up(service)
    except StartError as error:
        return service, [_failed(error, folder)]
    return service, []


def _not_checksums(checksums: list[Checksum], folder: Path) -> Iterator[Line]:
    for listed in checksums:
        if not listed.sha256:
            words = f"line {listed.line} is no checksum; write it with: sha256sum FILE > {listed.listed_in.name}"
            yield Line("list", listed.listed_in.relative_to(folder).as_posix(), problem=words)


def _failed(error: StartError, folder: Path) -> Line:
    return Line("setup", problem=str(error).removesuffix(TRACEBACK_ABOVE).replace(f"{folder}/", ""))


def _look(named: ModelSource, folder: Path, sums: Sums) -> Line:
    line = Line(named.name)
    if named.file is not None:
        line = _file(line, named.file, folder, sums)
        try:
            check_file(named.file)
        except StartError as error:
            return replace(line, problem=_without(str(error), named.file))
    try:
        line = _run(line, named)
    except StartError as error:
        return replace(line, problem=_joined(line.problem, _without(str(error), named.file)))
    return line


def _file(line: Line, path: Path, folder: Path, sums: Sums) -> Line:
    """Return the line with what is known of a file without opening it as a model."""
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    listed = sums.get(path)
    listed_in = listed.listed_in.relative_to(folder).as_posix() if listed else ""
    if not path.is_file():
        return replace(line, file=name, problem=f"{listed_in} names it, and it is missing: put it there" if listed else "")
    digest = sha256_of(path)
    line = replace(line, file=name, bytes=path.stat().st_size, sha256=digest)
    if listed is None or listed.sha256 == digest:
        return replace(line, listed=listed_in)
    words = f"not the file that {listed_in} names ({listed.sha256[:12]}): fetch that one, or correct the list with sha256sum"
    return replace(line, problem=words)


def _run(line: Line, named: ModelSource) -> Line:
    """Open a model as a start does, its warm-up included. Raises StartError."""
    before = _resident()
    model = named.open()
    row = model.costs.get(1)
    line = replace(line, inputs=model.spec.inputs, outputs=model.spec.outputs, memory=max(0, _resident() - before))
    model.close(CLOSE_SECONDS)
    return replace(line, note=OPEN_SIZES) if row is None else replace(line, row_ms=round(row * 1000, 3))


def _resident() -> int:
    gc.collect()
    trim()
    return resident_bytes()


def _memory(process: int, lines: list[Line], models: list[ModelSource], settings: Settings) -> Memory:
    held = dict.fromkeys((False, True), 0)
    for line, named in zip(lines, models, strict=True):
        held[named.on_demand] += max(0, line.memory)
    on_demand = min(held[True], size_in_bytes(settings.model_memory))
    return Memory(process, held[False], on_demand, size_in_bytes(settings.memory))


def _too_much(memory: Memory) -> list[Line]:
    if memory.all <= memory.limit:
        return []
    cure = "raise memory, or lower model_memory or ins_num_per_gpu"
    return [Line("memory", problem=f"{memory.in_words()}, and such a pod is killed; {cure}")]


def _unclaimed(models: list[ModelSource], settings: Settings) -> list[Line]:
    left = set(settings.model_gpu_memory) - {named.name for named in models}
    words = "model_gpu_memory names it, and no model of the service is called so: correct the name, or take it out"
    return [Line(name, problem=words) for name in sorted(left)] if settings.gpu_memory else []


def _gpu(settings: Settings) -> str:
    return gpu_memory.describe(settings) if settings.gpu_memory else ""


def _without(words: str, path: Path | None) -> str:
    """Return an error's words without the path, wherever they name it: the line does."""
    return words.removeprefix(f"{path}: ").replace(str(path), "the file")


def _joined(*problems: str) -> str:
    return "; ".join(filter(None, problems))


def _cells(line: Line) -> tuple[str, ...]:
    return (
        "WRONG" if line.problem else "ok",
        line.model or "-",
        line.file or "-",
        size(line.bytes) if line.bytes >= 0 else "-",
        (line.sha256[:12] + (" as listed" if line.listed else "")) or "-",
        size(line.memory) if line.memory >= 0 else "-",
        "-" if line.row_ms is None else f"{line.row_ms:.{1 if line.row_ms >= 10 else 2}f} ms",
        line.problem or _joined(_tensors(line), line.note),
    )


def _tensors(line: Line) -> str:
    return " -> ".join(filter(None, (_in_short(line.inputs), _in_short(line.outputs))))


def _in_short(tensors: tuple[TensorSpec, ...]) -> str:
    more = [f"and {len(tensors) - MOST_TENSORS} more"] if len(tensors) > MOST_TENSORS else []
    return ", ".join([f"{t.name} {t.datatype}{list(t.shape)}" for t in tensors[:MOST_TENSORS]] + more)
