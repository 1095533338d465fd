"""A process that runs records through a service: its start, its work and its end.

Concurrency. The main thread runs the loop: the admin port, the core's answers, the pipeline and a task for each sink. The
loader thread ends with the models' start. A hanging part is left to /livez, whose failure has the pod stopped. A process that
ends while a model hangs does not leave its group in order. The next owner then counts a death, and finds the record.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from serving.base.errors import StartError
from serving.base.process import trim_at_rest
from serving.offline.batch_writer import BatchWriter
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.pipeline import Bounds, Pipeline
from serving.offline.records import Answer, DeadLetter, DeadLetters, Sink, Source, SourceFailed, Unreachable
from serving.offline.retry_policy import retry_times
from serving.service.application import PAGE, Application
from serving.service.service import handles_itself
from serving.settings import Settings, size_in_bytes
from serving.web import process
from serving.web.admin import admin_port as admin_port_of
from serving.web.admin import stuck_part
from serving.web.front.held_bytes import Bodies
from serving.web.front.request_cycle import Deadlines
from serving.web.process import ServiceContext

log = logging.getLogger("monopod.offline")

CLOSE_SECONDS = 10.0  # that a sink may take to disconnect
LOOK_SECONDS = 0.1  # between two looks at whether the source is ready
STUCK_SOURCE = 60.0  # seconds for which the source's own thread may do nothing
BATCHES_AHEAD = 4  # that wait in the core for each instance of the model, so that none is idle


@dataclass(frozen=True)
class Job:
    """The work of a process.

    check: looks first whether the source can be read. It runs on a thread that may wait, and raises StartError, Unreachable.
    ended: gets the signal that ended it, or 0, and how many records had which outcome, as monopod_offline_records_total. It
    returns the exit status, and is called after everything is closed.
    """

    source: Source
    sinks: Sequence[Sink]
    dead: DeadLetters
    check: Callable[[], object] = lambda: None
    ended: Callable[[int, Mapping[str, int]], int] = lambda number, outcomes: 0


MakeJob = Callable[[ServiceContext, OfflineMetrics], Job]


def run(folder: Path, make: MakeJob, admin_port: int, platform: str, log_to_error: bool = False) -> int:
    """Run a job until its end, SIGTERM or Ctrl-C, and return the exit status. Mistakes are told as `monopod serve` does.

    make: raises StartError. platform: its version, for the metrics. log_to_error: because stdout is for answers.
    """
    return process.run(lambda began: _run(folder, make, admin_port, began, platform, log_to_error))


async def _run(folder: Path, make: MakeJob, admin_port: int, began: float, platform: str, log_to_error: bool) -> int:
    loop = asyncio.get_running_loop()
    context = process.build(folder, offline_settings(process.settings_of(folder, log_to_error)), loop, platform)
    if isinstance(context.service, Application):
        raise StartError(f"src/server.py holds a WSGI application; `monopod offline` needs a subclass of Service ({PAGE})")
    context.core.collects = True
    context.core.fetches = threading.Semaphore(context.gate.limit)  # no record starves another one's client
    metrics = OfflineMetrics(context.metrics)
    end = process.End(loop)
    running = _Process(context, metrics, make(context, metrics), end, loop)
    admin = admin_port_of(context, (Bodies(0), Deadlines(loop)), loop, "0.0.0.0", admin_port, running.stuck_source)
    process.show_connections(context.metrics, {"admin": admin.connections})
    admin.start()
    try:
        code = await running.live(partial(_load, context, folder, began, end))
    except StartError as error:
        code = process.give_up(str(error))
    except Unreachable as error:  # of a sink at the start; one that goes away later is waited for
        code = process.give_up(f"{error}; start again once it answers, or correct its address")
    # Threads that hang in a model or in the service's own code must not delay the exit.
    os._exit(code)


def offline_settings(settings: Settings) -> Settings:
    """Return the settings with the times of records in place of those of requests."""
    return replace(settings, timeout_second=settings.offline_timeout_second)


def _load(context: ServiceContext, folder: Path, began: float, end: process.End, loaded: Callable[[], object]) -> None:
    threading.Thread(target=process.load, args=(context, folder, began, end, loaded), name="loader", daemon=True).start()
    core = context.core
    threading.Thread(target=trim_at_rest, args=(lambda: core.jobs,), name="trimmer", daemon=True).start()


class _Process:
    """One run of a job."""

    def __init__(
        self,
        context: ServiceContext,
        metrics: OfflineMetrics,
        job: Job,
        end: process.End,
        loop: asyncio.AbstractEventLoop,
    ):
        self._context, self._job, self._end, self._loop = context, job, end, loop
        self._started = False  # the source
        self._parts: Sequence[Sink | DeadLetters] = (*job.sinks, job.dead)
        bounds = _bounds(context)
        observe = metrics.sink_duration.labels
        self._sinks = [BatchWriter[Answer](s.name, s.write, bounds.times, observe(s.name).observe) for s in job.sinks]
        self._dead = BatchWriter[DeadLetter](job.dead.name, job.dead.write, bounds.times, observe(job.dead.name).observe)
        self._pipeline = Pipeline(loop, context.core.answer, job.source, self._sinks, self._dead, bounds, metrics)
        _show(metrics, self._pipeline, [*self._sinks, self._dead])

    def stuck_source(self) -> str:
        seconds = self._job.source.stuck_seconds() if self._started else 0.0
        return f"the source's thread has done nothing for {seconds:.0f} s" if seconds > STUCK_SOURCE else ""

    async def live(self, load: Callable[[Callable[[], object]], None]) -> int:
        """Open everything, load the models, work until there is a reason to end, and return the exit status.

        load: begins to load the models, and has a function called on another thread at the end. Raises StartError, Unreachable.
        """
        await asyncio.to_thread(self._job.check)
        for part in self._parts:
            await part.open()
        loaded = asyncio.Event()
        load(partial(self._loop.call_soon_threadsafe, loaded.set))
        await _first(loaded.wait(), self._end.wait())
        writers: list[asyncio.Task[None]] = []
        if loaded.is_set() and not self._end.signal:
            writers += [asyncio.create_task(writer.run()) for writer in self._sinks]
            writers.append(asyncio.create_task(self._dead.run()))
            self._end.failure = await self._work(writers) or self._end.failure
        stuck = self._stuck_model()
        self._context.gate.drain()
        if stuck:
            log.critical("%s: the process ends without leaving its group, so that the record that caused it is found", stuck)
            return process.end_with(1)
        await self._stop(writers)
        failure = self._end.failure
        code = self._ended() if self._started or not failure else 1  # of a failure too, it tells what was done before
        return process.give_up(failure) if failure else process.end_with(code)

    async def _work(self, writers: Sequence["asyncio.Task[None]"]) -> str:
        """Run records until there is a reason to end. Return what failed, "" where nothing did."""
        self._job.source.start(self._pipeline.take, self._pipeline.withdraw)
        self._started = True
        ready = asyncio.create_task(self._open_gate())
        ended = asyncio.create_task(self._job.source.ended())
        try:
            await _first(self._end.wait(), ended, *writers)
            for task in (ended, *writers):
                if task.done():
                    task.result()
        except SourceFailed as error:
            return str(error)
        except BrokenPipeError:
            return "nobody reads standard output any more, so the process ends; what was not written is not committed"
        except Exception as error:
            log.exception("the work failed")
            return f"unexpected: {type(error).__name__}: {error}; the traceback is above, please report it"
        finally:
            ready.cancel()
            ended.cancel()
        return ""

    async def _open_gate(self) -> None:
        while not self._job.source.ready():
            await asyncio.sleep(LOOK_SECONDS)
        self._context.gate.open()

    async def _stop(self, writers: Sequence["asyncio.Task[None]"]) -> None:
        """Finish what was begun, commit it, and close everything."""
        if self._end.signal:
            log.info("signal %d: finishing what was begun", self._end.signal)
        if self._started:
            sinks_end = any(writer.done() for writer in writers)  # so that nothing which was begun can be finished
            await self._job.source.stop(0.0 if sinks_end else self._context.settings.offline_revoke_second)
        for writer in writers:
            writer.cancel()
        for part in self._parts:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(part.close(), CLOSE_SECONDS)

    def _ended(self) -> int:
        return self._job.ended(self._end.signal, self._pipeline.outcomes)

    def _stuck_model(self) -> str:
        context = self._context
        times = context.settings.stuck_after_second, context.settings.timeout_second
        return stuck_part(context.models, context.core.stuck_seconds(), *times)


def _bounds(context: ServiceContext) -> Bounds:
    settings = context.settings
    return Bounds(
        limit=_places(context),
        timeout=settings.offline_timeout_second,
        max_record=size_in_bytes(settings.offline_max_record),
        retries=settings.offline_retries,
        times=retry_times(settings),
        revoke_second=settings.offline_revoke_second,
        version=os.environ.get("MONOPOD_VERSION", "dev"),
    )


def _places(context: ServiceContext) -> int:
    """Return how many records are in the core at once: as many as online, but no more than keep the model busy.

    The time of a try counts from there, and a record behind too many others would use it up in the queue. A record that waits
    for another server, or for several models in turn, keeps no model busy meanwhile.
    """
    settings, most = context.settings, context.gate.limit
    if settings.fetch_hosts or handles_itself(context.service):
        return most
    return min(most, BATCHES_AHEAD * settings.ins_num_per_gpu * max(1, settings.max_batch_size))


def _show(metrics: OfflineMetrics, pipeline: Pipeline, writers: Sequence[BatchWriter[Any]]) -> None:
    metrics.show("in_flight_records", lambda: {(): float(len(pipeline.unfinished))})
    metrics.show("oldest_record_age_seconds", lambda: {(): pipeline.oldest_age()})
    metrics.show("held", lambda: {(): float(pipeline.breaker.is_open)})
    metrics.show("sink_waiting", lambda: {(writer.name,): float(writer.waiting()) for writer in writers})
    metrics.show("sink_away_seconds", lambda: {(writer.name,): writer.away_seconds() for writer in writers})


async def _first(*waited: "Coroutine[Any, Any, object] | asyncio.Task[None]") -> None:
    """Wait until one of several has ended. Coroutines are cancelled then, tasks are not."""
    tasks = [each if isinstance(each, asyncio.Task) else asyncio.create_task(each) for each in waited]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, each in zip(tasks, waited, strict=True):
            if task is not each:
                task.cancel()
