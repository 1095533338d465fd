"""`monopod optimize`, from the command line to an exit status.

Knows the command's arguments and the order of its steps. Does not know graphs or arithmetic.
"""

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from serving.base.errors import StartError
from serving.models.entries import ModelSource
from serving.models.model import check_file
from serving.service.embedded import open_service, set_up, silence
from serving.service.service import Service
from serving.settings import SettingsError
from serving.tools.optimize import convert, optimize_report
from serving.tools.optimize.samples import OptimizeError, Samples, find, record
from serving.tools.optimize.variants import Variant, Workshop
from serving.tools.terminal import progress


def optimize_command(arguments: Namespace) -> int:
    """Return 0 where every copy that was asked for is written, else 1: then none is."""
    silence()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the service's own code prints is no part of the answer
            report = _made(arguments)
    except SettingsError as error:
        return _fail("\n".join(error.mistakes), arguments.json)
    except (OptimizeError, StartError) as error:
        return _fail(str(error).replace(f"{arguments.service.resolve()}/", ""), arguments.json)
    except OSError as error:
        cure = "" if error.filename else "; TMPDIR names another folder for temporary files"  # only writing has no name
        return _fail(f"{error.filename or tempfile.gettempdir()}: {error.strerror}{cure}", arguments.json)
    if arguments.json:
        print(optimize_report.as_json(report), end="")
        return int(bool(report.refused))
    print(optimize_report.as_text(report), end="")
    if report.refused:
        print(optimize_report.refusal(report), end="", file=sys.stderr)
        return 1
    print(optimize_report.written(report), end="")
    return 0


def _made(arguments: Namespace) -> optimize_report.Report:
    folder: Path = arguments.service.resolve()
    files = find(arguments.samples)
    service = open_service(folder, arguments.provider)
    set_up(service)
    named = _named(service, arguments.model or service.settings.service_name, bool(arguments.model))
    assert named.file is not None
    output = (arguments.output or named.file.parent).resolve()
    _check_takes_files(output)
    with progress(len(files), "samples") as tell:
        samples = record(service, named, files, arguments.route, tell)
    for name in service.models.names():  # their memory is of no more use
        service.models.unload(name)
    with tempfile.TemporaryDirectory(prefix="monopod-") as work:
        variants = _variants(arguments, named, samples, Path(work))
        report = optimize_report.Report(
            model=named.name,
            file=_seen(named.file, folder),
            folder=str(arguments.samples),
            samples=samples,
            hardware=named.options.hardware,
            tolerance=arguments.tolerance,
            narrow=convert.narrow(),
            own=named.name == service.settings.service_name,
            variants=variants,
        )
        if not report.refused:
            _write(report, named.file, output, folder)
    return report


def _named(service: Service, name: str, asked: bool) -> ModelSource:
    """Return the model to convert. Raises OptimizeError where it is none, or no ONNX file; StartError where it is broken."""
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


def _variants(arguments: Namespace, named: ModelSource, samples: Samples, work: Path) -> list[Variant]:
    assert named.file is not None
    both = arguments.fp16 == arguments.int8
    workshop = Workshop(named.file, work, samples.rows, named.options.hardware, progress)
    copies = []
    if both or arguments.fp16:
        copies.append(workshop.fp16())
    if both or arguments.int8:
        copies.append(workshop.int8(arguments.calibration, arguments.tolerance))
    return workshop.timed(copies)


def _check_takes_files(folder: Path) -> None:
    """Raise OptimizeError where files cannot be written: better now than after minutes of measuring."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise OptimizeError(f"{folder}: no folder that copies can be written to; name another one with --output")


def _write(report: optimize_report.Report, file: Path, output: Path, folder: Path) -> None:
    """Put the copies in place. Raises OptimizeError where that is not possible."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    targets = {each.kind: output / f"{file.stem}.{each.kind}.onnx" for each in report.variants[1:]}
    try:
        _put((targets[each.kind], convert.noted(each.file, _notes(each, file, digest, report))) for each in report.variants[1:])
    except OSError as error:
        cure = "make room, or name another folder with --output"
        raise OptimizeError(f"{output}: the copies cannot be written there ({error.strerror}); {cure}") from None
    report.written.update((kind, _seen(target, folder)) for kind, target in targets.items())


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
    """Write files, each whole; where the disk is full, none of them. Raises OSError."""
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


def _seen(path: Path, folder: Path) -> str:
    """Return a path as the service's folder sees it, for value.py and src/server.py."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _fail(mistake: str, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"ok": False, "mistakes": mistake.splitlines()}, indent=2))
    else:
        print(mistake, file=sys.stderr)
    return 1
