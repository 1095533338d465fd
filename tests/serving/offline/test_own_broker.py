"""`monopod offline` on a broker that is killed, or that asks for a password: nothing is lost, and a mistake is a sentence."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.own_broker import OwnBroker, own_broker
from tests.serving.offline import broker
from tests.serving.offline.case import Case
from tests.serving.offline.offline_process import ended, running, value
from tests.waiting import until

pytestmark = pytest.mark.offline
COUNT, WINDOW = 4000, 100
ANSWERED = 'monopod_offline_records_total{outcome="answered"}'


@pytest.fixture(scope="module")
def own() -> Iterator[OwnBroker]:
    with own_broker() as made:
        yield made


@pytest.mark.long
def test_a_broker_that_is_killed_and_comes_back_is_waited_for_and_nothing_is_lost(own: OwnBroker, tmp_path: Path) -> None:
    case = Case(own.address, "killed", "killed", "killed-out", tmp_path / "small")
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
