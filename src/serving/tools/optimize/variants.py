"""The copies of a model: each conversion is tried, and compared with the original in its outputs and its latency."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from serving.base.errors import BadInput, StartError
from serving.models.engine import Engine, EngineError, Hardware
from serving.models.tensors import Array, Arrays
from serving.tools.optimize import convert
from serving.tools.optimize.samples import OptimizeError

SECONDS = 10.0  # about; a slow model is measured longer, for MIN_TURNS
MIN_TURNS, MAX_TURNS = 15, 400
ORIGINAL = "original"
AUTO = ("minmax", "percentile")  # not entropy, which is slow and was never the best where it was tried

# The last layers often err most: where INT8 differs too much, this number of them before each output stays FP32.
KEPT = (1, 2)

WORTH = 0.9  # of the difference without them: FP32 layers that stay above it, and miss the tolerance, are not worth their size
Progress = Callable[[float, str], AbstractContextManager[Callable[[float], None]]]


@dataclass(frozen=True)
class Difference:
    """The relative difference of one output, as `relative` returns it. mean: over the rows. worst: of the worst row."""

    mean: float
    worst: float


def outputs_of(engine: Engine, rows: Sequence[Arrays], tell: Callable[[float], None]) -> list[Arrays]:
    """Return an engine's outputs for each row. tell: takes the number of rows that are done."""
    found = []
    for row in rows:
        found.append(engine.run(row))
        tell(len(found))
    return found


def differences(original: Sequence[Arrays], converted: Sequence[Arrays]) -> dict[str, Difference]:
    """Return the difference of each output, by its name. original, converted: the outputs for the same rows."""
    pairs = list(zip(original, converted, strict=True))
    found = {}
    for name in original[0]:
        each = [relative(one[name], other[name]) for one, other in pairs]
        found[name] = Difference(float(np.mean(each)), max(each))
    return found


def relative(original: Array, converted: Array) -> float:
    """Return ||original - converted|| / ||original||, in the Euclidean norm over all elements.

    Where the original is all zeros: 0 if the other one is too, else 1. Infinity where shapes differ, or where a number is not
    finite in one of them alone. For texts: the share of elements that differ.
    """
    if original.shape != converted.shape:
        return float("inf")
    if original.dtype == object:
        return float(np.mean(original != converted)) if original.size else 0.0
    a, b = original.astype(np.float64).ravel(), converted.astype(np.float64).ravel()
    unfinite = ~np.isfinite(a)
    if not np.array_equal(a[unfinite], b[unfinite], equal_nan=True) or not np.isfinite(b[~unfinite]).all():
        return float("inf")
    norm, distance = float(np.linalg.norm(a[~unfinite])), float(np.linalg.norm(a[~unfinite] - b[~unfinite]))
    return distance / norm if norm else float(distance > 0)


def latencies(engines: Mapping[str, Engine], rows: Sequence[Arrays], tell: Callable[[float], None]) -> dict[str, float]:
    """Return the median latency of one row for each engine, in milliseconds. tell: takes the share that is done, 0 to 1.

    The engines take turns on the same row. Each turn begins with another engine, so that noise falls on all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in engines}
    order = list(engines)
    for name in order:  # the first run pays for memory
        engines[name].run(rows[0])
    began = time.perf_counter()
    for turn in range(MAX_TURNS):
        spent = time.perf_counter() - began
        if turn >= MIN_TURNS and spent > SECONDS:
            break
        tell(max(turn / MAX_TURNS, min(spent / SECONDS, turn / MIN_TURNS)))
        row = rows[turn % len(rows)]
        order.append(order.pop(0))
        for name in order:
            start = time.perf_counter()
            engines[name].run(row)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) * 1000 for name, each in times.items()}


@dataclass(frozen=True)
class Variant:
    """One copy of a model, or the original.

    An INT8 copy has a calibration method, and `kept` layers before each output stay FP32 in it.
    ms: the median latency of one row, in milliseconds. differences: by output.
    """

    kind: str
    file: Path
    calibration: str = ""
    kept: int = 0
    bytes: int = 0
    ms: float = 0.0
    differences: Mapping[str, Difference] = field(default_factory=dict)

    @property
    def output(self) -> str:
        """The output that differs most on average."""
        return max(self.differences, key=lambda name: self.differences[name].mean)

    @property
    def difference(self) -> Difference:
        return self.differences[self.output]


class Converter:
    """Makes and measures copies of one model. work: the folder for them. hardware: where they run.

    Raises OptimizeError where a copy cannot be made or does not run.
    """

    def __init__(self, file: Path, work: Path, rows: Sequence[Arrays], hardware: Hardware, progress: Progress):
        self._file, self._work, self._rows, self._hardware, self._progress = file, work, rows, hardware, progress
        self._ready = convert.prepare(file, work)
        self._original = self._outputs(file, ORIGINAL)

    def fp16(self) -> Variant:
        out = self._work / "fp16.onnx"
        convert.to_fp16(self._ready, out)
        return self._compared(Variant("fp16", out))

    def int8(self, calibration: str, tolerance: float) -> Variant:
        """Return the copy with the fewest FP32 layers that stays within the tolerance.

        Where none does, it is the one that differs least, with FP32 layers only where they are worth their size (WORTH).
        calibration: a key of convert.METHODS, or "auto". tolerance: the largest mean difference.
        """
        best = self._best(calibration, 0)
        for kept in KEPT:
            if best.difference.mean <= tolerance or not convert.may_keep(self._ready, kept):
                break
            tried = self._best(calibration, kept)
            if tried.difference.mean <= tolerance or tried.difference.mean < WORTH * best.difference.mean:
                best = tried
        return best

    def timed(self, copies: Sequence[Variant]) -> list[Variant]:
        """Return the original and the copies, each with its milliseconds."""
        every = [Variant(ORIGINAL, self._file), *copies]
        engines = {variant.kind: Engine(variant.file, self._hardware) for variant in every}
        with self._progress(1, "measuring") as tell:
            ms = latencies(engines, self._rows, tell)
        return [replace(variant, ms=ms[variant.kind], bytes=variant.file.stat().st_size) for variant in every]

    def _best(self, calibration: str, kept: int) -> Variant:
        tried = [self._tried(method, kept) for method in (AUTO if calibration == "auto" else (calibration,))]
        return min(tried, key=lambda variant: variant.difference.mean)

    def _tried(self, method: str, kept: int) -> Variant:
        out = self._work / f"int8-{method}-{kept}.onnx"
        with self._progress(len(self._rows), f"calibrating ({method})") as tell:
            convert.to_int8(self._ready, out, self._rows, method, kept, self._work / f"{method}.json", tell)
        return self._compared(Variant("int8", out, method, kept))

    def _compared(self, variant: Variant) -> Variant:
        try:
            outputs = self._outputs(variant.file, f"comparing {variant.kind}")
        except (StartError, EngineError, BadInput) as error:
            words = str(error).removeprefix(f"{variant.file}: ").replace(str(variant.file), "the file")
            raise OptimizeError(f"{variant.kind}: the converted model does not run: {words}") from error
        return replace(variant, differences=differences(self._original, outputs))

    def _outputs(self, file: Path, what: str) -> list[Arrays]:
        engine = Engine(file, self._hardware)
        with self._progress(len(self._rows), what) as tell:
            return outputs_of(engine, self._rows, tell)
