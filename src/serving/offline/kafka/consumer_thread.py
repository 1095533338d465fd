"""The thread that reads a topic: it owns the consumer, each partition's progress and all commits.

Concurrency. Only this thread calls the consumer, so the callbacks of a rebalance run on it too, within a read. It meets the
loop in a ThreadBridge alone, so there is no lock. Commits are synchronous. They take 2 ms, no older commit can land after a
newer one, and none is under way when a revocation ends. Where the group's broker is away, a commit waits, and nothing but
reading waits with it. The client sets no end to that, so the loop does.

On revocation nothing of the partition is handed over any more, for this thread is in the callback. The loop drops what it has
not begun, the thread waits a bounded time for the rest, commits, and forgets the partition. A record that ends later belongs to
an older generation, and is not committed. The thread ends after stop_by is set, or by an error that no waiting cures. In both
cases it withdraws everything, leaves the group, and tells the bridge. Where the client is lost, it only tells that.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from serving.offline.kafka.broker_watch import ClientWatch, ReadingFigures, figures_of
from serving.offline.kafka.client_configuration import ReadingPlan, consumer
from serving.offline.kafka.groups import CALL_SECONDS, NO_RIGHT, begin, no_right, reason_of, standing_of, start_offset
from serving.offline.kafka.progress import Admission, CommitNote, Handed, Partition, Progress, read_note, write_note
from serving.offline.offline_metrics import OfflineMetrics
from serving.offline.reading_bounds import ReadingBounds
from serving.offline.records import Record, SourceFailed
from serving.offline.thread_bridge import End, ThreadBridge
from serving.telemetry.logs import LogThrottle

log = logging.getLogger("monopod.kafka")
Result = TypeVar("Result")

POLL_SECONDS = 0.1
WAIT_SECONDS = 0.05  # for news, before the next look
HOLD_SECONDS = 1.0  # without a read, until partitions whose records wait are paused
MAX_READ, MAX_READ_BYTES = 128, 4 << 20  # in one turn
GROUP_SECONDS = 2.0  # between two questions whether the group has given this member no partition
WAITS = (
    "no partition of %s yet: the group %s has members with partitions (%s). A dead one keeps them until its session ends, "
    "by default for 45 s"
)
OLD_BROKERS = 'Brokers before 4.0 lack the new group protocol: set offline_protocol = "classic".'
COMMIT_SECONDS = 1.0  # between two regular commits
REST_SECONDS = 5.0  # without an unfinished record, until the note is closed
AGAIN_SECONDS = 0.5  # after a commit or a question that failed

Due = tuple[Partition, tuple[int, CommitNote]]


class ConsumerThread:
    """One consumer of one topic. Its fields are the thread's own, but for `known` and `figures`, which any thread may read."""

    def __init__(self, plan: ReadingPlan, bridge: ThreadBridge, metrics: OfflineMetrics):
        self._plan, self._bridge, self._metrics = plan, bridge, metrics
        self._topic, self._window = plan.topic, plan.settings.offline_window
        self._owned: dict[int, Partition] = {}
        self._withdrawn: set[int] = set()
        self._bounds = ReadingBounds(plan.settings.offline_rate, plan.max_bytes(), plan.limit)
        self._admission = Admission(self._bounds)
        self._generation = 0
        self._polled_at = self._asked_at = 0.0
        self._lines = LogThrottle()
        self._lost: SourceFailed | None = None  # once it is set, the consumer may hang in any call, also in close
        self.known = False  # which partitions are this member's
        self.figures = ReadingFigures()

    def run(self) -> None:
        error: Exception | None = None
        try:
            self._consumer = Consumer(consumer(self._plan.connected, self._plan.settings, self._plan.group))
            self._watch = ClientWatch(self._consumer, self._plan)
            self._commits = OffsetCommits(self._consumer, self._bridge, self._metrics, self._plan.dry)
            try:
                error = self._read_on()
                if not self._lost:
                    self._give_up(list(self._owned.values()), self._deadline())
            finally:
                if not self._lost:
                    self._consumer.close()
        except Exception as failure:  # whatever it is, the process has to hear of it
            log.exception("the reader's thread failed")
            error = error or SourceFailed(f"Reading {self._topic} failed: {failure}.")
        if error:
            self._bridge.end(error)
        self._bridge.leave()

    def _read_on(self) -> SourceFailed | None:
        plan = self._plan
        try:
            if not plan.dry:
                self._patiently(lambda: begin(plan.connected, plan.topic, plan.group, plan.settings.offline_start))
            self._consumer.subscribe([plan.topic], on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lose)
            while self._bridge.stop_by is None:
                self._turn(time.monotonic())
        except SourceFailed as error:
            return error
        except KafkaException as error:  # of a callback, which gives up asking brokers that are away once the thread is to stop
            if self._bridge.stop_by is None:
                return _failure(error.args[0], plan.topic, plan.group)
        return None

    def _turn(self, now: float) -> None:
        if self._lost:
            raise self._lost
        self._take_news()
        self._hand_over(now)
        if self._commits.regular(self._owned.values(), now):
            self.figures = figures_of(self._consumer, self._owned.values(), now)
            self._lost = self._watch.look(now)
        self._look_for_end()
        self._learn_whether_idle(now)
        self._pause_and_resume()
        blocked = any(each.waiting and not each.paused for each in self._owned.values())
        if blocked and now - self._polled_at < HOLD_SECONDS:
            self._bridge.wait(WAIT_SECONDS)
        else:
            self._pause([each for each in self._owned.values() if each.waiting])
            self._read()

    def _take_news(self) -> None:
        for news in self._bridge.news():
            if not isinstance(news, End):
                if any(each.generation == news.generation for each in self._owned.values()):  # else nobody waits for it
                    self._withdrawn.add(news.generation)
                continue
            self._admission.ended(news.origin)
            owned = self._owned.get(news.origin.partition)
            if owned and owned.topic == news.origin.topic and owned.generation == getattr(news.origin, "generation", None):
                if news.finished:
                    owned.progress.finish(news.origin.offset)
                else:
                    owned.dropped += 1

    def _hand_over(self, now: float) -> None:
        while not self._bridge.held:
            given, due = self._admission.admit(list(self._owned.values()), now)
            if given:
                self._bridge.give(given)
            if not due or not self._commits.wanted(due, now):
                return

    def _look_for_end(self) -> None:
        """Tell the bridge once as many records as wanted are finished and committed."""
        if self._admission.all_ended and not self._bridge.finished:
            due = [(each, each.progress.at_rest()) for each in self._owned.values()]
            if not due or self._commits.store(due):
                self._bridge.end()

    def _learn_whether_idle(self, now: float) -> None:
        """Learn that this member has no partition: KIP-848 calls nobody for that. Meanwhile tell what it waits for."""
        if self.known or now - self._asked_at <= GROUP_SECONDS:
            return
        asks_again, self._asked_at = self._asked_at > 0, now
        self.known, others = standing_of(self._plan.connected, self._plan.group, self._consumer.memberid())
        if not self.known and others and asks_again and self._lines.allows("the group"):
            log.info(WAITS, self._topic, self._plan.group, ", ".join(others))

    # Reading

    def _read(self) -> None:
        """Read some records. Where every partition is paused, only events of the group come."""
        rests = bool(self._owned) and all(each.paused for each in self._owned.values())
        first = self._consumer.poll(0 if rests else POLL_SECONDS)
        self._polled_at = time.monotonic()
        if first is None:
            if rests:
                self._bridge.wait(WAIT_SECONDS)
            return
        size = len(first.value() or b"") + 1
        most = min(MAX_READ, max(1, MAX_READ_BYTES // size), self._room(), self._plan.max_read() or MAX_READ)
        for message in [first, *(self._consumer.consume(most - 1, 0) if most > 1 else ())]:
            self._sort(message)

    def _room(self) -> int:
        """Return how many records can be handed over, one at least: what is read beyond it only waits."""
        return max(1, sum(max(0, self._window - each.progress.unfinished) for each in self._owned.values()))

    def _sort(self, message: Message) -> None:
        error = message.error()
        owned = self._owned.get(message.partition() or 0)
        if error is None and owned:
            offset = message.offset() or 0
            if offset >= owned.next_read:
                owned.waiting.append(_record_of(message, owned.generation))
                owned.next_read = offset + 1
        elif error is not None:
            self._take_error(error, owned, message)

    def _take_error(self, error: KafkaError, owned: Partition | None, message: Message) -> None:
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            if owned:
                owned.reach_end(message.offset() or 0)
        elif code == KafkaError._AUTO_OFFSET_RESET:
            if owned:
                self._skip_lost(owned)
        elif error.fatal() or code == KafkaError._FATAL:  # of a message, the client tells it by its code alone
            raise _failure(error, self._topic, self._plan.group)
        elif self._lines.allows(error.name()):
            log.warning("reading %s waits: %s", self._topic, error.str())

    def _skip_lost(self, owned: Partition) -> None:
        """Go on at the earliest record, after retention deleted those that were to be read next."""
        place = TopicPartition(owned.topic, owned.number)
        first, _ = self._patiently(lambda: self._consumer.get_watermark_offsets(place, timeout=CALL_SECONDS))
        lost = first - owned.next_read
        self._metrics.lost_records.inc(max(0, lost))
        if lost >= 0:
            log.error("retention deleted %d records of %s [%d] before they were read", lost, owned.topic, owned.number)
        else:
            log.error("%s was created anew: partition %d is read from %d on", owned.topic, owned.number, first)
            owned = self._owned[owned.number] = self._own(owned.topic, owned.number, first, CommitNote())
            self._commits.store([(owned, (first, CommitNote()))])
        owned.next_read = first
        self._consumer.incremental_unassign([place])
        self._consumer.incremental_assign([TopicPartition(owned.topic, owned.number, first)])
        self._consumer.resume([place])
        owned.paused = False

    def _pause_and_resume(self) -> None:
        """Pause everything while reading is held, and resume what has drained to half of its window."""
        if self._bridge.held or self._bounds.exhausted:
            self._pause(self._owned.values())
            return
        ready = [each for each in self._owned.values() if each.paused and each.has_drained(self._window)]
        if ready:
            self._consumer.resume([TopicPartition(each.topic, each.number) for each in ready])
            for each in ready:
                each.paused = False

    def _pause(self, partitions: Iterable[Partition]) -> None:
        """Pause partitions: records that the client has fetched ahead are thrown away, and fetched again later."""
        if running := [each for each in partitions if not each.paused]:
            self._consumer.pause([TopicPartition(each.topic, each.number) for each in running])
            for each in running:
                each.paused = True

    # The group

    def _assign(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Take partitions, each from its commit on. One without a commit is committed before it is read."""
        self._metrics.rebalances.inc()
        self.known = True
        new = []
        for place in self._committed(places) if places else ():
            offset, note = place.offset, read_note(place.metadata)
            if offset < 0:
                offset = self._patiently(partial(self._start, place.partition))
            owned = self._owned[place.partition] = self._own(place.topic, place.partition, offset, note)
            if place.offset < 0:
                new.append((owned, (offset, note)))
        while new and not self._commits.store(new) and self._bridge.stop_by is None:
            time.sleep(AGAIN_SECONDS)
        starts = [TopicPartition(each.topic, each.partition, self._owned[each.partition].next_read) for each in places]
        consumer.incremental_assign(starts)
        consumer.resume(starts)  # the client keeps a pause over assignments
        self._tell()

    def _tell(self) -> None:
        numbers = ", ".join(map(str, sorted(self._owned)))
        log.info("this process has %s of %s", f"the partitions {numbers}" if numbers else "no partition", self._topic)

    def _committed(self, places: list[TopicPartition]) -> list[TopicPartition]:
        return self._patiently(lambda: _checked(self._consumer.committed(places, timeout=CALL_SECONDS)))

    def _start(self, partition: int) -> int:
        plan, topic = self._plan, self._topic
        known = self._consumer.list_topics(topic, timeout=CALL_SECONDS).topics[topic].partitions
        others = self._committed([TopicPartition(topic, number) for number in known])
        begun = any(each.offset >= 0 for each in others)
        return start_offset(plan.connected, topic, partition, plan.settings.offline_start, begun)

    def _own(self, topic: str, number: int, offset: int, note: CommitNote) -> Partition:
        self._generation += 1
        return Partition(topic, number, self._generation, Progress(offset, note, self._window), next_read=offset)

    def _revoke(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Finish and commit what was begun of partitions that go to another owner."""
        self._metrics.rebalances.inc()
        owned = [self._owned[place.partition] for place in places if place.partition in self._owned]
        self._give_up(owned, self._deadline())
        consumer.incremental_unassign(places)
        self._tell()

    def _lose(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Forget partitions that another owner may have already. A commit would be refused."""
        self._metrics.rebalances.inc()
        for place in places:
            if owned := self._owned.pop(place.partition, None):
                log.warning("%s [%d] was lost: the group took this member for dead", owned.topic, owned.number)
                self._bridge.withdraw(owned.topic, owned.number, owned.generation)
        consumer.incremental_unassign(places)

    def _give_up(self, partitions: Sequence[Partition], deadline: float) -> None:
        """Withdraw partitions, wait for what was begun, commit, and forget them."""
        for each in partitions:
            each.waiting.clear()
            self._bridge.withdraw(each.topic, each.number, each.generation)
        self._take_news()
        while not all(each.is_done(self._withdrawn) for each in partitions) and time.monotonic() < deadline:
            self._bridge.wait(WAIT_SECONDS)
            self._take_news()
        due = [(each, said) for each in partitions if (said := each.progress.at_rest()) != each.progress.held()]
        while due and not self._commits.store(due) and time.monotonic() < deadline:
            time.sleep(AGAIN_SECONDS)
        for each in partitions:
            self._owned.pop(each.number, None)
            self._withdrawn.discard(each.generation)

    def _deadline(self) -> float:
        return self._bridge.stop_by or time.monotonic() + self._plan.settings.offline_revoke_second

    def _patiently(self, call: Callable[[], Result]) -> Result:
        """Return a call's result, and try it again until it succeeds.

        Raises its KafkaException once the thread is to stop, or at once where a right is missing.
        """
        while True:
            self._bridge.live()
            try:
                return call()
            except KafkaException as error:
                if self._bridge.stop_by is not None or error.args[0].code() in NO_RIGHT:
                    raise
                if self._lines.allows("brokers"):
                    log.warning("the brokers do not answer, and are asked again: %s", reason_of(error))
                time.sleep(AGAIN_SECONDS)


def _record_of(message: Message, generation: int) -> Record:
    """Return a message as a record of an assignment. A time that the topic does not keep is 0."""
    origin = Handed(message.topic() or "", message.partition() or 0, message.offset() or 0)
    origin.generation = generation
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    key, value = message.key(), message.value()
    return Record(origin, max(0, message.timestamp()[1]), key, value, tuple((name, _bytes(text)) for name, text in pairs))


def _bytes(text: str | bytes | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


def _checked(places: list[TopicPartition]) -> list[TopicPartition]:
    for place in places:
        if place.error:
            raise KafkaException(place.error)
    return places


def _failure(error: KafkaError, topic: str, group: str) -> SourceFailed:
    """Return what an error that ends the reading means. A fatal one holds its cause as text alone."""
    cures = {KafkaError.UNSUPPORTED_VERSION: OLD_BROKERS, KafkaError.GROUP_AUTHORIZATION_FAILED: no_right(group)}
    cure = next((words for code, words in cures.items() if KafkaError(code).str() in error.str()), "")
    return SourceFailed(f"Reading {topic} ended: {error.str()}. {cure}".rstrip())


class OffsetCommits:
    """The commits of one consumer. dry: nothing is committed, and everything goes on as if it were."""

    def __init__(self, consumer: Consumer, bridge: ThreadBridge, metrics: OfflineMetrics, dry: bool):
        self._consumer, self._bridge, self._dry = consumer, bridge, dry
        self._good, self._failed = metrics.commits.labels("good"), metrics.commits.labels("failed")
        self._regular_at = self._again_at = 0.0
        self._lines = LogThrottle()

    def regular(self, partitions: Iterable[Partition], now: float) -> bool:
        """Commit what is due, about once a second. Returns whether it was looked at."""
        if now < max(self._regular_at, self._again_at):
            return False
        self._regular_at = now + COMMIT_SECONDS
        due = [(each, said) for each in partitions if (said := _regular(each, now))]
        if due:
            self.store(due)
        return True

    def wanted(self, partitions: Sequence[Partition], now: float) -> bool:
        return now >= self._again_at and self.store([(each, each.progress.now()) for each in partitions])

    def store(self, due: Sequence[Due]) -> bool:
        """Commit offsets and notes, and wait for the broker. Returns whether all of it succeeded."""
        places = [TopicPartition(each.topic, each.number, offset, write_note(note)) for each, (offset, note) in due]
        failed = {} if self._dry else self._commit(places)
        for each, said in due:
            if each.number not in failed:
                each.progress.store(*said)
        if failed:
            self._failed.inc()
            self._again_at = time.monotonic() + AGAIN_SECONDS
            if self._lines.allows():
                log.warning("a commit failed, and is tried again: %s", next(iter(failed.values())))
        else:
            self._good.inc()
        return not failed

    def _commit(self, places: list[TopicPartition]) -> dict[int, str]:
        self._bridge.waits_since = time.monotonic()
        try:
            answers = self._consumer.commit(offsets=places, asynchronous=False)
            return {answer.partition: answer.error.str() for answer in answers if answer.error}
        except KafkaException as error:
            return {place.partition: reason_of(error) for place in places}
        finally:
            self._bridge.waits_since = None
            self._bridge.live()


def _regular(partition: Partition, now: float) -> tuple[int, CommitNote] | None:
    """Return what a regular commit says of a partition, or None where nothing is new."""
    progress = partition.progress
    if progress.unfinished or partition.waiting:
        partition.busy_at = now
    rests = now - partition.busy_at >= REST_SECONDS or not progress.stored.open
    if rests and not progress.unfinished and not partition.waiting:
        said = progress.at_rest()
        return said if said != progress.held() else None
    return progress.now() if progress.stored.open and progress.first() > progress.committed else None
