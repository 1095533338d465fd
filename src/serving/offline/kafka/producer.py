"""Writes records to topics: each is acknowledged by all replicas in step, and written once though it is sent again.

Concurrency. The loop's thread calls every method of TopicWriter, and alone gives messages to a producer. Each producer has a
thread that polls it, since a poll waits. librdkafka calls `_hear` inside that poll, so on that thread. No other uses the list
that `_hear` fills. After each poll the thread hands the list to the loop, which settles the futures of the waiters. `close`
tells the threads to end. Each gives its messages their last seconds, and drops the rest, whose waiters get Unreachable. Where
the loop is gone, the thread ends without a word. A message waits delivery_second at most.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from serving.base.errors import StartError
from serving.offline.kafka.broker_watch import others_are_answered
from serving.offline.kafka.checks import Limits, cause, check_topic
from serving.offline.kafka.client_configuration import Configuration
from serving.offline.records import Refusal, Unreachable

DELIVERY_SECONDS = 30.0
POLL_SECONDS = 0.2  # the longest time until a thread sees that it shall end
CLOSE_SECONDS = 5.0
BATCH_BYTES = 1_000_000  # librdkafka's own
MESSAGE_BYTES = 1_000_000_000  # the largest bound that librdkafka takes: the broker decides
TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)
# A broker refuses these for the record's sake: a record without a key in a compacted topic, or a time out of its bounds.
REFUSED = (KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP)
# A broker refuses a whole batch, though perhaps one of its messages alone is wrong, or none but all of them together too large.
OF_A_BATCH = (*TOO_LARGE, *REFUSED, KafkaError._INVALID_DIFFERENT_RECORD)


class Refused(Exception):
    """A broker refuses a record for good. refusal: why."""

    def __init__(self, refusal: Refusal):
        super().__init__(refusal.text)
        self.refusal = refusal


class _Letter(NamedTuple):
    """A message on its way, and who waits for it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    done: "asyncio.Future[None]"


_Outcome = tuple[_Letter, KafkaError | None, str]  # the error is None for a message that arrived; an event explains it


class TopicWriter:
    """Writes to the topics of one cluster. connected: of client_configuration.connection. delivery_second: of one message."""

    def __init__(self, connected: Configuration, delivery_second: float = DELIVERY_SECONDS):
        self._connected, self._delivery = connected, delivery_second
        self._limits: list[Limits] = []
        self._clients: dict[bool, _Client] = {}  # by whether a batch holds one message alone

    async def check(self, topic: str, may_create: bool = False) -> int:
        """Return a topic's number of partitions. may_create: makes it where it is missing. Raises StartError, Unreachable."""
        found = await asyncio.to_thread(check_topic, self._connected, topic, may_create)
        self._limits.append(found)
        return found.partitions

    async def write(self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
        """Return once a record is acknowledged. Raises Unreachable where that is not known, and Refused."""
        await self.send(topic, key, value, headers)

    def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> "asyncio.Future[None]":
        """Give a record to the producer. The future is done as `write` returns. Records of one key keep their order."""
        done = asyncio.get_running_loop().create_future()
        self._produce(_Letter(topic, key, value, headers, done), alone=False)
        return done

    async def close(self, seconds: float = CLOSE_SECONDS) -> None:
        while self._clients:  # a record of a refused batch goes to a further producer
            clients, self._clients = self._clients, {}
            await asyncio.gather(*(client.end(seconds) for client in clients.values()))

    def _produce(self, letter: _Letter, alone: bool) -> None:
        client = self._client(alone)
        try:
            client.produce(letter)
        except BufferError:
            _fail(letter, Unreachable(f"kafka:{letter.topic}: the producer's queue is full"))
        except KafkaException as raised:
            if _is_fatal(raised.args[0]):
                self._replace(alone, client)
            self._failed(letter, raised.args[0], "", alone)

    def _client(self, alone: bool) -> "_Client":
        if alone not in self._clients:
            is_lost = partial(others_are_answered, self._connected)
            self._clients[alone] = _Client(self._configuration(alone), partial(self._settle, alone), is_lost)
        return self._clients[alone]

    def _configuration(self, alone: bool) -> Configuration:
        known = [limits.batch_bytes for limits in self._limits if limits.batch_bytes]
        return {
            **self._connected,
            "enable.idempotence": True,  # with acks=all
            "message.timeout.ms": int(self._delivery * 1000),
            "request.timeout.ms": int(min(self._delivery, 10) * 1000),
            "topic.metadata.propagation.max.ms": int(min(self._delivery, 10) * 1000),
            # A broker refuses a whole batch over the topic's bound, though each of its messages may fit.
            "batch.size": min([BATCH_BYTES, *known]),
            "batch.num.messages": 1 if alone else 10_000,
            "message.max.bytes": MESSAGE_BYTES,
            "log_level": 0,  # ten lines a second from a broker that is away; the text of Unreachable has the cause
        }

    def _settle(self, alone: bool, client: "_Client", told: list[_Outcome], useless: bool) -> None:
        if useless:
            self._replace(alone, client)
        for letter, error, event in told:
            if error:
                self._failed(letter, error, event, alone)
            elif not letter.done.done():
                letter.done.set_result(None)

    def _replace(self, alone: bool, client: "_Client") -> None:
        """Leave a producer that sends nothing more, so that the next record makes another."""
        if self._clients.get(alone) is client:
            del self._clients[alone]
            client.abandon()

    def _failed(self, letter: _Letter, error: KafkaError, event: str, alone: bool) -> None:
        if error.code() in OF_A_BATCH and not alone:
            self._produce(letter, alone=True)
            return
        _fail(letter, _meaning(letter.topic, error, event))


class _Client:
    """A producer and the thread that polls it.

    settle: called on the loop with the messages that have an outcome, and whether the producer sends nothing more.
    is_lost: asked after a message to a topic timed out, since a client may lose its brokers, as broker_watch says.
    """

    def __init__(
        self,
        configuration: Configuration,
        settle: Callable[["_Client", list[_Outcome], bool], None],
        is_lost: Callable[[str], bool],
    ):
        self._loop = asyncio.get_running_loop()
        self._settle, self._is_lost = settle, is_lost
        self._told: list[_Outcome] = []
        self._event = ""  # the last one of a connection, since a message arrived; used on the thread alone
        self._ending = threading.Event()
        self._last_second = 0.0  # for flushing; written before _ending is set
        self._ended = self._loop.create_future()
        try:
            self._producer = Producer({**configuration, "error_cb": self._hear_event})
        except KafkaException as error:
            raise StartError(f"Kafka: {error.args[0].str()}") from None
        threading.Thread(target=self._poll, name="kafka-producer", daemon=True).start()

    def produce(self, letter: _Letter) -> None:
        self._producer.produce(
            letter.topic, letter.value, letter.key, headers=list(letter.headers), on_delivery=partial(self._hear, letter)
        )

    async def end(self, seconds: float) -> None:
        """End the thread, which waits `seconds` at most for the messages that are under way."""
        self.abandon(seconds)
        await asyncio.shield(self._ended)

    def abandon(self, seconds: float = 0.0) -> None:
        self._last_second = seconds
        self._ending.set()

    def _hear(self, letter: _Letter, error: KafkaError | None, _: Message) -> None:
        self._event = self._event if error else ""
        self._told.append((letter, error, self._event))

    def _hear_event(self, event: KafkaError) -> None:
        self._event = cause([event]) or self._event

    def _poll(self) -> None:
        try:
            while not self._ending.is_set():
                self._producer.poll(POLL_SECONDS)
                self._hand_over()
            self._producer.flush(self._last_second)
            self._producer.purge()
            self._producer.flush(POLL_SECONDS)
            self._hand_over()
            del self._producer  # librdkafka ends its own threads meanwhile, for which the loop must not wait
            self._loop.call_soon_threadsafe(self._ended.set_result, None)
        except RuntimeError:  # the loop is closed, so nobody waits
            return

    def _hand_over(self) -> None:
        if self._told:
            told, self._told = self._told, []
            late = [letter.topic for letter, error, _ in told if error and error.code() == KafkaError._MSG_TIMED_OUT]
            useless = any(error and _is_fatal(error) for _, error, _ in told)
            useless = useless or (bool(late) and not self._ending.is_set() and self._is_lost(late[0]))
            self._loop.call_soon_threadsafe(self._settle, self, told, useless)


def _is_fatal(error: KafkaError) -> bool:
    return bool(error.fatal()) or error.code() == KafkaError._FATAL


def _fail(letter: _Letter, error: Exception) -> None:
    if not letter.done.done():  # its waiter may be gone
        letter.done.set_exception(error)


def _meaning(topic: str, error: KafkaError, event: str) -> Exception:
    """Return what an error means for a record: to be written again, or refused for good. event: of the connection, if any."""
    text = f"kafka:{topic}: {error.str()}"
    if error.code() in TOO_LARGE:
        return Refused(Refusal("too_large", f"{text}; raise the topic's max.message.bytes"))
    return (
        Refused(Refusal("refused_by_sink", text))
        if error.code() in REFUSED
        else Unreachable(f"{text}; {event}" if event else text)
    )
