"""`monopod optimize`, from the command line to an exit status.

Knows the command's arguments and the order of its steps. Does not know graphs or arithmetic.
"""

import contextlib
import json
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from serving.base.errors import StartError
from serving.base.terminal import progress
from serving.models.model import check_file
from serving.models.model_cache import ModelSource
from serving.service.loader import open_service, set_up, silence
from serving.service.service import Service
from serving.settings import SettingsError
from serving.settings.model_files import sha256_of
from serving.tools.optimize import convert, optimize_report
from serving.tools.optimize.samples import OptimizeError, Samples, find, record
from serving.tools.optimize.variants import Converter, Variant


def optimize_command(arguments: Namespace) -> int:
    """Print the report. Return 0 where every copy that was asked for is written, else 1."""
    silence()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # the service's own code may print; stdout holds the report alone
            report = _made(arguments)
    except SettingsError as error:
        return _fail("\n".join(error.mistakes), arguments.json)
    except (OptimizeError, StartError) as error:
        return _fail(str(error).replace(f"{arguments.service.resolve()}/", ""), arguments.json)
    except OSError as error:
        cure = "" if error.filename else "; TMPDIR names another folder for temporary files"  # a failed write names no file
        return _fail(f"{error.filename or tempfile.gettempdir()}: {error.strerror}{cure}", arguments.json)
    refusal = optimize_report.refusal(report)
    if arguments.json:
        print(optimize_report.as_json(report), end="")
        return int(bool(refusal))
    print(optimize_report.as_text(report), end="")
    print(optimize_report.written(report), end="")
    print(refusal, end="", file=sys.stderr)
    return int(bool(refusal))


def _made(arguments: Namespace) -> optimize_report.Report:
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
        report = optimize_report.Report(
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

    Raises OptimizeError where there is no such model or it is no file, StartError where its file cannot be a model.
    """
    models = {named.name: named for named in service.models.sources()}
    if name not in models:
        missing = f"no model {name!r} here" if asked else "value.py names no model_path; say --model NAME"
        raise OptimizeError(f"{missing}; the models are {', '.join(models) or 'none'}")
    named = models[name]
    if named.file is None:
        others = ", ".join(each.name for each in models.values() if each.file is not None)
        raise OptimizeError(f"model {name!r} is a function and no ONNX file; those that are files: {others or 'none'}")
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
        raise OptimizeError(f"{folder}: no folder that copies can be written to; name another one with --output")


def _write(report: optimize_report.Report, file: Path, output: Path, folder: Path) -> None:
    """Put the copies in place, and note them in the report. Raises OptimizeError where that is not possible."""
    digest = sha256_of(file)
    targets = {each.kind: output / f"{file.stem}.{each.kind}.onnx" for each in report.kept}
    try:
        _put((targets[each.kind], convert.noted(each.file, _notes(each, file, digest, report))) for each in report.kept)
    except OSError as error:
        cure = "make room, or name another folder with --output"
        raise OptimizeError(f"{output}: the copies cannot be written there ({error.strerror}); {cure}") from None
    report.written.update((kind, _shown_path(target, folder)) for kind, target in targets.items())


def _notes(each: Variant, file: Path, digest: str, report: optimize_report.Report) -> dict[str, str]:
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


def _fail(mistake: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": False, "mistakes": mistake.splitlines()}, indent=2))
    else:
        print(mistake, file=sys.stderr)
    return 1
