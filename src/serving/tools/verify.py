"""`monopod verify`: list a service's models, and check that each is there, whole, and answers.

Concurrency. The service's own code and its models run on a thread, one at a time, which the main thread waits for. Nothing can
stop a thread that does not end in time. So no further one begins, and the process ends without waiting for it.
"""

import contextlib
import gc
import json
import os
import sys
import threading
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from serving.base.errors import StartError
from serving.base.process import resident_bytes, trim
from serving.base.terminal import size, table
from serving.models.model import check_file
from serving.models.model_cache import ModelSource
from serving.models.tensors import TensorSpec
from serving.service.loader import TRACEBACK_ABOVE, open_service, set_up, silence
from serving.service.service import Service
from serving.settings import Settings, SettingsError, gpu_memory, misnamed_hooks, process_memory, size_in_bytes
from serving.settings.model_files import Checksum, read_checksums, sha256_of

CLOSE_SECONDS = 1.0
HEAD = ("", "model", "file", "size", "sha256", "memory", "one row", "")
RIGHT = ("size", "memory", "one row")
MAX_TENSORS = 3  # in a row of the table
THREAD = "verify"
T = TypeVar("T")
OPEN_SIZES = "sizes are open; name them in warmup_shapes"


@dataclass(frozen=True)
class Check:
    """The result for one model, for one further file, for the setup or for a line of a list.

    model: its name, "" for a further file. file: relative to the service's folder, "" for a function.

    bytes: the file's size, -1 without a file. listed: the list that names this sha256.

    memory: bytes by which the process grows when it loads and warms the model, -1 where it did not. row_ms: milliseconds of one
    row in the warm-up.
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
    problem: str = ""  # "" where all is right


@dataclass(frozen=True)
class Memory:
    """A pod's memory, in bytes.

    process: after setup, without models. start: of the models that the start loads.

    on_demand: of the models loaded on first use, at most model_memory. limit: the setting `memory`.
    """

    process: int
    start: int
    on_demand: int
    limit: int

    @property
    def total(self) -> int:
        return self.process + self.start + self.on_demand

    def in_words(self) -> str:
        parts = [f"the process {size(self.process)}", f"models of the start {size(self.start)}"]
        if self.on_demand:
            parts.append(f"models loaded on first use {size(self.on_demand)}")
        return f"{', '.join(parts)}: {size(self.total)} of {size(self.limit)}"


@dataclass(frozen=True)
class Report:
    """All results. gpu: which model takes how much of gpu_memory, in words; "" without a GPU."""

    checks: list[Check]
    memory: Memory | None = None
    gpu: str = ""


Checksums = dict[Path, Checksum]  # by the file


def verify_command(arguments: Namespace) -> int:
    """Print the report. Return 0 where everything is right, else 1."""
    silence()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the service's own code may print; stdout holds the report alone
            report = verify(arguments.service.resolve(), arguments.provider, arguments.timeout)
    except SettingsError as error:
        report = Report([Check("value.py", problem=mistake) for mistake in error.mistakes])
    print((as_json if arguments.json else as_text)(report), end="", flush=True)
    if _hangs():
        os._exit(1)
    return int(any(check.problem for check in report.checks))


def verify(folder: Path, provider: str, seconds: float) -> Report:
    """Return the report of a service. folder: the service's. provider: where models run, "" as value.py says.

    seconds: the most for the setup, and for each model.

    Raises SettingsError where value.py cannot be used.
    """
    lines = read_checksums(folder / "model")
    checksums = {line.path: line for line in lines if line.sha256}
    service, failures = _opened(folder, provider, seconds)
    sources = service.models.sources()
    for source in sources:
        service.models.unload(source.name)  # the setup may have used it
    process, checks = _resident(), []
    for at, source in enumerate(sources, 1):
        _show(f"{at} of {len(sources)}: {source.name}")
        checks.append(_check_model(source, folder, checksums, seconds))
    _show("")
    if not sources and not failures and type(service) is Service:
        failures = [
            Check("setup", problem="no model_path in value.py, and no src/server.py that brings a model; set model_path")
        ]
    memory = _memory(process, checks, sources, service.settings)
    others = sorted(set(checksums) - {source.file for source in sources})
    checks += [_with_file(Check(), path, folder, checksums) for path in others]
    misnamed = [Check(file="src/server.py", note=words) for words in misnamed_hooks(folder)]
    checks += [*_not_checksums(lines, folder), *misnamed, *failures]
    if not failures:
        checks += [*_too_much(memory), *_unclaimed(sources, service.settings)]
    return Report(checks, memory, gpu_memory.describe(service.settings) if service.settings.gpu_memory else "")


def as_text(report: Report) -> str:
    """Return a table with a row for each check, a line on memory, and the count."""
    checks = report.checks
    wrong = sum(bool(check.problem) for check in checks)
    lines = []
    if report.gpu:
        lines.append(f"gpu_memory: {report.gpu}")
    if report.memory and any(check.memory >= 0 for check in checks):
        lines.append(f"memory: {report.memory.in_words()}")
    lines.append(f"{wrong} of {len(checks)} wrong" if wrong else f"{len(checks)} of {len(checks)} right")
    return table(HEAD, [_cells(check) for check in checks], right=RIGHT) + "".join(f"{line}\n" for line in lines)


def as_json(report: Report) -> str:
    """Return the report as a JSON object."""
    fields = {
        "ok": not any(check.problem for check in report.checks),
        "found": [asdict(check) for check in report.checks],
        "gpu_memory": report.gpu,
        "memory": asdict(report.memory) if report.memory else None,
    }
    return json.dumps(fields, indent=2) + "\n"


def _show(text: str) -> None:
    """Replace the terminal's last line. A progress bar would need tqdm, which the image of a service does not hold."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _hangs() -> bool:
    return any(thread.name == THREAD for thread in threading.enumerate())


def _in_time(work: Callable[[], T], seconds: float) -> T:
    """Return the result of work on a thread. Raises StartError where it has not ended after `seconds`."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, name=THREAD, daemon=True)
    thread.start()
    if not wait([future], seconds).done:
        raise StartError(f"has not ended in {seconds:g} s: correct what has no end, or give it more time with --timeout")
    thread.join()
    return future.result()


def _opened(folder: Path, provider: str, seconds: float) -> tuple[Service, list[Check]]:
    """Return the service, set up, and each failure of that. A service whose own code fails to load keeps value.py's model."""
    try:
        service = _in_time(partial(open_service, folder, provider), seconds)
    except StartError as error:
        return open_service(folder, provider, Service), [_setup_failure(error, folder)]
    try:
        _in_time(partial(set_up, service), seconds)
    except StartError as error:
        # Models that a hanging setup uses cannot be unloaded.
        return open_service(folder, provider, Service) if _hangs() else service, [_setup_failure(error, folder)]
    return service, []


def _setup_failure(error: StartError, folder: Path) -> Check:
    return Check("setup", problem=str(error).removesuffix(TRACEBACK_ABOVE).replace(f"{folder}/", ""))


def _check_model(source: ModelSource, folder: Path, checksums: Checksums, seconds: float) -> Check:
    check = Check(source.name)
    if source.file is not None:
        check = _with_file(check, source.file, folder, checksums)
        try:
            check_file(source.file)
        except StartError as error:
            return replace(check, problem=_without_path(str(error), source.file))
    if _hangs():
        return replace(check, note="not run, since what ran before has not ended")
    try:
        return _in_time(partial(_with_run, check, source), seconds)
    except StartError as error:
        return replace(check, problem=_joined(check.problem, _without_path(str(error), source.file)))


def _with_file(check: Check, path: Path, folder: Path, checksums: Checksums) -> Check:
    """Return the check with a file's size and sum. The file is not opened as a model."""
    name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
    line = checksums.get(path)
    listed_in = line.listed_in.relative_to(folder).as_posix() if line else ""
    if not path.is_file():
        return replace(check, file=name, problem=f"{listed_in} names it, and it is missing: put it there" if line else "")
    sha256 = sha256_of(path)
    check = replace(check, file=name, bytes=path.stat().st_size, sha256=sha256)
    if line is None or line.sha256 == sha256:
        return replace(check, listed=listed_in)
    words = f"not the file that {listed_in} names ({line.sha256[:12]}): fetch that one, or correct the list with sha256sum"
    return replace(check, problem=words)


def _with_run(check: Check, source: ModelSource) -> Check:
    """Return the check with the model's tensors and costs, once it is opened and warmed as at a start. Raises StartError."""
    before = _resident()
    model = source.open()
    row = model.costs.get(1)
    check = replace(check, inputs=model.spec.inputs, outputs=model.spec.outputs, memory=max(0, _resident() - before))
    model.close(CLOSE_SECONDS)
    return replace(check, note=OPEN_SIZES) if row is None else replace(check, row_ms=round(row * 1000, 3))


def _resident() -> int:
    gc.collect()
    trim()
    return resident_bytes()


def _not_checksums(lines: list[Checksum], folder: Path) -> Iterator[Check]:
    for line in lines:
        if not line.sha256:
            words = f"line {line.line} is not a checksum; write it with: sha256sum FILE > {line.listed_in.name}"
            yield Check("list", line.listed_in.relative_to(folder).as_posix(), problem=words)


def _memory(process: int, checks: list[Check], sources: list[ModelSource], settings: Settings) -> Memory:
    """Return the pod's memory. checks: of the sources, in their order. process: bytes without a model."""
    held = dict.fromkeys((False, True), 0)
    for check, source in zip(checks, sources, strict=True):
        held[source.on_demand] += max(0, check.memory)
    on_demand = min(held[True], size_in_bytes(settings.model_memory))
    return Memory(process, held[False], on_demand, process_memory(settings))


def _too_much(memory: Memory) -> list[Check]:
    if memory.total <= memory.limit:
        return []
    cure = "raise memory, or lower model_memory or ins_num_per_gpu"
    return [Check("memory", problem=f"{memory.in_words()}, and such a pod is killed; {cure}")]


def _unclaimed(sources: list[ModelSource], settings: Settings) -> list[Check]:
    """Return a problem for each share of gpu_memory that no model takes."""
    left = set(settings.model_gpu_memory) - {source.name for source in sources}
    words = "model_gpu_memory names it, and no model of the service is called so: correct the name, or take it out"
    return [Check(name, problem=words) for name in sorted(left)] if settings.gpu_memory else []


def _without_path(words: str, path: Path | None) -> str:
    """Return an error's words without the path, which a column of its own shows."""
    return words.removeprefix(f"{path}: ").replace(str(path), "the file")


def _joined(*problems: str) -> str:
    return "; ".join(filter(None, problems))


def _cells(check: Check) -> tuple[str, ...]:
    return (
        "WRONG" if check.problem else "ok",
        check.model or "-",
        check.file or "-",
        size(check.bytes) if check.bytes >= 0 else "-",
        (check.sha256[:12] + (" as listed" if check.listed else "")) or "-",
        size(check.memory) if check.memory >= 0 else "-",
        "-" if check.row_ms is None else f"{check.row_ms:.{1 if check.row_ms >= 10 else 2}f} ms",
        check.problem or _joined(_tensors(check), check.note),
    )


def _tensors(check: Check) -> str:
    return " -> ".join(filter(None, (_in_short(check.inputs), _in_short(check.outputs))))


def _in_short(tensors: tuple[TensorSpec, ...]) -> str:
    more = [f"and {len(tensors) - MAX_TENSORS} more"] if len(tensors) > MAX_TENSORS else []
    return ", ".join([f"{t.name} {t.datatype}{list(t.shape)}" for t in tensors[:MAX_TENSORS]] + more)
