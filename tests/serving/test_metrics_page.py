"""The page of a served pod holds the metrics of the list, each as the list describes it, and no other of the platform."""

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from conf.plan.alerts import CANARY_DRIVEN
from serving.settings.exported_metrics import EXPORTED_METRICS, GPU, METRICS, OFFLINE, PREFIXES
from tests.running import ROOT, Running, get, make_service, running
from tests.waiting import until

WATCHES = """
from serving.api import Service

class Watches(Service):
    videos = True

    def setup(self):
        self.watch(self.folder / "model" / "names.txt", lambda: None)
        self.metrics.counter("faces_total", "Faces found.", ("size",)).labels("large").inc()
"""
POD = {
    "MONOPOD_TRACK": "grey",
    "MONOPOD_REGION": "hk",
    "MONOPOD_REGIONS": "hk",
    "MONOPOD_VERSION": "4f7cb14",
    "MONOPOD_PRICE_PER_MONTH": "56.25",
    "MONOPOD_CURRENCY": "USD",
    "MONOPOD_TMP_LIMIT_BYTES": "1140850688",
    "REDIS_URL": "redis://127.0.0.1:1/0",
}
DATA = json.dumps({"data": [[[[0.5] * 8] * 8]]}).encode()
# Metrics of a card cannot be on a page here, where there is none. An offline pod has a page of its own.
ABSENT = {metric.name for metric in EXPORTED_METRICS if metric.only_with in (GPU, OFFLINE)}


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_service(
        tmp_path_factory.mktemp("pod") / "small",
        'model_path = "model/digits.onnx"\nmemory = "1Gi"\ncpu = 1.5\ntimeout_second = 7.3\n'
        'cache = "redis"\nenv_secret = "redis"',
        WATCHES,
        ("tests/models/digits.onnx",),
    )
    (folder / "model" / "names.txt").write_text("one")
    temporary = tmp_path_factory.mktemp("tmp")
    with running(folder, {**POD, "TMPDIR": str(temporary)}) as service:
        (temporary / "cache").write_bytes(os.urandom(2**20))
        assert get(service.url + "/api/small", DATA, {"Content-Type": "application/json"})[0] == 200
        yield service


def families(pod: Running) -> dict[str, Metric]:
    found = text_string_to_metric_families(pod.metrics())
    return {family.name + "_total" * (family.type == "counter"): family for family in found}


def test_every_metric_of_the_list_is_on_the_page_but_those_of_a_card_and_of_an_offline_pod(pod: Running) -> None:
    assert set(METRICS) - set(families(pod)) == ABSENT
    assert all(families(pod)[name].samples for name in set(METRICS) - ABSENT)


def test_every_metric_on_the_page_is_in_the_list_but_the_services_own(pod: Running) -> None:
    assert {name for name in families(pod) if name not in METRICS} == {"faces_total"}


@pytest.mark.parametrize("name", sorted(set(METRICS) - ABSENT))
def test_a_metric_has_the_type_the_labels_and_the_words_of_the_list(pod: Running, name: str) -> None:
    metric, family = METRICS[name], families(pod)[name]
    assert family.type == metric.type
    assert {label for sample in family.samples for label in sample.labels if label != "le"} <= set(metric.labels)
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == set(metric.labels)
    if not name.startswith("process_"):  # prometheus_client describes these itself
        assert family.documentation == metric.about


def test_the_pod_tells_its_release_its_price_and_its_limits(pod: Running) -> None:
    from monopod import VERSION

    assert (
        pod.metric(f'monopod_release_info{{platform="{VERSION}",region="hk",track="grey",user="like",version="4f7cb14"}}') == 1
    )
    assert pod.metric('monopod_price_per_month{currency="USD"}') == 56.25
    assert pod.metric("monopod_memory_limit_bytes") == 2**30
    assert pod.metric("monopod_cpu_cores") == 1.5
    assert pod.metric("monopod_tmp_limit_bytes") == 1140850688
    assert 2**20 <= pod.metric("monopod_tmp_bytes") < 1.5 * 2**20


def test_the_autoscaler_and_the_alerts_ask_for_series_that_the_page_has(pod: Running) -> None:
    rendered = (ROOT / "tests/golden/every-setting/hk-prod-istio.yaml").read_text()
    rules = next(each for each in yaml.safe_load_all(rendered) if each["kind"] == "PrometheusRule")["spec"]["groups"]
    recorded = {rule["record"] for group in rules for rule in group["rules"] if "record" in rule}
    found = {name for name in re.findall(r"[\w:]*\bmonopod_[\w:]+", rendered) if name not in recorded}
    found.remove(CANARY_DRIVEN)  # which a canary's own rule records while there is one
    asked = {name for name in found if not name.startswith("monopod_offline_")}  # those stand on the page of an offline pod
    page = pod.metrics()
    assert {"monopod_queue_rows", "monopod_batch_duration_seconds_sum"} <= asked
    assert [name for name in sorted(asked) if not re.search(rf"^(# TYPE )?{name}[{{ ]", page, re.MULTILINE)] == []


def test_the_timeout_is_the_last_bound_of_a_time(pod: Running) -> None:
    bounds = re.findall(r'monopod_request_duration_seconds_bucket\{le="([^"]+)",route="service"\}', pod.metrics())
    assert bounds[0] == "0.001"
    assert bounds[-2:] == ["7.3", "+Inf"]


def test_the_bytes_of_both_bodies_are_counted(pod: Running) -> None:
    before = [pod.metric(f'monopod_{way}_size_bytes_sum{{route="service"}}') for way in ("request", "response")]
    status, body = get(pod.url + "/api/small", DATA, {"Content-Type": "application/json"})
    assert status == 200
    after = [pod.metric(f'monopod_{way}_size_bytes_sum{{route="service"}}') for way in ("request", "response")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [len(DATA), len(body)]


def test_open_connections_are_counted_by_port(pod: Running) -> None:
    until(lambda: pod.metric('monopod_connections{port="data"}') == 0)
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(socket.create_connection(("127.0.0.1", pod.port), timeout=20))
        until(lambda: pod.metric('monopod_connections{port="data"}') == 3)
        assert pod.metric('monopod_connections{port="admin"}') == 1  # the one that reads the page
    until(lambda: pod.metric('monopod_connections{port="data"}') == 0)


def test_a_metric_of_the_platform_begins_as_no_own_one_may(pod: Running) -> None:
    assert all(name.startswith(PREFIXES) for name in METRICS)
