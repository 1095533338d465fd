"""Processes that are killed again and again lose no record, and double no more than they may."""

import random
import time
from operator import gt

import pytest

from tests.postgresql import Server
from tests.serving.offline import broker
from tests.serving.offline.case import Case
from tests.serving.offline.offline_process import ended, running, value
from tests.waiting import until

WINDOW = 50  # records of a partition
PARTITIONS = 2
IN_A_LIFE = 500  # records of a partition that are written before each start
RATE = 400  # records a second, so that the kill comes before the last of them
SESSION = 1000  # milliseconds until the group takes a member for dead


def committed(case: Case) -> list[int]:
    """Return the committed offset of each partition, 0 where there is none."""
    return [broker.committed(case.address, case.group, case.topic, partition)[0] or 0 for partition in range(PARTITIONS)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_processes_leave_every_record_in_each_sink_and_once_in_a_table(case: Case, database: Server, kills: int) -> None:
    """Each life gets past the records of the death before. So nothing is suspected twice, and nothing becomes a dead letter."""
    case.service(f"offline_window = {WINDOW}\noffline_rate = {RATE}", sinks=f'["kafka:{case.answers}", "postgresql:ages"]')
    broker.set_session(case.address, case.group, SESSION)
    environment = {"POSTGRESQL_URL": database.url()}
    database.execute(ended(case.folder, case.address, "table")[1])
    for life in range(kills):
        for partition in range(PARTITIONS):
            first = (life * PARTITIONS + partition) * IN_A_LIFE
            case.produce([value(number) for number in range(first, first + IN_A_LIFE)], partition)
        with running(case.folder, case.address, env=environment) as process:
            suspects = [done + WINDOW for done in committed(case)]
            until(lambda: all(map(gt, committed(case), suspects)), 240, pause=0.2)  # noqa: B023
            time.sleep(random.uniform(0, 0.3))
            process.process.kill()
    with running(case.folder, case.address, env=environment) as process:
        until(lambda: all(map(case.is_committed, range(PARTITIONS))), 240, pause=0.5)
        assert process.stop() == 0
    count, found = kills * PARTITIONS * IN_A_LIFE, case.answered()
    assert set(found) == set(range(count))
    assert len(found) - count <= kills * PARTITIONS * WINDOW
    assert database.execute("SELECT count(*), count(DISTINCT (results->>'number')::int) FROM ages") == [(count, count)]
    assert case.letters() == []
