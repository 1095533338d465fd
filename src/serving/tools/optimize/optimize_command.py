"""`monopod optimize`: convert a model to FP16 and INT8, and report what each copy costs in accuracy and time."""

import contextlib
import json
import math
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from serving.base.errors import StartError
from serving.base.terminal import print_mistakes, progress, size, table
from serving.models.engine import Hardware
from serving.models.model import check_file
from serving.models.model_cache import ModelSource
from serving.service.loader import open_service, set_up, silence
from serving.service.service import Service
from serving.settings import SettingsError
from serving.settings.model_files import sha256_of
from serving.tools.optimize import convert
from serving.tools.optimize.samples import MAX_BYTES, MAX_ROWS, OptimizeError, Samples, find, record
from serving.tools.optimize.variants import Converter, Difference, Variant

SLOWER = 1.05  # times the original: more than noise
COLUMNS = ("variant", "size", "ms", "ratio", "difference", "worst row", "")


@dataclass(frozen=True)
class Report:
    """All results for one model. file: relative to the service's folder. folder: of the samples.

    variants: the original first. tolerance: the largest mean difference that is allowed.

    narrow: whether INT8 weights have 7 bits. own: whether value.py names the model.
    """

    model: str
    file: str
    folder: str
    samples: Samples
    hardware: Hardware
    tolerance: float
    narrow: bool
    own: bool
    variants: Sequence[Variant]
    failures: Sequence[str] = ()  # why further copies could not be made
    written: dict[str, str] = field(default_factory=dict)  # kind -> file

    @property
    def kept(self) -> list[Variant]:
        return [each for each in self.variants[1:] if each not in self.refused]

    @property
    def refused(self) -> list[Variant]:
        return [each for each in self.variants[1:] if not each.difference.mean <= self.tolerance]


def as_text(report: Report) -> str:
    """Return the samples, a table with a line for each variant, and a legend."""
    rows = [_cells(each, report) for each in report.variants]
    lines = [f"{report.model}: {report.file}", *_samples(report), ""]
    lines += [table(COLUMNS, rows, right=COLUMNS[1:6])]
    if len(report.variants[-1].differences) > 1:
        lines += [*_outputs(report), ""]
    lines += [_legend(report), *_notes(report)]
    return "\n".join(lines) + "\n"


def written(report: Report) -> str:
    """Return a line for each written file, with the line of value.py or src/server.py that serves it."""
    lines = []
    for kind, file in report.written.items():
        inside = not PurePath(file).is_absolute()
        path = file if inside else f"model/{PurePath(file).name}"
        say = f'model_path = "{path}" in value.py' if report.own else f'"{path}" in place of "{report.file}" in src/server.py'
        copy = "" if inside else "copy it into the service's model/, and "
        lines.append(f"wrote {file}; to serve the {kind.upper()} copy, {copy}say {say}")
    return "".join(f"{line}\n" for line in lines)


def refusal(report: Report) -> str:
    """Return why copies were not written, and the cures, or "" where all were."""
    lines = list(report.failures)
    for each in report.refused:
        mean = each.difference.mean
        if not math.isfinite(mean):
            lines.append(f"{each.kind} gives numbers that are none, or other shapes, in output {each.output!r}; leave it out")
            continue
        lines.append(
            f"{each.kind} differs by {mean:.3g} on average in output {each.output!r}; --tolerance allows {report.tolerance:g}"
        )
    cures = []
    if any(math.isfinite(each.difference.mean) for each in report.refused):
        most = max(each.difference.mean for each in report.refused if math.isfinite(each.difference.mean))
        if any(each.calibration for each in report.refused):
            cures = [f"more samples like real requests ({len(report.samples.rows)} rows were used)"]
        cures += [f"--tolerance {math.ceil(most * 100) / 100:g} where the answers stay good enough"]
    if lines:
        done = "the other copy was written" if report.kept else "nothing was written"
        lines.append(done + (f"; what may help: {', or '.join(cures)}" if cures else ""))
    return "".join(f"{line}\n" for line in lines)


def as_json(report: Report) -> str:
    """Return the report as a JSON object."""
    samples, first = report.samples, report.variants[0]
    found = {
        "ok": not refusal(report),
        "model": report.model,
        "file": report.file,
        "samples": {
            "folder": report.folder,
            "files": samples.sent,
            "rows": len(samples.rows),
            "bytes": samples.bytes,
            "refused": [{"file": file, "reason": words} for file, words in samples.refused],
        },
        "provider": report.hardware.provider,
        "threads": report.hardware.threads,
        "tolerance": report.tolerance,
        "variants": [_variant(each, first, report) for each in report.variants],
        "mistakes": refusal(report).splitlines(),
    }
    return json.dumps(found, indent=2) + "\n"


def _variant(each: Variant, first: Variant, report: Report) -> dict[str, Any]:
    return {
        "variant": each.kind,
        "bytes": each.bytes,
        "ms": round(each.ms, 4),
        "ratio": round(each.ms / first.ms, 4),
        "calibration": each.calibration,
        "fp32_layers": each.kept,
        "differences": {name: {"mean": _plain(it.mean), "worst": _plain(it.worst)} for name, it in each.differences.items()},
        "refused": each in report.refused,
        "written": report.written.get(each.kind, ""),
    }


def _plain(number: float) -> float | None:
    return number if math.isfinite(number) else None  # JSON has no infinity


def _samples(report: Report) -> list[str]:
    samples = report.samples
    files, rows = _many(samples.sent, "file"), _many(len(samples.rows), "row")
    lines = [f"samples: {files} of {report.folder}, {rows} of the model, {size(samples.bytes)}"]
    if samples.refused:
        file, words = samples.refused[0]
        lines.append(f"the service refused {len(samples.refused)} of them, the first ({file}): {words}")
    if samples.sent < samples.files:
        more = _many(samples.files - samples.sent, "more file")
        lines.append(f"{more} not needed: {MAX_ROWS} rows or {size(MAX_BYTES)} are enough")
    return lines


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _cells(each: Variant, report: Report) -> tuple[str, ...]:
    first = report.variants[0]
    differs = each.difference if each.differences else None
    return (
        each.kind,
        size(each.bytes),
        f"{each.ms:.3g}" if each.ms < 100 else f"{each.ms:.0f}",
        f"{each.ms / first.ms:.2f}",
        _number(differs.mean) if differs else "-",
        _number(differs.worst) if differs else "-",
        "" if each is first else "over the tolerance" if each in report.refused else "ok",
    )


def _number(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "none"


def _outputs(report: Report) -> list[str]:
    """Return a line for each variant with every output's difference: the service may need one output alone."""

    def words(name: str, it: Difference) -> str:
        return f"{name} {_number(it.mean)} ({_number(it.worst)})"

    return [f"{v.kind}, each output: " + ", ".join(words(*item) for item in v.differences.items()) for v in report.variants[1:]]


def _legend(report: Report) -> str:
    where = f"{report.hardware.provider}, {_many(report.hardware.threads, 'thread')}"
    return (
        f"ms: median of one row, {where}, on this machine\n"
        "difference: ||original - variant|| / ||original|| of the output that differs most, its mean over the rows; at most "
        f"{report.tolerance:g} is allowed (--tolerance)"
    )


def _notes(report: Report) -> list[str]:
    lines, first = [], report.variants[0]
    for each in report.variants[1:]:
        if each.calibration:
            layers = f", the last {each.kept} layers" if each.kept > 1 else ", the last layer" if each.kept else ""
            bits = ", weights of 7 bits since this CPU has no VNNI" if report.narrow else ""
            lines.append(
                f"{each.kind}: calibration {each.calibration}{layers and layers + ' before each output in FP32'}{bits}"
            )
        if each.ms > SLOWER * first.ms:
            why = (
                ": a CPU computes FP16 in FP32, behind casts"
                if (each.kind, report.hardware.provider) == ("fp16", "cpu")
                else ""
            )
            lines.append(f"{each.kind} is slower than the original here{why}")
    return lines


def optimize_command(arguments: Namespace) -> int:
    """Print the report. Return 0 where every copy that was asked for is written, else 1."""
    silence()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the service's own code may print; stdout holds the report alone
            report = _made(arguments)
    except (SettingsError, OptimizeError, StartError, OSError) as error:
        print_mistakes(_told(error, arguments.service.resolve()), arguments.json, ok=False)
        return 1
    refused = refusal(report)
    if arguments.json:
        print(as_json(report), end="")
        return int(bool(refused))
    print(as_text(report), end="")
    print(written(report), end="")
    print(refused, end="", file=sys.stderr)
    return int(bool(refused))


def _made(arguments: Namespace) -> Report:
    folder: Path = arguments.service.resolve()
    service = open_service(folder, arguments.provider)
    files = find(service, arguments.route, arguments.samples)
    set_up(service)
    named = _named(service, arguments.model or service.settings.service_name, bool(arguments.model))
    assert named.file is not None
    output = (arguments.output or named.file.parent).resolve()
    _check_takes_files(output)
    with progress(len(files), "samples") as tell:
        samples = record(service, named, files, arguments.route, tell)
    for name in service.models.names():  # no longer needed, and their memory is
        service.models.unload(name)
    with tempfile.TemporaryDirectory(prefix="monopod-") as work:
        variants, failures = _variants(arguments, named, samples, Path(work))
        report = Report(
            model=named.name,
            file=_shown_path(named.file, folder),
            folder=str(arguments.samples),
            samples=samples,
            hardware=named.options.hardware,
            tolerance=arguments.tolerance,
            narrow=convert.narrow(),
            own=named.name == service.settings.service_name,
            variants=variants,
            failures=failures,
        )
        if report.kept:
            _write(report, named.file, output, folder)
    return report


def _named(service: Service, name: str, asked: bool) -> ModelSource:
    """Return the model to convert. asked: whether the command line names it.

    Raises OptimizeError where there is no such model or it is a function, StartError where its file cannot be a model.
    """
    models = {named.name: named for named in service.models.sources()}
    if name not in models:
        missing = f"no model {name!r} here" if asked else "value.py names no model_path; say --model NAME"
        raise OptimizeError(f"{missing}; the models are {', '.join(models) or 'none'}")
    named = models[name]
    if named.file is None:
        others = ", ".join(each.name for each in models.values() if each.file is not None)
        raise OptimizeError(f"model {name!r} is a function, not an ONNX file; the files are: {others or 'none'}")
    check_file(named.file)
    return named


def _variants(arguments: Namespace, named: ModelSource, samples: Samples, work: Path) -> tuple[list[Variant], list[str]]:
    """Return the original and the copies, and why others could not be made. Raises OptimizeError where no copy could."""
    assert named.file is not None
    both = arguments.fp16 == arguments.int8
    converter = Converter(named.file, work, samples.rows, named.options.hardware, progress)
    makers = [converter.fp16] if both or arguments.fp16 else []
    makers += [partial(converter.int8, arguments.calibration, arguments.tolerance)] if both or arguments.int8 else []
    copies, failures = list[Variant](), list[str]()
    for make in makers:
        try:
            copies.append(make())
        except OptimizeError as error:
            failures.append(str(error))
    if not copies:
        raise OptimizeError("\n".join(failures))
    return converter.timed(copies), failures


def _check_takes_files(folder: Path) -> None:
    """Raise OptimizeError where no file can be written, before minutes of measuring."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise OptimizeError(f"{folder}: copies cannot be written to that folder; name another one with --output")


def _write(report: Report, file: Path, output: Path, folder: Path) -> None:
    """Put the copies in place, and note them in the report. Raises OptimizeError where that is not possible."""
    digest = sha256_of(file)
    targets = {each.kind: output / f"{file.stem}.{each.kind}.onnx" for each in report.kept}
    try:
        _put((targets[each.kind], convert.noted(each.file, _metadata(each, file, digest, report))) for each in report.kept)
    except OSError as error:
        cure = "make room, or name another folder with --output"
        raise OptimizeError(f"{output}: the copies cannot be written there ({error.strerror}); {cure}") from None
    report.written.update((kind, _shown_path(target, folder)) for kind, target in targets.items())


def _metadata(each: Variant, file: Path, digest: str, report: Report) -> dict[str, str]:
    return {
        "origin": file.name,
        "origin_sha256": digest,
        "kind": each.kind,
        "samples": str(len(report.samples.rows)),
        "difference_mean": f"{each.difference.mean:.6g}",
        "difference_worst": f"{each.difference.worst:.6g}",
    }


def _put(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write all files, each whole, or none of them, as where the disk is full. Raises OSError."""
    parts: dict[Path, Path] = {}
    try:
        for target, content in files:
            parts[target] = target.with_name(f".{target.name}.part")
            target.parent.mkdir(parents=True, exist_ok=True)
            parts[target].write_bytes(content)
        for target, part in parts.items():
            os.replace(part, target)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _shown_path(path: Path, folder: Path) -> str:
    """Return a path relative to the service's folder, as value.py and src/server.py name it, or whole where it is outside."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _told(error: Exception, folder: Path) -> str:
    if isinstance(error, SettingsError):
        return "\n".join(error.mistakes)
    if isinstance(error, OSError):
        cure = "" if error.filename else "; TMPDIR names another folder for temporary files"  # a failed write names no file
        return f"{error.filename or tempfile.gettempdir()}: {error.strerror}{cure}"
    return str(error).replace(f"{folder}/", "")
