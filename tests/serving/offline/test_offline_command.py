"""Each mistake on the command line, in value.py and in the environment is said in a sentence, and ends with exit status 1."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.settings.exported_metrics import EXPORTED_METRICS, OFFLINE
from tests.running import free_port
from tests.serving.offline import broker
from tests.serving.offline.offline_process import backfill, ended, running, service, value
from tests.waiting import until

NOWHERE = "127.0.0.1:1"  # nobody listens there


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return service(tmp_path / "small", "videos", "small-group", '["stdout"]')


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--from", "none.jsonl"), "none.jsonl: no such file or folder; --from takes files, folders"),
        (("--again",), "--again and --key belong to a backfill: name files or a query by --from"),
        (("--dry-run", "--to", "stdout"), "--dry-run writes to no sink, but to standard output: leave --to out"),
        (("--to", "postgres:ages"), "'postgres:ages' is not a sink; sinks are"),
        (("--to", "postgresql:ages"), "POSTGRESQL_URL is not set: it names the database"),
        (("--to", "kafka:videos"), "kafka:videos is the source, so it cannot be a sink"),
        (("seek",), "say where to: `monopod offline seek --to earliest`, latest, or a time"),
        (("seek", "--to", "yesterday"), "'yesterday' is not a start"),
        (("table",), "value.py: no table among offline_sinks"),
        (("table", "--limit", "3"), "`monopod offline table` takes no --limit; leave it out"),
        (("replay", "--from", "x"), "`monopod offline replay` takes no --from; leave it out"),
    ],
)
def test_flags_that_do_not_go_together_are_named(folder: Path, flags: tuple[str, ...], words: str) -> None:
    status, out, error = ended(folder, NOWHERE, *flags)
    assert (status, out) == (1, "")
    assert words in error
    assert "Traceback" not in error


def test_a_broker_that_is_away_a_typo_and_a_missing_address_are_told(folder: Path) -> None:
    for address, words in (
        (NOWHERE, f"kafka:videos at {NOWHERE}: "),
        ("localhost", "KAFKA_BROKERS holds 'localhost', which is not a broker's address. Write host:port"),
        ("", "KAFKA_BROKERS is not set. It names the brokers"),
    ):
        status, _, error = ended(folder, address)
        assert status == 1
        assert words in error
        assert "Traceback" not in error


def test_a_sink_that_is_away_at_the_start_is_told_with_what_to_do(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(value(1))
    flags = "--from", "in.jsonl", "--to", "postgresql:ages", "--postgresql", f"postgresql://like:secret@{NOWHERE}/likes"
    status, out, error = ended(folder, NOWHERE, *flags)
    assert (status, out) == (1, "")
    assert error.startswith(f'postgresql:ages ("ages" in {NOWHERE}/likes): connection failed')
    assert error.endswith(", or correct its address\n")
    assert "secret" not in error


def test_in_a_pod_a_mistake_is_a_line_of_the_log(folder: Path) -> None:
    status, out, error = ended(folder, "localhost", env={"MONOPOD_POD": "small-offline-1"})
    assert status == 1
    last = json.loads(error.splitlines()[-1])  # since stdout is for answers
    assert (last["level"], last["pod"], out) == ("critical", "small-offline-1", "")
    assert "which is not a broker's address" in last["message"]


def test_without_a_source_there_is_nothing_to_run(folder: Path) -> None:
    file = folder / "value.py"
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("offline_")))
    status, _, error = ended(folder, NOWHERE)
    assert status == 1
    assert "value.py: no offline_source; " in error


def test_a_mistake_in_value_py_is_told_with_its_line(folder: Path) -> None:
    with (folder / "value.py").open("a") as file:
        file.write("offline_windows = 5\n")
    status, _, error = ended(folder, NOWHERE)
    assert status == 1
    line = len((folder / "value.py").read_text().splitlines())
    assert error.startswith(f"value.py:{line}: no setting 'offline_windows'; ")
    assert error.count("\n") == 1


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("0.0.0.0", free_port()))
        held.listen()
        yield held.getsockname()[1]


def test_a_topic_that_is_not_there_and_a_port_that_is_taken_are_told(
    kafka_address: str, topic: str, group: str, tmp_path: Path, taken_port: int
) -> None:
    status, _, error = ended(service(tmp_path / "a", f"{topic}-none", group, '["stdout"]'), kafka_address)
    assert status == 1
    assert f"kafka:{topic}-none at {kafka_address}: the topic does not exist" in error
    small = service(tmp_path / "b", topic, group, '["stdout"]')
    status, _, error = ended(small, kafka_address, "--admin-port", str(taken_port))
    assert status == 1
    assert "ddress already in use" in error
    status, _, error = ended(small, kafka_address, "--to", f"kafka:{topic}-none")
    assert status == 1
    assert f"kafka:{topic}-none at {kafka_address}: the topic does not exist" in error


def test_the_group_of_another_service_is_refused(kafka_address: str, topic: str, group: str, tmp_path: Path) -> None:
    first = service(tmp_path / "a", topic, group, '["stdout"]')
    other = service(tmp_path / "b", topic, group, '["stdout"]')
    file = other / "value.py"
    file.write_text(file.read_text().replace('service_name = "small"', 'service_name = "other"'))
    with running(first, kafka_address) as process:
        until(process.is_ready)
        status, _, error = ended(other, kafka_address)
        assert status == 1
        assert f"The group {group} is read by like/small/prod" in error
        status, _, error = ended(first, kafka_address, "seek", "--to", "earliest")
        assert status == 1
        assert f"The group {group} has members" in error


def test_a_model_that_cannot_be_loaded_ends_it_with_its_message_and_joins_no_group(
    kafka_address: str, topic: str, group: str, tmp_path: Path
) -> None:
    folder = service(tmp_path / "a", topic, group, '["stdout"]', 'model_path = "model/none.onnx"')
    status, _, error = ended(folder, kafka_address)
    assert status == 1
    assert "model/none.onnx" in error
    assert broker.members(kafka_address, group) == []


def test_the_page_holds_every_metric_of_an_offline_pod(kafka_address: str, topic: str, group: str, tmp_path: Path) -> None:
    folder = service(tmp_path / "a", topic, group, '["stdout"]')
    broker.produce(kafka_address, topic, [value(1), value(2, "refuse")])
    with running(folder, kafka_address) as process:
        until(lambda: process.metric('monopod_offline_records_total{outcome="dead"}') == 1)
        listed = [metric for metric in EXPORTED_METRICS if metric.only_with == OFFLINE]
        assert len(listed) >= 14
        for metric in listed:
            until(lambda: f"# TYPE {metric.name} {metric.type}\n" in process.metrics())  # noqa: B023
        assert process.stop() == 0
    broker.delete_topics(kafka_address, [f"{topic}-{group}-dead"])


@pytest.mark.parametrize("track", ["grey", "ab"])
def test_a_track_has_a_group_and_sinks_of_its_own(
    kafka_address: str, topic: str, group: str, tmp_path: Path, track: str
) -> None:
    folder = service(tmp_path / "a", topic, group, f'["kafka:{topic}-out"]')
    status, _, error = ended(folder, kafka_address, env={"MONOPOD_TRACK": track})
    assert status == 1
    assert f"kafka:{topic}-out-{track} at {kafka_address}: the topic does not exist" in error
    broker.create_topic(kafka_address, f"{topic}-out-{track}")
    broker.produce(kafka_address, topic, [value(1)])
    try:
        assert ended(folder, kafka_address, "--limit", "1", env={"MONOPOD_TRACK": track})[0] == 0
        assert broker.committed(kafka_address, f"{group}-{track}", topic)[0] == 1
        assert broker.committed(kafka_address, group, topic)[0] is None
    finally:
        broker.delete_topics(kafka_address, [f"{topic}-out-{track}", f"{topic}-{group}-{track}-dead"])
        broker.delete_group(kafka_address, f"{group}-{track}")


@pytest.mark.parametrize("flags", [("--dry-run",), ("--to", "stdout")])
def test_a_reader_of_standard_output_that_goes_away_ends_it_soon_with_a_sentence(folder: Path, flags: tuple[str, ...]) -> None:
    (folder / "in.jsonl").write_bytes(b"\n".join(map(value, range(5000))) + b"\n")
    with (folder / "value.py").open("a") as file:
        file.write("offline_revoke_second = 120\n")
    with backfill(folder, ["in.jsonl"], [], folder, flags=flags) as process:
        assert process.stdout
        assert process.stdout.readline()
        began = time.monotonic()
        process.stdout.close()
        assert process.wait(60) == 1
        assert time.monotonic() - began < 55  # and not offline_revoke_second, since nothing that was begun can be finished
        assert process.stderr
        last = process.stderr.read().splitlines()[-1]
    assert last.startswith("nobody reads standard output any more, ")


def test_a_limit_and_a_dry_run_try_the_first_lines_of_a_file_and_write_nothing(folder: Path) -> None:
    (folder / "in.jsonl").write_bytes(b"\n".join(map(value, range(50))) + b"\n")
    flags = "--from", "in.jsonl", "--limit", "3"
    before = sorted(path.name for path in folder.iterdir())
    status, out, error = ended(folder, NOWHERE, *flags, "--dry-run")
    assert (status, sorted(path.name for path in folder.iterdir())) == (0, before)
    assert sorted(json.loads(line)["answer"]["results"]["number"] for line in out.splitlines()) == [0, 1, 2]
    status, _, error = ended(folder, NOWHERE, *flags, "--to", "file:out.jsonl")
    assert status == 0, error
    assert len((folder / "out.jsonl").read_bytes().splitlines()) == 3
    assert ended(folder, NOWHERE, "--from", "in.jsonl", "--to", "file:out.jsonl")[0] == 0
    assert len((folder / "out.jsonl").read_bytes().splitlines()) == 50
