"""The last steps of docs/offline.md on a real node: a broker with TLS and a password, a table, and KEDA, which adds a pod."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from conf.base.object_references import path
from tests import postgresql
from tests.conf.cluster import Cluster
from tests.conf.rollout.checkout import Checkout, MakeCheckout
from tests.conf.rollout.images import SECURE_SETTINGS, image
from tests.conf.rollout.loopback import VARIABLE, reached_from_pods, run_beside
from tests.conf.rollout.offline_service import DEAD, GROUP, OFFLINE, PARTITIONS, SECONDS, SOURCE, offline_pods, ready, record
from tests.conf.rollout.service_state import kinds, status_row, until
from tests.own_broker import own_broker
from tests.prerequisites import kafka_for_pods, kubectl, missing
from tests.serving.offline import broker
from tests.serving.offline.offline_process import steps

pytestmark = [pytest.mark.cluster, pytest.mark.long, pytest.mark.usefixtures("images")]

OPERATOR = path("Deployment", "keda", "keda-operator")


class Secure(NamedTuple):
    """A service, the address at which this machine reaches its broker, and its database."""

    checkout: Checkout
    address: str
    database: postgresql.Server


def is_active(hk: Cluster, reading: Checkout) -> bool:
    """Return whether KEDA says that it can ask the broker, and that records wait."""
    status = hk.ask("get", path("ScaledObject", reading.user, OFFLINE)).get("status", {})
    found = {each["type"]: each["status"] for each in status.get("conditions", [])}
    return (found.get("Ready"), found.get("Active")) == ("True", "True")


@pytest.fixture
def secure(make_checkout: MakeCheckout, hk: Cluster) -> Iterator[Secure]:
    """A service that the last steps of docs/offline.md have deployed: it reads a broker with TLS and a password, into a table.

    Its pods and KEDA reach the broker and the database as 127.0.0.1, where they listen.
    """
    if hk.find(OPERATOR) is None:
        missing("KEDA is not on this cluster: install its operator and its metrics API server in the namespace keda")
    host, _, _ = kafka_for_pods().rpartition(":")
    mine = make_checkout("hk")
    mine.write_value(replicas=0, **SECURE_SETTINGS)
    with own_broker() as own, postgresql.server() as database:
        environment = own.secure()
        address = environment["KAFKA_BROKERS"]
        for name, partitions in ((SOURCE, PARTITIONS), (DEAD, 1)):
            broker.create_topic(own.address, name, partitions)
        made = subprocess.run(table(mine), capture_output=True, text=True, check=True)
        database.execute(made.stdout)
        mine.set_region(kafka={**yaml.safe_load(steps()["brokers"])["kafka"], "brokers": [address], "ca_secret": "kafka-ca"})
        with reached_from_pods(host, [int(address.rpartition(":")[2]), database.port]) as way:
            make_secrets(hk, mine, {**environment, "POSTGRESQL_URL": database.url(), VARIABLE: way})
            run_beside(hk, "keda", operator(hk), image("offline-secure"), way, f"loopback-{own.port}")
            try:
                mine.run("deploy", tag="offline-secure")
                yield Secure(mine, own.address, database)
            finally:
                mine.run("stop", "--yes")


def table(mine: Checkout) -> list[str]:
    return [sys.executable, "-m", "monopod", "offline", "table", "--service", str(mine.folder)]


def operator(hk: Cluster) -> str:
    """Return the name of KEDA's pod that asks brokers."""
    (pod,) = hk.ask("get", path("Pod", "keda"), labelSelector="app=keda-operator", fieldSelector="status.phase=Running")[
        "items"
    ]
    return str(pod["metadata"]["name"])


def make_secrets(hk: Cluster, mine: Checkout, values: Mapping[str, str]) -> None:
    """Make the Secret as docs/offline.md says, and the one of the brokers' CA."""
    kubectl()
    typed = re.sub(r"--context \w+ --namespace \w+", f"--context {hk.context} --namespace {mine.user}", steps()["secret"])
    typed = re.sub(r"--from-literal=(\w+)=\S+", lambda found: f"--from-literal={found[1]}='{values[found[1]]}'", typed)
    subprocess.run(["bash", "-ec", f"{typed.rstrip()} --from-literal='{VARIABLE}={values[VARIABLE]}'"], check=True)
    ca = Path(values["KAFKA_CA"]).read_text()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kafka-ca"}, "stringData": {"ca.crt": ca}}
    hk.by_hand(f"/api/v1/namespaces/{mine.user}/secrets", secret)


def test_with_a_password_and_a_certificate_keda_starts_a_second_pod_while_records_wait(secure: Secure, hk: Cluster) -> None:
    mine, address, database = secure
    assert len(offline_pods(hk, mine)) == 1
    assert "TriggerAuthentication" in kinds(hk, mine.user, OFFLINE)
    for partition in range(PARTITIONS):
        broker.produce(address, SOURCE, map(record, range(partition * 2000, partition * 2000 + 2000)), partition)
    until(lambda: ready(hk, mine) == 2, SECONDS)
    assert status_row(mine)["offline"]["ready"] == 2
    until(lambda: is_active(hk, mine), SECONDS)
    until(lambda: len(broker.members(address, GROUP)) == 2, SECONDS)
    assert all(len(each.assignment.topic_partitions) == 1 for each in broker.members(address, GROUP))
    until(lambda: database.execute("SELECT count(DISTINCT partition) FROM labels") == [(PARTITIONS,)])
    ((rows, records),) = database.execute('SELECT count(*), count(DISTINCT (partition, "offset")) FROM labels')
    assert rows == records
