"""One model in memory: its tensors, its instances, its queue."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import prod
from pathlib import Path

import numpy as np

from serving.base.errors import BadInput, ModelFailed, NotReady, ServingError, StartError, TooLarge, WrongInputs
from serving.base.lifetime import Lifetime
from serving.base.process import trim, yield_to_others
from serving.models.batcher import Batcher, Observer
from serving.models.calls import Call
from serving.models.engine import Engine, EngineError, Hardware
from serving.models.options import Options
from serving.models.tensors import DATATYPES, Arrays, ModelSpec, TensorSpec, key_of, split_rows
from serving.settings.model_files import pointed_size

log = logging.getLogger("monopod.model")

LOOP_SECONDS, LOOP_BYTES = 0.0005, 16 * 2**10  # of a full batch, and of its outputs, where batches may run on the loop
LOOP_TRIES = 20  # batches, the fastest of which counts, since much else runs at a start
LOOP_FILE_BYTES = 16 * 2**20  # of a model that is loaded twice, for the loop and for its thread
STALL_SECONDS = 0.001  # of the loop's processor time that a batch may take
MAX_STALLS, STALL_BATCHES = 3, 100  # three stalls within about a hundred batches send a model back to its thread
MAX_SHAPES = 1024  # that are remembered; clients choose them, so their number is bounded
MAX_TIMED_RUNS, TIMED_SECONDS = 10, 0.02  # of a batch, while the model is warmed; a slow batch is run twice
Function = Callable[[Arrays], Arrays]


class Model:
    """A model in memory. `open_model` and `from_function` make one that is warm.

    costs: rows of a batch -> seconds, as the warm-up measured them. It is empty for a model that could not be warmed, since its
    inputs leave sizes open that warmup_shapes does not name. loop_engine: runs batches on the loop, None where none may.
    """

    def __init__(
        self,
        spec: ModelSpec,
        engines: Sequence[Engine | Function],
        options: Options,
        observer: Observer,
        loop: asyncio.AbstractEventLoop | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.spec, self.options, self._engines, self.observer = spec, options, engines, observer
        self._clock = clock
        self.costs: dict[int, float] = {}
        self.loop_engine: Engine | None = None
        self._stalled = 0  # grows by STALL_BATCHES with each stall, and shrinks by 1 with each other batch
        self.most_rows = min(options.max_rows_per_request, options.queue_limit)
        # A row for a run when no call waits. Where open sizes are not named, it is the first row that a client sends.
        self._example: Arrays | None = None
        # It only grows, so threads share it without a lock: a shape that is missing here costs one wrong status.
        self._shapes_that_ran: set[object] = set()
        self.batcher = Batcher(
            spec.name,
            self._run,
            observer,
            instances=len(engines),
            batched=spec.batched,
            max_batch_size=max(1, options.max_batch_size),
            queue_limit=options.queue_limit,
            max_queue_delay=options.max_queue_delay,
            idle=self._shrink_arena,
            yields_cores=options.hardware.provider == "cpu",  # a GPU must not wait for the thread that feeds it
            loop=loop,
            clock=clock,
        )

    def submit(self, arrays: Arrays, life: Lifetime) -> Future[Arrays]:
        """Check the inputs of one call and queue them. The future holds the outputs or a ServingError.

        Raises BadInput, TooLarge, QueueFull, NotReady.
        """
        return self.batcher.submit(arrays, self.checked(arrays), life)

    def enqueue(self, arrays: Arrays, life: Lifetime, done: Callable[[Call], None], on_loop: bool = False) -> None:
        """Check the inputs of one call and queue them as Batcher.enqueue does. Raises what `submit` raises."""
        self.batcher.enqueue(arrays, self.checked(arrays), life, done, on_loop)

    def checked(self, arrays: Arrays) -> int:
        """Return the number of rows of one call. Raises BadInput and TooLarge."""
        count = self.spec.rows(arrays)
        if count > self.most_rows:
            raise TooLarge(
                f"{count} rows for model {self.spec.name}, at most {self.most_rows} are taken at once; send them in parts"
            )
        return count

    def warm_up(self) -> dict[int, float]:
        """Run batches of 1, 2, 4 rows up to the largest, free memory, and return rows -> the cost of a batch in seconds.

        Raises StartError where a batch fails, as the largest does when it does not fit the memory.
        """
        costs = self.costs = {}
        for size in batch_sizes(self.options.max_batch_size if self.spec.batched else 1):
            try:
                batch = example_of(self.spec, self.options.warmup_shapes, size, self.options.memory)
                if batch is None:
                    log.warning("model %s is not warmed: name sizes of its open inputs in warmup_shapes", self.spec.name)
                    return costs
                self._example = self._example or batch
                costs[size] = min(self._timed(instance, batch, size) for instance in range(len(self._engines)))
            except Exception as error:  # a service's own function may raise anything
                words = str(error) if isinstance(error, ServingError | StartError) else repr(error)
                raise StartError(
                    f"model {self.spec.name} fails on a warm-up batch of {size} rows: {words}; lower max_batch_size, give it "
                    "more memory (memory, gpu_memory), or name sizes that it takes in warmup_shapes"
                ) from error
        for instance in range(len(self._engines)):
            self._shrink_arena(instance)
        return costs

    def try_on_loop(self, path: Path) -> None:
        """Have the loop run batches of numbers of fixed sizes, where a session of one thread is fast enough.

        path: of the model. Raises StartError.
        """
        options, tensors = self.options, (*self.spec.inputs, *self.spec.outputs)
        one = options.hardware.provider == "cpu" and options.instances == 1 and not options.max_queue_delay and self.costs
        fixed = self.spec.batched and all(tensor.datatype != "BYTES" and -1 not in tensor.shape[1:] for tensor in tensors)
        row = sum(abs(prod(tensor.shape[1:])) * DATATYPES[tensor.datatype].itemsize for tensor in self.spec.outputs)
        batch = example_of(self.spec, {}, max(self.costs)) if one and fixed else None
        if batch is None or row * max(self.costs) > LOOP_BYTES or path.stat().st_size > LOOP_FILE_BYTES:
            return
        engine, times = Engine(path, Hardware(), arena=False), []
        for _ in range(LOOP_TRIES):
            began = time.thread_time()
            engine.run(batch)
            times.append(time.thread_time() - began)
        self.loop_engine = engine if min(times) <= LOOP_SECONDS else None

    def run_on_loop(self, inputs: Arrays, count: int) -> tuple[Arrays, float, float]:
        """Run one batch on the loop's thread. Return its outputs, and when it began and ended. count: of its rows.

        Raises what the model raises, with nothing counted.
        """
        engine = self.loop_engine
        if engine is None:
            raise NotReady(f"batches of model {self.spec.name} run on its thread")
        began, used = self._clock(), time.thread_time()
        outputs = engine.run(inputs)
        used, ended = time.thread_time() - used, self._clock()
        split_rows(outputs, (count,))
        self.observer.batch(self.spec.name, count, ended - began)
        self._stalled = self._stalled + STALL_BATCHES if used > STALL_SECONDS else max(0, self._stalled - 1)
        if self._stalled > (MAX_STALLS - 1) * STALL_BATCHES:
            self.loop_engine = None
            words = "model %s: batches take over 1 ms of the event loop again and again; from now on its own thread runs them"
            log.warning(words, self.spec.name)
        return outputs, began, ended

    def close(self, timeout: float) -> bool:
        """Finish the queued calls and drop the sessions. Return whether that took no longer than the timeout, seconds."""
        ended = self.batcher.close(timeout)
        self._engines, self.loop_engine = (), None
        self.observer.model_unloaded(self.spec.name)
        return ended

    def _timed(self, instance: int, batch: Arrays, size: int) -> float:
        """Return the seconds of the fastest run. The first run also allocates memory, and others may find the cores taken."""
        times: list[float] = []
        while len(times) < 2 or (len(times) < MAX_TIMED_RUNS and sum(times) < TIMED_SECONDS):
            began = time.perf_counter()
            outputs = self._run(instance, batch)
            times.append(time.perf_counter() - began)
        for name, array in outputs.items():
            if self.spec.batched and (not array.shape or array.shape[0] != size):
                raise ModelFailed(
                    f"output {name!r} has shape {list(array.shape)} for {size} rows: its first axis does not count rows; "
                    "set max_batch_size = 0, which says that the model has no batch axis"
                )
        return min(times)

    def _run(self, instance: int, arrays: Arrays) -> Arrays:
        engine = self._engines[instance]
        if not isinstance(engine, Engine):
            try:
                return engine(arrays)
            except WrongInputs as error:  # raised by another model that this function calls
                raise ModelFailed(f"model {self.spec.name} failed on this batch; the log tells why") from error
        key = key_of(arrays)
        try:
            outputs = engine.run(arrays)
        except EngineError as error:
            # The client chose a shape that the model leaves open. Where it never ran before, the shape is the likely cause.
            if self._has_open_sizes() and key not in self._shapes_that_ran and not error.memory:
                raise BadInput(f"model {self.spec.name} does not take this shape: {error}") from error
            raise
        if self._example is None:
            self._example = {name: array[:1].copy() for name, array in arrays.items()} if self.spec.batched else arrays
        if len(self._shapes_that_ran) < MAX_SHAPES:
            self._shapes_that_ran.add(key)
        return outputs

    def _has_open_sizes(self) -> bool:
        return any(-1 in (spec.shape[1:] if self.spec.batched else spec.shape) for spec in self.spec.inputs)

    def _shrink_arena(self, instance: int) -> None:
        """Free the arena's unused memory. onnxruntime does so at the end of a run, so one row is run."""
        engine = self._engines[instance]
        if isinstance(engine, Engine) and self._example is not None:
            engine.run(self._example, shrink=True)
            trim()


def open_model(
    name: str,
    path: Path,
    options: Options,
    observer: Observer,
    loop: asyncio.AbstractEventLoop | None = None,
    clock: Callable[[], float] = time.monotonic,
    on_loop: bool = False,
) -> Model:
    """Load an ONNX file, with one session for each instance, and warm it.

    loop, clock: of its batcher. on_loop: whether the loop may run batches, where the model is cheap enough.
    Raises StartError where the file is missing or not a model, does not fit the memory, or its provider is not active.
    """
    check_file(path)
    began = time.perf_counter()
    # onnxruntime's own threads take their priority from the thread that opens the session.
    with ThreadPoolExecutor(1, initializer=yield_to_others if options.hardware.provider == "cpu" else None) as aside:
        engines = [aside.submit(Engine, path, options.hardware).result() for _ in range(options.instances)]
    spec = ModelSpec(name, engines[0].inputs, engines[0].outputs, _batched(path, engines[0], options))
    model = _warm(Model(spec, engines, options, observer, loop, clock), began)
    if on_loop:
        model.try_on_loop(path)
    return model


def check_file(path: Path) -> None:
    """Raise StartError where a file cannot be a model: it is missing, a folder, empty, or a Git LFS pointer."""
    if path.is_dir():
        raise StartError(f"{path}: a folder, and a model is one file; name the file in it (model_path in value.py)")
    if not path.is_file():
        made = (path.parent / "Makefile").is_file()
        cure = f"run make model SERVICE={path.parent.parent}" if made else "put the model there"
        raise StartError(f"{path}: no such file; {cure}, or correct its path (model_path in value.py)")
    if not path.stat().st_size:
        raise StartError(f"{path}: the file is empty; put the model there again")
    if pointed_size(path) is not None:
        raise StartError(f"{path}: a Git LFS pointer, not the model itself; run git lfs pull")


def from_function(
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    run: Function,
    options: Options,
    observer: Observer,
    loop: asyncio.AbstractEventLoop | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Model:
    """Make a model of a plain function from arrays to arrays, such as a search in an index, and warm it.

    Each instance has one thread that calls the function. loop, clock: of its batcher.
    Raises StartError where the warm-up fails.
    """
    began = time.perf_counter()
    spec = ModelSpec(name, inputs, outputs, options.max_batch_size > 0)
    return _warm(Model(spec, [run] * options.instances, options, observer, loop, clock), began)


def batch_sizes(largest: int) -> list[int]:
    """Return the batch sizes 1, 2, 4 and so on. The largest is always the last."""
    sizes = [1]
    while sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return sizes + [largest] if largest > 1 else sizes


def example_of(spec: ModelSpec, shapes: dict[str, tuple[int, ...]], rows: int = 1, most: int = 2**40) -> Arrays | None:
    """Return rows of zeros, or of b"" for BYTES, for every input. None where an open size is not named.

    shapes: input -> sizes of one row. Raises StartError where all of them take more than `most` bytes.
    """
    example: Arrays = {}
    left = most
    for tensor in spec.inputs:
        row = tensor.shape[1:] if spec.batched else tensor.shape
        row = shapes.get(tensor.name, row)
        if -1 in row:
            return None
        shape, datatype = (rows, *row) if spec.batched else row, DATATYPES[tensor.datatype]
        left -= prod(shape) * datatype.itemsize
        if left < 0:
            raise StartError(f"input {tensor.name!r} of shape {list(shape)} takes more than the memory, {most >> 20} MiB")
        array = np.zeros(shape, datatype)
        if tensor.datatype == "BYTES":
            array[...] = b""
        example[tensor.name] = array
    return example


def _warm(model: Model, began: float) -> Model:
    loaded = time.perf_counter()
    try:
        costs = model.warm_up()
    except BaseException:
        model.close(1.0)
        raise
    hardware = model.options.hardware
    model.observer.model_loaded(model.spec.name, hardware.provider, model.options.instances, hardware.threads, costs)
    log.info(
        "model %s: loaded in %.2f s, warmed in %.2f s; ms a batch: %s",
        model.spec.name,
        loaded - began,
        time.perf_counter() - loaded,
        ", ".join(f"{rows} rows {seconds * 1000:.2f}" for rows, seconds in costs.items()) or "not measured",
    )
    return model


def _batched(path: Path, engine: Engine, options: Options) -> bool:
    """Return whether the first axis of every tensor counts rows. Raises StartError where the options contradict the model."""
    if options.max_batch_size == 0:
        return False
    fixed = {spec.name: spec.shape[:1] for spec in engine.inputs if spec.shape[:1] not in ((-1,), (1,))}
    if fixed or (options.max_batch_size > 1 and any(spec.shape[:1] == (1,) for spec in engine.inputs)):
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in engine.inputs)
        raise StartError(
            f"{path}: its inputs are {shapes}; the first dimension must be left open (-1) to count rows: export the model so, "
            "or set max_batch_size = 0 (no batch axis), or 1 where it is 1"
        )
    return True
