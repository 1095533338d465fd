"""The lane: small requests to a cheap model, from their bytes to their answers in one turn of the loop.

The rows of all requests that a turn reads make a batch, which runs on the loop at the end of the turn. So no thread is woken,
and few objects are made. Rows beyond the largest batch wait for the next turn, and the loop reads in between. A request is left
to the general path, with nothing counted, where anything about it is unusual. Where something unusual comes later, as an error
of the model or a client that is gone, it becomes an ordinary request cycle.

Concurrency. Only the loop's thread calls what is here. A batch of the lane may run beside one of the model's thread.
"""

import asyncio
import logging
import math
import re
import time
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from serving.base.errors import ServingError
from serving.base.request_ids import new_request_id
from serving.core.messages import BATCH, ENCODE, INFER, QUEUE, UPLOAD, Reply
from serving.core.stages import SMALL_BINARY, SMALL_JSON, Encode
from serving.inputs.v2_open_inference import MODEL_VERSION, PackedRows, encode_rows, join, pack
from serving.models.model import Model
from serving.models.tensors import Arrays, join_rows, split_rows
from serving.telemetry.request_metrics import END, NUMBERS
from serving.web.admission import READY, Gate
from serving.web.data_port import LENGTH_FIELD, TAKEN, TENSORS, Answered, DataPort, HotRoute, HotRoutes, is_small
from serving.web.front import answers
from serving.web.front.heads import Head, parse
from serving.web.front.request_cycle import Client, RequestCycle, Rules, allowed_seconds, kind_of_content

log = logging.getLogger("monopod.front")

MAX_HEAD = 4 * 2**10  # bytes
MAX_FIELDS = 100
BATCHES_WAITING = 2  # of full size, until a batch runs within a turn
MAX_KNOWN = 256  # heads that are remembered, without the lines that differ in each request
# The lines that a mesh makes anew for each request. One of another form is part of what is remembered of a head.
VARYING = re.compile(
    rb"\r\n(x-request-id|traceparent|x-b3-(?:traceid|spanid|parentspanid)): ([A-Za-z0-9._:/+=-]{1,128})(?=\r\n)"
)
DECODE = NUMBERS["decode"]
UNUSUAL = (b"upgrade", b"expect", b"content-encoding", b"transfer-encoding")  # fields


class KnownHead(NamedTuple):
    """A head that the lane takes.

    kind: of its body. header_length: of binary tensors. most: bytes that its body may have. seconds: that the client allows.
    """

    head: Head
    kind: str
    header_length: str | None
    most: int
    seconds: float


def known(head: bytes) -> KnownHead | None:
    """Return what a head says, None for one that is refused or unusual."""
    try:
        found = parse(head)
    except ServingError:
        return None
    fields = found.headers
    if found.method != "POST" or found.query or found.version != "1.1" or not found.keep_alive:
        return None
    if len(fields) > MAX_FIELDS or any(name in fields for name in UNUSUAL):
        return None
    kind = kind_of_content(fields.get(b"content-type", b""))[1]
    given = fields.get(LENGTH_FIELD)
    if kind not in TAKEN or (given is not None and kind != TENSORS):
        return None
    length = None if given is None else given.decode("latin-1")
    if length is not None and not is_small(length):
        return None
    most = SMALL_JSON if length is None else SMALL_BINARY
    return KnownHead(found, kind, length, most, allowed_seconds(fields, math.inf))


_known = lru_cache(MAX_KNOWN)(known)


def read_head(head: bytes) -> tuple[KnownHead, bytes, bytes] | None:
    """Return what a head says, its id and its trace, b"" where there is none. None for one that is refused or unusual."""
    lines = VARYING.findall(head)
    values = dict(lines)
    said = _known(VARYING.sub(b"", head) if lines else head)
    if said is None or len(values) < len(lines):
        return None
    fields = said.head.headers
    if values and not values.keys().isdisjoint(fields):
        return None  # it is repeated
    name = values.get(b"x-request-id") or fields.get(b"x-request-id", b"")
    return said, name, values.get(b"traceparent") or fields.get(b"traceparent", b"")


class LaneCycle(RequestCycle):
    """A request in the lane. It has what an answer needs, and becomes a whole request cycle by `grow`."""

    running = True
    trace = b""
    rows: PackedRows | None  # of a request that is plain JSON
    arrays: Arrays  # of any other, by the model's inputs
    encode: Encode
    count: int  # of rows
    due: float  # seconds of time.monotonic(), as all times here
    decoded: float

    def __init__(self, rules: Rules, client: Client, head: Head, data: bytes, label: str, begun: float):
        self.rules, self.client, self.head, self.data, self.route, self.begun = rules, client, head, data, label, begun
        self.held = len(data)

    def grow(self) -> None:
        """Become as a cycle is that was just let in."""
        name = self.id
        end = len(self.data) - self.head.length
        super().__init__(self.client, self.rules, parse(self.data[:end]), self.begun)
        self.id, self.length, self._body = name, self.head.length, self.data[end:]
        self.content_type, self.kind = kind_of_content(self.head.headers.get(b"content-type", b""))
        self.life.deadline = self.due
        self.times.begin("queue", self.begun)

    def go_on(self) -> None:
        """Be answered by the general path, from its beginning."""
        self.grow()
        self.start()

    def abandon(self) -> None:
        """End without an answer: the client went away."""
        if "life" not in self.__dict__:
            self.grow()
        super().abandon()


class Lane:
    """The requests of this turn of the loop. hot: the routes. requests: notes their ends. `rules` is set once they are made."""

    rules: Rules

    def __init__(self, loop: asyncio.AbstractEventLoop, gate: Gate, hot: HotRoutes, requests: DataPort):
        self._loop, self._gate, self._hot, self._requests = loop, gate, hot, requests
        self._batches: dict[tuple[Model, str, bool], list[LaneCycle]] = {}  # by the route, and whether rows are arrays
        self._turn_ends = False  # whether the batches will run after this turn

    def take(self, client: Client, data: bytes, begin: float) -> RequestCycle | None:
        """Take a whole request, or return None with nothing done. begin: when it came, in seconds of time.monotonic()."""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
        found = read_head(data[:end]) if end >= 4 else None
        if found is None:
            return None
        said, name, trace = found
        if not 0 < said.head.length == len(data) - end <= said.most:
            return None
        route = self._hot.find(said.head.path)
        model = None if route is None or route.model is None else route.model.on_loop()
        if route is None or model is None or said.kind not in route.kinds or self._gate.state != READY:
            return None
        cycle = LaneCycle(self.rules, client, said.head, data, route.label, begin)
        if not self._queued(cycle, route, model, data[end:], said):
            return None
        cycle.id = answers.request_id(name.decode("latin-1")) if name else new_request_id()
        if trace:
            cycle.trace = trace
        return cycle

    def _queued(self, cycle: LaneCycle, route: HotRoute, model: Model, body: bytes, said: KnownHead) -> bool:
        """Decode a request and add its rows to this turn's batch. Return False, with nothing done, where that cannot be."""
        batcher, seconds = model.batcher, None
        most = batcher.max_batch_size if batcher.max_batch_size < batcher.queue_limit else batcher.queue_limit
        try:
            cycle.rows = rows = pack(body, model.spec, model.most_rows) if route.packs and said.header_length is None else None
            if rows is None and route.read is not None:
                cycle.arrays, seconds, cycle.encode = route.read(body, said.header_length, model.spec)
            count = model.checked(cycle.arrays) if rows is None else rows[0]
        except Exception:  # the general path finds it too, and tells the client
            return False
        if count > most:
            return False
        while batcher.rows_on_loop + count > min(BATCHES_WAITING * most, batcher.queue_limit):
            self._run(model)
        if self._gate.enter(True) is not None:
            return False
        cycle.count = count
        cycle.due = cycle.begun + min(self.rules.timeout, said.seconds, seconds or math.inf)
        cycle.decoded = time.monotonic()
        self.rules.bodies.add_whole(cycle.held)
        batcher.rows_on_loop += count
        self._batches.setdefault((model, cycle.route, rows is None), []).append(cycle)
        if not self._turn_ends:
            self._turn_ends = True
            self._loop.call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        """Run one batch, so that the loop reads again before the next one, and a ping does not wait for all of them."""
        if self._batches:
            self._run(next(iter(self._batches))[0])
        self._turn_ends = bool(self._batches)
        if self._turn_ends:
            self._loop.call_soon(self._end_turn)

    def _run(self, model: Model) -> None:
        """Run the next batch of a model, and answer its requests."""
        now, key = time.monotonic(), next(key for key in self._batches if key[0] is model)
        waiting = self._batches.pop(key)
        rows = list(accumulate([cycle.count for cycle in waiting]))
        number = bisect_right(rows, model.batcher.max_batch_size)
        if number < len(waiting):
            self._batches[key] = waiting[number:]
        model.batcher.rows_on_loop -= rows[number - 1]
        waiting = [cycle for cycle in waiting[:number] if not cycle.over]
        cycles = [cycle for cycle in waiting if cycle.due > now]
        for late in [cycle for cycle in waiting if cycle.due <= now]:
            late.go_on()
        if cycles:
            self._run_batch(model, cycles, now)

    def _run_batch(self, model: Model, cycles: list[LaneCycle], now: float) -> None:
        counts, packed = [each.count for each in cycles], [each.rows for each in cycles if each.rows is not None]
        try:
            inputs = join(packed, model.spec) if packed else join_rows([each.arrays for each in cycles])
            outputs, joined, ended = model.run_on_loop(inputs, sum(counts))
            replies: list[Reply] = []
            if packed:
                bodies = encode_rows(packed, model.spec, MODEL_VERSION, outputs) or []
            else:
                parts = zip(cycles, split_rows(outputs, counts), strict=True)
                replies = [each.encode(part) for each, part in parts]
                bodies = [reply.body for reply in replies]
            assert len(bodies) == len(cycles)
        except Exception:  # the general path finds whose fault it is
            for cycle in cycles:
                cycle.go_on()
            return
        closes = self._gate.state != READY
        more, names = answers.CLOSE if closes else "", [cycle.id for cycle in cycles]
        if packed:
            written = answers.json_answers(bodies, names, more)
        else:
            written = [answers.answer(reply, name, more) for reply, name in zip(replies, names, strict=True)]
        try:
            self._note(cycles, bodies, (BATCH, now, INFER, joined, ENCODE, ended))
        except Exception:  # the answers are good, and other batches of this turn wait
            log.exception("%d answers could not be counted", len(cycles), extra={"request_id": cycles[0].id})
        for cycle, answer in zip(cycles, written, strict=True):
            try:
                cycle.client.send(answer, closes)
            except Exception:  # it concerns no other
                log.exception("a request could not be answered", extra={"request_id": cycle.id})

    def _note(self, cycles: list[LaneCycle], bodies: list[bytes], times: tuple[float, ...]) -> None:
        """Count and log good answers of one route."""
        now, stages, answered = time.monotonic(), list[float](), list[Answered]()
        for cycle, body in zip(cycles, bodies, strict=True):
            cycle.over, begun, head = True, cycle.begun, cycle.head
            stages += (UPLOAD, begun, QUEUE, begun, DECODE, begun, QUEUE, cycle.decoded, *times, END, now)
            answered.append((head, cycle.id, cycle.trace, begun, begun, now, head.length, len(body)))
        self._gate.leave(True, len(cycles))
        self.rules.bodies.release_whole(sum([cycle.held for cycle in cycles]))
        self._requests.metrics.stages(stages)
        self._requests.note(cycles[0].route, 200, "", answered)
