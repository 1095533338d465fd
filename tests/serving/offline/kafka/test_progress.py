"""A partition's progress is held against owners that die at random and records that kill them."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.offline.kafka.progress import NONE, CommitNote, Progress, Step, read_note, write_note

notes = st.builds(CommitNote, st.booleans(), st.integers(0, 9), st.integers(0, 1 << 62), st.integers(-1, 1 << 62))


@dataclass
class Broker:
    """The things that outlive an owner: the commit, how often each record was handed over, what is finished or condemned."""

    committed: int = 0
    note: str = ""
    handed: dict[int, int] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    condemned: list[int] = field(default_factory=list)

    def commit(self, progress: Progress, offset: int, note: CommitNote) -> None:
        assert all(item in self.finished for item in self.handed if item < offset), "a commit is beyond an unfinished record"
        self.committed, self.note = offset, write_note(note)
        progress.store(offset, note)


def live(broker: Broker, offsets: list[int], window: int, killers: set[int], chance: list[int], steps: int) -> bool:
    """Run one owner until a killer ends it, its steps are spent or all is finished. Returns whether it died of a killer.

    chance: numbers that choose which unfinished record is finished next, and when the owner commits.
    """
    progress = Progress(broker.committed, read_note(broker.note), window)
    todo = [item for item in offsets if item >= broker.committed]
    running: list[int] = []
    for turn in range(steps):
        draw = chance[turn % len(chance)]
        if todo and _hand(broker, progress, todo[0], running, window):
            todo.pop(0)
            if not todo:
                progress.end(offsets[-1] + 1)
        elif running:
            done = running.pop(draw % len(running))
            if done in killers and not progress.condemned(done):
                return True
            if progress.condemned(done) and done not in broker.finished:
                broker.condemned.append(done)
            broker.finished.add(done)
            assert progress.finish(done)
        if draw % 3 == 0 and progress.unfinished and progress.first() > progress.committed:
            broker.commit(progress, *progress.now())
        if not todo and not running:
            broker.commit(progress, *progress.at_rest())
            return False
    return False


def _hand(broker: Broker, progress: Progress, offset: int, running: list[int], window: int) -> bool:
    """Hand a record over after what has to come before it. Returns whether that was possible."""
    progress.reach(offset)
    for _ in range(3):
        step = progress.step(offset)
        if step is Step.HAND:
            assert not running or not progress.suspected(offset), "a suspect does not run alone"
            assert read_note(broker.note).open, "a record is handed over under a closed note"
            note = read_note(broker.note)
            assert offset < note.to or note.deaths, "a record is handed over that the note does not cover"
            beyond = [item for item in broker.handed if item >= broker.committed]
            assert offset in beyond or len(beyond) < window, "a record is handed over beyond the window"
            progress.hand(offset)
            running.append(offset)
            broker.handed[offset] = broker.handed.get(offset, 0) + 1
            return True
        if step is Step.WAIT:
            assert running, "a record waits for nothing"
            return False
        if step is Step.COMMIT_ALONE:
            progress.call(offset)
        broker.commit(progress, *progress.now())
    raise AssertionError(f"commits do not let record {offset} go on: {step}")


gaps = st.lists(st.one_of(st.just(1), st.integers(1, 100)), min_size=1, max_size=60)
chances = st.lists(st.integers(0, 1000), min_size=1, max_size=50)


@given(gaps, st.integers(1, 12), chances)
def test_one_owner_finishes_each_record_once_across_skipped_offsets(sizes: list[int], window: int, chance: list[int]) -> None:
    offsets = [sum(sizes[:place]) for place in range(len(sizes))]
    broker = Broker()
    assert not live(broker, offsets, window, set(), chance, 10_000)
    assert broker.finished == set(offsets)
    assert set(broker.handed.values()) == {1}
    assert (broker.committed, read_note(broker.note)) == (offsets[-1] + 1, CommitNote())


@given(gaps, st.integers(1, 12), chances, st.lists(st.integers(0, 40), max_size=12))
def test_each_death_repeats_fewer_records_than_the_window_and_loses_none(
    sizes: list[int], window: int, chance: list[int], lives: list[int]
) -> None:
    offsets = [sum(sizes[:place]) for place in range(len(sizes))]
    broker = Broker()
    for steps in lives:
        before = dict(broker.handed)
        finished_before = set(broker.finished)
        live(broker, offsets, window, set(), chance, steps)
        again = [item for item in before if broker.handed[item] > before[item]]
        assert len(again) <= window
        assert finished_before <= broker.finished
    assert not live(broker, offsets, window, set(), chance, 10_000)
    assert broker.finished == set(offsets)


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 12), chances, st.sets(st.integers(0, 49), max_size=4))
def test_records_that_kill_are_condemned_and_no_other_is(count: int, window: int, chance: list[int], chosen: set[int]) -> None:
    offsets = list(range(100, 100 + count))
    killers = {100 + item for item in chosen if item < count}
    broker, deaths = Broker(committed=100), 0
    while live(broker, offsets, window, killers, chance, 10_000):
        deaths += 1
        assert deaths <= 3 * len(killers), "the owners go on dying"
    assert broker.finished == set(offsets)
    assert set(broker.condemned) == killers
    assert read_note(broker.note) == CommitNote()


@given(notes)
def test_a_note_is_read_as_it_was_written(note: CommitNote) -> None:
    read = read_note(write_note(note))
    assert (read.open, read.deaths, read.alone) == (note.open, note.deaths, note.alone)
    assert read.to == note.to or not (note.deaths or note.open)


@given(st.one_of(st.none(), st.text(), st.recursive(st.integers() | st.floats() | st.booleans(), st.lists).map(repr)))
def test_metadata_of_others_is_a_closed_note(text: str | None) -> None:
    assert read_note(text) == CommitNote()


@pytest.mark.parametrize(
    "text", ['{"open": "1"}', '{"deaths": 1.5}', '{"to": -2}', '{"alone": 9999999999999999999}', "[" * 4000]
)
def test_a_damaged_note_is_a_closed_one(text: str) -> None:
    assert read_note(text) == CommitNote()


def test_an_owner_that_left_in_order_does_not_count_as_dead() -> None:
    progress = Progress(10, CommitNote(True, 1, 30), 20)  # one died before, and the last one died too
    assert progress.suspected(29)
    assert not progress.suspected(30)
    heir = Progress(*progress.at_rest(), 20)
    assert heir.suspected(29)
    assert not heir.condemned(10)
    assert heir.at_rest() == progress.at_rest()


def test_two_deaths_without_a_common_record_count_as_one() -> None:
    progress = Progress(0, CommitNote(True, 0, 10), 10)
    progress.reach(10)
    assert progress.step(10) is Step.COMMIT
    progress.store(*progress.now())
    assert progress.stored == CommitNote(True, 0, 20)


def test_a_late_end_of_another_owners_record_changes_nothing() -> None:
    progress = Progress(0, CommitNote(), 10)
    assert not progress.finish(3)
    assert (progress.first(), progress.unfinished) == (0, 0)


def test_a_condemned_record_stays_condemned_until_it_is_finished() -> None:
    progress = Progress(5, CommitNote(True, 2, 9, 5), 10)
    assert progress.condemned(5)
    assert progress.at_rest() == (5, CommitNote(False, 3, 9, 5))
    progress.call(5)
    progress.store(*progress.now())
    progress.hand(5)
    assert progress.finish(5)
    assert progress.at_rest() == (6, CommitNote(False, 3, 9, NONE))


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('{"open":0}', CommitNote()),
        ('{"open":1,"deaths":0,"to":1200}', CommitNote(True, 0, 1200)),
        ('{"open":1,"deaths":2,"to":1200,"alone":1187}', CommitNote(True, 2, 1200, 1187)),
        ('{"open":0,"deaths":3,"to":9,"alone":5}', CommitNote(False, 3, 9, 5)),
    ],
)
def test_the_notes_that_stand_in_groups_of_older_versions_are_read_and_written_as_before(text: str, note: CommitNote) -> None:
    assert read_note(text) == note
    assert write_note(note) == text
