"""`monopod offline` on a real broker: records become answers or dead letters, and nothing is lost, whatever happens."""

import json
import random
import re
import signal
import time
from operator import gt
from pathlib import Path

import pytest

from tests.own_broker import OwnBroker
from tests.postgresql import Server
from tests.running import DIGITS, ROOT, get
from tests.serving.offline import broker
from tests.serving.offline.offline_process import Case, ended, running, value
from tests.waiting import until

PICTURE = (ROOT / "examples/images/coffee.jpg").read_bytes()
SESSION = 6000  # milliseconds until the group takes a member for dead
COUNT, WINDOW = 4000, 100
KILLED_WINDOW, KILLED_SESSION = 50, 1000  # records of a partition, and milliseconds
ANSWERED = 'monopod_offline_records_total{outcome="answered"}'
PARTITIONS = 2
IN_A_LIFE = 500  # records of a partition that are written before each start
RATE = 400  # records a second, so that the kill comes before the last of them


def test_json_and_raw_pictures_are_answered_and_tombstones_are_counted(case: Case) -> None:
    case.service()
    case.produce([value(1), None, value(2)], key=b"a-key")
    case.produce([PICTURE], partition=1, headers=[("content-type", b"image/jpeg")])
    with running(case.folder, case.address) as process:
        until(lambda: process.is_ready())
        until(lambda: process.metric(ANSWERED) == 3)
        assert process.metric('monopod_offline_records_total{outcome="tombstone"}') == 1
        assert [get(process.admin + path)[0] for path in ("/livez", "/readyz", "/api/ping")] == [200, 200, 200]
        until(lambda: process.metric("monopod_offline_partitions") == 2)
        until(lambda: process.metric(f'monopod_offline_lag_records{{partition="0",topic="{case.topic}"}}', 1.0) == 0)
        assert process.stop() == 0
    answers = broker.records(case.address, case.answers)
    found = {json.dumps(json.loads(each.value() or b"")["results"]) for each in answers}
    assert found == {'{"number": 1}', '{"number": 2}', "[600, 400]"}
    headers = dict(answers[0].headers() or [])
    assert (headers["origin-topic"], headers["model-version"]) == (case.topic.encode(), b"dev")
    assert {each.key() for each in answers} == {b"a-key", None}
    assert json.loads(answers[0].value() or b"").get("postid", "p1") in ("p1", "p2")
    assert case.is_committed()
    assert case.is_committed(1)


def test_what_is_wrong_for_good_becomes_a_dead_letter_with_its_cause_and_its_origin(case: Case) -> None:
    case.service('offline_max_record = "1Ki"')
    case.produce([value(1), b'{"number": ', value(2, "refuse"), b"no picture", b"x" * 2000, value(3, "fail")], key=b"k")
    with running(case.folder, case.address) as process:
        until(lambda: process.metric('monopod_offline_records_total{outcome="dead"}') == 5)
        assert process.metric('monopod_offline_dead_letters_total{reason="service_failed"}') == 1
        assert process.stop() == 0
    letters = {int(headers["origin-offset"]): (content, headers) for content, headers in case.letters()}
    assert {offset: headers["reason"] for offset, (_, headers) in letters.items()} == {
        1: b"bad_input", 2: b"bad_input", 3: b"bad_input", 4: b"too_large", 5: b"service_failed"
    }  # fmt: skip
    assert letters[2][0] == value(2, "refuse")
    assert letters[2][1]["error"] == b"no face found"
    assert (letters[4][0], letters[4][1]["by-reference"]) == (b"", b"1")
    assert letters[5][1]["error"].endswith(b"(after 2 tries)")
    assert case.answered() == [1]
    assert case.is_committed()


@pytest.mark.long
def test_a_record_that_kills_the_process_is_dead_after_three_deaths_and_all_others_are_answered(case: Case) -> None:
    case.service()
    broker.set_session(case.address, case.group, SESSION)
    case.produce([value(number, "kill" if number == 20 else "") for number in range(40)])
    deaths = 0
    for _ in range(6):
        with running(case.folder, case.address) as process:
            until(lambda: process.process.poll() is not None or case.is_committed(), 240, pause=0.5)
            if process.process.poll() is None:
                assert process.stop() == 0
                break
            assert process.process.returncode == 9
            deaths += 1
    [(content, headers)] = case.letters()
    assert (headers["origin-offset"], headers["reason"], content) == (b"20", b"killed_process", value(20, "kill"))
    assert set(case.answered()) == set(range(40)) - {20}
    assert deaths == 3


def test_a_hanging_model_fails_the_records_it_has_and_liveness_and_the_end_counts_as_a_death(case: Case) -> None:
    case.service("offline_timeout_second = 2\nstuck_after_second = 4\noffline_revoke_second = 1")
    case.produce([value(1), value(2, "hang"), value(3)])
    with running(case.folder, case.address) as process:
        until(lambda: process.metric('monopod_offline_records_total{outcome="dead"}') == 1)
        until(lambda: get(process.admin + "/livez")[0] == 503)
        assert b"the service's own code has been at one request" in get(process.admin + "/livez")[1]
        assert process.stop() == 1
    assert [headers["reason"] for _, headers in case.letters()] == [b"deadline_passed"]
    assert sorted(case.answered()) == [1, 3]
    assert '"open"' in broker.committed(case.address, case.group, case.topic)[1]


HANGS = """
import time

from serving.api import Service


class Hangs(Service):
    def preprocess(self, request):
        if request.fields.get("do") == "hang":
            time.sleep(1000)
        return super().preprocess(request)
"""


@pytest.mark.long
def test_a_record_that_hangs_every_other_one_is_dead_after_three_restarts_for_failed_liveness(case: Case) -> None:
    more = 'model_path = "model/digits.onnx"\noffline_timeout_second = 1\nstuck_after_second = 3\noffline_revoke_second = 1'
    folder = case.service(more)
    settings = (folder / "value.py").read_text()
    (folder / "value.py").write_text(settings.replace("offline_retries = 1", "offline_retries = 20"))
    (folder / "model/digits.onnx").symlink_to(DIGITS)
    (folder / "src/server.py").write_text(HANGS)
    broker.set_session(case.address, case.group, SESSION)
    rows = [[[[0.5] * 8] * 8]]
    case.produce([json.dumps({"data": rows, "do": "hang" if at == 20 else ""}).encode() for at in range(40)])
    lives = 0
    while not case.is_committed():
        lives += 1
        with running(case.folder, case.address) as process:
            until(lambda: process.is_ready())
            until(lambda: get(process.admin + "/livez")[0] == 503 or case.is_committed(), 240, pause=0.3)
            process.stop()
    [(_, headers)] = case.letters()
    assert (headers["origin-offset"], headers["reason"]) == (b"20", b"killed_process")
    origins = [dict(each.headers() or [])["origin-offset"] for each in broker.records(case.address, case.answers)]
    assert {int(offset or b"") for offset in origins} == set(range(40)) - {20}
    assert lives == 4


def test_a_broken_release_stops_the_reading_and_leaves_few_dead_letters_until_it_is_mended(case: Case) -> None:
    folder = case.service()
    (folder / "broken").touch()
    case.produce([value(number) for number in range(300)])
    with running(case.folder, case.address) as process:
        until(lambda: process.is_ready())
        until(lambda: process.metric("monopod_offline_held") == 1)
        until(lambda: len(case.letters()) == 10)
        assert get(process.admin + "/livez")[0] == 200
        (folder / "broken").unlink()
        until(lambda: case.is_committed(), pause=0.3)
        assert process.metric("monopod_offline_held") == 0
        assert process.stop() == 0
    assert len(case.letters()) == 10
    assert len(set(case.answered())) == 290


def test_while_it_is_held_a_signal_ends_it_at_once_and_nothing_is_committed_that_was_not_done(case: Case) -> None:
    folder = case.service("offline_revoke_second = 120")
    (folder / "broken").touch()
    case.produce([value(number) for number in range(100)])
    with running(case.folder, case.address) as process:
        until(lambda: process.is_ready())
        until(lambda: process.metric("monopod_offline_held") == 1)
        began = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - began < 55
    (folder / "broken").unlink()
    with running(case.folder, case.address) as process:
        until(lambda: case.is_committed(), pause=0.3)
        assert process.stop() == 0
    dead = {int(headers["origin-offset"]) for _, headers in case.letters()}
    assert dead | set(case.answered()) == set(range(100))


@pytest.mark.long
def test_signals_under_load_lose_nothing_and_answer_nothing_twice(case: Case) -> None:
    case.service()
    for life in range(3):
        for partition in (0, 1):
            first = (2 * life + partition) * 1000
            case.produce([value(number, "slow") for number in range(first, first + 1000)], partition)
        with running(case.folder, case.address) as process:
            until(lambda: process.metric(ANSWERED) > 50)  # noqa: B023
            assert process.stop() == 0
    with running(case.folder, case.address) as process:
        until(lambda: process.is_ready())
        until(lambda: case.is_committed() and case.is_committed(1), 240, pause=0.5)
        assert process.stop() == 0
    found = case.answered()
    assert sorted(found) == list(range(6000))


@pytest.mark.long
def test_two_processes_share_the_partitions_and_one_goes_on_with_both(case: Case) -> None:
    case.service()
    with running(case.folder, case.address) as first:
        until(lambda: first.is_ready())
        with running(case.folder, case.address) as second:
            until(lambda: second.is_ready())
            for process in (first, second):
                until(lambda: process.metric("monopod_offline_partitions") == 1)  # noqa: B023
            for partition in (0, 1):
                case.produce([value(number) for number in range(partition * 100, partition * 100 + 100)], partition)
            until(lambda: len(case.answered()) == 200, pause=0.3)
            assert first.metric('monopod_offline_records_total{outcome="answered"}') == 100
            assert second.stop() == 0
        until(lambda: first.metric("monopod_offline_partitions") == 2)
        case.produce([value(200)], 1)
        until(lambda: len(case.answered()) == 201, pause=0.3)
        assert first.stop() == 0
    assert sorted(case.answered()) == list(range(201))


@pytest.mark.long
def test_a_frozen_process_is_replaced_and_adds_at_most_a_window_of_duplicates_when_it_thaws(case: Case) -> None:
    case.service("offline_window = 20")
    broker.set_session(case.address, case.group, SESSION)
    case.produce([value(number, "slow") for number in range(1000)])
    with running(case.folder, case.address) as frozen:
        until(lambda: frozen.metric(ANSWERED) > 20)
        frozen.process.send_signal(signal.SIGSTOP)
        with running(case.folder, case.address) as other:
            until(lambda: other.metric(ANSWERED) > 20, 240)
            frozen.process.send_signal(signal.SIGCONT)
            until(lambda: case.is_committed(), 240, pause=0.5)
            assert [process.stop() for process in (other, frozen)] == [0, 0]
    found = case.answered()
    assert set(found) == set(range(1000))
    assert len(found) - len(set(found)) <= 20


def test_a_dry_run_prints_answers_and_changes_nothing(case: Case) -> None:
    case.service()
    case.produce([value(number, "refuse" if number == 3 else "") for number in range(10)])
    status, out, error = ended(case.folder, case.address, "--dry-run", "--limit", "10")
    assert status == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert sorted(line["answer"]["results"]["number"] for line in lines) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert "no face found" in error
    assert broker.committed(case.address, case.group, case.topic)[0] is None
    assert case.answered() == []
    assert broker.members(case.address, case.group) == []


@pytest.mark.long
def test_a_database_that_freezes_is_waited_for_and_every_record_is_one_row(case: Case, postgresql: Server) -> None:
    case.service(sinks='["postgresql:ages"]')
    environment = {"POSTGRESQL_URL": postgresql.url()}
    status, ddl, error = ended(case.folder, case.address, "table")
    assert status == 0, error
    postgresql.execute(ddl)
    case.produce([value(number, "slow") for number in range(1000)])
    with running(case.folder, case.address, env=environment) as process:
        until(lambda: process.metric(ANSWERED) > 20)
        postgresql.freeze()
        until(lambda: process.metric('monopod_offline_sink_waiting{sink="postgresql:ages"}') > 50)
        assert get(process.admin + "/livez")[0] == 200
        postgresql.thaw()
        until(lambda: case.is_committed(), 240, pause=0.5)
        assert process.stop() == 0
    rows = postgresql.execute("SELECT count(*), count(DISTINCT (results->>'number')::int) FROM ages")
    assert rows == [(1000, 1000)]


def test_seek_moves_the_group_back_and_all_is_answered_again(case: Case) -> None:
    case.service()
    case.produce([value(number) for number in range(5)])
    assert ended(case.folder, case.address, "--limit", "5")[0] == 0
    status, out, error = ended(case.folder, case.address, "seek", "--to", "earliest")
    assert (status, error) == (0, "")
    assert re.search(rf"^{case.topic} \[0\]: 5 -> 0$", out, re.MULTILINE)
    assert ended(case.folder, case.address, "--limit", "5")[0] == 0
    assert sorted(case.answered()) == sorted([*range(5), *range(5)])


def test_dead_letters_are_replayed_to_the_sinks_and_never_back_into_the_source(case: Case) -> None:
    folder = case.service()
    case.produce([value(1, "fail"), value(2), value(3, "refuse")])
    assert ended(case.folder, case.address, "--limit", "3")[0] == 0
    assert len(case.letters()) == 2
    server_py = folder / "src" / "server.py"
    server_py.write_text(server_py.read_text().replace('asked == "fail" or ', ""))
    status, out, error = ended(case.folder, case.address, "replay")
    assert status == 3, error  # one is dead again
    assert sorted(case.answered()) == [1, 2]
    assert broker.end_offset(case.address, case.topic) == 3
    assert len(case.letters()) == 3
    assert "2 records in " in out
    assert ": 1 answered, 1 dead\n" in out
    assert [headers.get("replays") for _, headers in case.letters()] == [None, None, b"1"]


@pytest.mark.long
def test_a_broker_that_is_killed_and_comes_back_is_waited_for_and_nothing_is_lost(own: OwnBroker, tmp_path: Path) -> None:
    case = Case(own.address, "outlived", "outlived", "outlived-out", tmp_path / "small")
    for topic in (case.topic, case.answers):
        broker.create_topic(own.address, topic)
    case.service(f"offline_window = {WINDOW}")
    case.produce([value(number, "slow") for number in range(COUNT)])
    with running(case.folder, own.address) as process:
        until(lambda: process.metric(ANSWERED) > 100)
        own.kill()
        time.sleep(5)
        stood = process.metric(ANSWERED)
        time.sleep(1)
        assert process.metric(ANSWERED) == stood < COUNT
        own.start()
        until(lambda: case.is_committed(), 240, pause=0.5)
        text = process.log.read_text()
        assert len(text.splitlines()) < 40  # and not each try of the clients to connect
        assert process.stop() == 0
    assert sorted(set(case.answered())) == list(range(COUNT))
    assert len(case.answered()) - COUNT <= WINDOW
    assert case.letters() == []


PASSWORD, CURE = {"KAFKA_PASSWORD": "wrong-secret"}, "correct KAFKA_USERNAME, KAFKA_PASSWORD or KAFKA_MECHANISM"


@pytest.mark.parametrize(
    ("step", "wrong", "cure"),
    [
        ((), PASSWORD, CURE),
        (("replay",), PASSWORD, CURE),
        (("seek", "--to", "earliest"), PASSWORD, CURE),
        ((), {"KAFKA_CA": ""}, "name the CA of the brokers by KAFKA_CA, or correct KAFKA_SECURITY"),
    ],
)
def test_wrong_credentials_end_it_with_their_variable_and_without_their_words(
    own: OwnBroker, tmp_path: Path, step: tuple[str, ...], wrong: dict[str, str], cure: str
) -> None:
    case = Case(own.address, "asked", "asked", "asked-out", tmp_path / "small")
    environ = own.secure(**wrong)
    began = time.monotonic()
    status, out, error = ended(case.service(), environ["KAFKA_BROKERS"], *step, env=environ)
    assert (status, out) == (1, "")
    assert cure in error
    assert "wrong-secret" not in error
    assert "Traceback" not in error
    assert time.monotonic() - began < 60


def committed(case: Case) -> list[int]:
    """Return the committed offset of each partition, 0 where there is none."""
    return [broker.committed(case.address, case.group, case.topic, partition)[0] or 0 for partition in range(PARTITIONS)]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.soak)])
def test_killed_processes_leave_every_record_in_each_sink_and_once_in_a_table(
    case: Case, postgresql: Server, kills: int
) -> None:
    """Each life gets past the records of the death before. So nothing is suspected twice, and nothing becomes a dead letter."""
    case.service(
        f"offline_window = {KILLED_WINDOW}\noffline_rate = {RATE}", sinks=f'["kafka:{case.answers}", "postgresql:lives"]'
    )
    broker.set_session(case.address, case.group, KILLED_SESSION)
    environment = {"POSTGRESQL_URL": postgresql.url()}
    postgresql.execute("DROP TABLE IF EXISTS lives")
    postgresql.execute(ended(case.folder, case.address, "table")[1])
    for life in range(kills):
        for partition in range(PARTITIONS):
            first = (life * PARTITIONS + partition) * IN_A_LIFE
            case.produce([value(number) for number in range(first, first + IN_A_LIFE)], partition)
        with running(case.folder, case.address, env=environment) as process:
            suspects = [done + KILLED_WINDOW for done in committed(case)]
            until(lambda: all(map(gt, committed(case), suspects)), 240, pause=0.2)  # noqa: B023
            time.sleep(random.uniform(0, 0.3))
            process.process.kill()
    with running(case.folder, case.address, env=environment) as process:
        until(lambda: all(map(case.is_committed, range(PARTITIONS))), 240, pause=0.5)
        assert process.stop() == 0
    count, found = kills * PARTITIONS * IN_A_LIFE, case.answered()
    assert set(found) == set(range(count))
    assert len(found) - count <= kills * PARTITIONS * KILLED_WINDOW
    assert postgresql.execute("SELECT count(*), count(DISTINCT (results->>'number')::int) FROM lives") == [(count, count)]
    assert case.letters() == []
