"""The report of `monopod optimize`: text for people, and JSON.

Knows words. Does not know how anything was measured or made.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from serving.base.terminal import size, table
from serving.models.engine import Hardware
from serving.tools.optimize.compare import Difference
from serving.tools.optimize.samples import MOST_BYTES, MOST_ROWS, Samples
from serving.tools.optimize.variants import Variant

SLOWER = 1.05  # times the original: more than noise
HEAD = ("variant", "size", "ms", "ratio", "difference", "worst row", "")


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
    lines += [table(HEAD, rows, right=HEAD[1:6])]
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
        lines.append(f"{more} not needed: {MOST_ROWS} rows or {size(MOST_BYTES)} are enough")
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
