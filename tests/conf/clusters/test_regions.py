"""regions.yaml is read as strictly as value.py: every mistake at once, each with its line and what is allowed."""

import re
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import pytest

from conf.clusters.regions import (
    Alerting,
    Gateway,
    Gpu,
    HostPorts,
    Kafka,
    Logs,
    NodeKind,
    Prometheus,
    Region,
    Regions,
    Reserved,
    User,
    load,
    read,
)
from conf.rules.check import check
from serving.settings.reader import ConfigError
from tests.conf.golden import GOLDEN, SERVICES
from tests.running import ROOT

TEXT = (GOLDEN / "regions.yaml").read_text(encoding="utf-8")


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value.mistakes


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


CHANGES: dict[str, tuple[str, str, str]] = {
    "a field's name": ("context: eu", "contxt: eu", "no setting 'contxt' here; did you mean 'context'?"),
    "a word that is none": ("routing: istio", "routing: nginx", 'is \'nginx\', but must be one of "istio", "gateway-api"'),
    "a word that YAML reads as a flag": ("grey: na", "grey: no", "grey is False, but must be 2 to 10 lower-case letters"),
    "nothing": ("unit: MiB", "unit: ~", 'unit is nothing, but must be one of "GiB", "MiB", "card"'),
    "a number": (
        "cpu: 16, memory: 64Gi, price: 480",
        "cpu: many, memory: 64Gi, price: 480",
        "cpu is 'many', but must be a number",
    ),
    "a number in quotes": (
        "cpu: 16, memory: 64Gi, price: 480",
        'cpu: "16", memory: 64Gi, price: 480',
        "cpu is '16', but must be a number from 0.1 to 4096; drop the quotes: 16",
    ),
    "a size without a unit": (
        "cpu: 16, memory: 64Gi, price: 480",
        "cpu: 16, memory: 64, price: 480",
        'memory is 64, but must be a quantity from "64Mi" to "64Ti", with Ki, Mi, Gi, k, M or G; did you mean "64Mi"?',
    ),
    "a name twice": ("    host: hk", "    context: hk\n    host: hk", "'context' is already set on line 12"),
    "an anchor": ("host: hk", "host: &x hk", "anchors (&) and aliases (*) may not stand here"),
    "a table": (
        "gpu: {resource: nvidia.com/gpu, unit: card}",
        "gpu: 3",
        "regions.na.gpu must be a table of resource, unit, beside",
    ),
    "a network": ("10.0.0.0/8", "10.0.0.1/8", 'must be a list of networks as "10.0.0.0/8"'),
    "a track's region": ("ab: hk", "ab: sg", "'sg', which is not a region"),
    "two regions of one cluster": ("context: eu", "context: hk", "eu and hk have the context 'hk'"),
    "a region that begins a setting": ("  eu:\n", "  max:\n", "region 'max' begins the setting 'max_replicas' of value.py"),
    "cards that cannot be asked for": ("    gpu: {resource: aliyun.com/gpu-mem, unit: GiB}\n", "", "add gpu to the region"),
    "a region without nodes": (
        TEXT[TEXT.index("    nodes:") : TEXT.index("  eu:")],
        "    nodes: []\n",
        "regions.hk.nodes is empty, so that no pod could be placed or priced: name one kind of node at least",
    ),
    "ports the wrong way round": ("first_port: 20000", "first_port: 30000", "first_port is above last_port"),
    "a user of a reserved name": ("  like: {}", "  grey: {}", "users.grey is 'grey', but must be lower-case letters"),
    "a user who is no table": ("  like: {}", "  like:", "users.like must be a table of use_srv"),
    "a gateway to make without its class": (
        "create: true, class: envoy",
        "create: true",
        "create is true and class is missing",
    ),
    "a gateway to make without its proxies": ("selector: {istio: ingress}", "selector: {}", "create is true and selector is"),
    "alerts that reach nobody": (
        "alerting: {webhook: true}",
        "alerting: {robot: false}",
        "regions.hk.alerting: robot and webhook are false, so that alerts reach nobody: set one to true",
    ),
    "brokers without their port": ('["kafka.eu.lan:9092"]', "[kafka.eu.lan]", "must be a list of brokers as host:port"),
    "no broker": ('["kafka.eu.lan:9092"]', "[]", "regions.eu.kafka.brokers is empty: name one broker at least"),
    "a password without the way to show it": (
        "security: sasl_ssl, mechanism: SCRAM-SHA-512",
        "security: sasl_ssl",
        "regions.hk.kafka: security is sasl_ssl and mechanism is missing: add mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
    ),
    "a way to show a password that nobody asks for": (
        '9093"], security: ssl}',
        '9093"], security: ssl, mechanism: PLAIN}',
        "regions.na.kafka: security is ssl, which asks for no password: set security to sasl_ssl or sasl_plaintext, or leave",
    ),
    "a CA that nobody checks": (
        '["kafka.eu.lan:9092"]',
        '["kafka.eu.lan:9092"], ca_secret: kafka-ca',
        "regions.eu.kafka: security is plaintext, which checks no CA: leave ca_secret out",
    ),
    "a proxy without its port": (
        "alerting: {webhook: true}",
        "alerting: {proxy: 'http://proxy.lan'}",
        "regions.hk.alerting.proxy is 'http://proxy.lan', but must be http://host:port",
    ),
    "a missing field": (
        "    context: na\n",
        "",
        "regions.na.context is missing; add context: name (its context in the kubeconfig)",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_mistake_is_told_with_its_line(name: str) -> None:
    old, new, told = CHANGES[name]
    assert old in TEXT
    found = mistakes(TEXT.replace(old, new, 1))
    assert any(told in line for line in found), found
    assert all(re.match(r"conf/regions\.yaml:\d+: ", line) for line in found)


def test_a_field_that_is_named_as_optional_is_passed_over_where_it_is_not_known() -> None:
    text = TEXT.replace("\nregistry:", "\nmoon: {phase: full}\nregistry:", 1)
    (words,) = mistakes(text)
    assert "no setting 'moon' here" in words
    assert read(f"optional: [moon]\n{text}").optional == ("moon",)
    assert any(
        "optional is 'moon', but must be a list of names of fields" in each for each in mistakes(f"optional: moon\n{text}")
    )


def test_the_line_is_the_one_where_it_stands() -> None:
    text = TEXT.replace("routing: gateway-api", "routing: nginx")
    assert mistakes(text)[0].startswith(f"conf/regions.yaml:{line_of(text, 'routing: nginx')}: regions.eu.routing is 'nginx'")


def test_all_mistakes_are_told_at_once() -> None:
    text = TEXT.replace("currency: USD", "currency: dollars").replace("grey: na", "grey: xx1").replace("unit: MiB", "unit: KiB")
    assert len(mistakes(text)) == 2  # the region of grey cannot be judged before the regions can
    assert len(mistakes(TEXT.replace("grey: na", "grey: xx1").replace("ab: hk", "ab: xx2"))) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "a: [\n", "a: 1\n---\nb: 2\n", "\x00", "? [a]\n: 1\n", "1: 2\n"])
def test_what_is_no_table_is_told_in_a_sentence(text: str) -> None:
    assert mistakes(text)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it names the clusters"):
        load(tmp_path / "regions.yaml")


def test_the_platforms_own_file_is_read() -> None:
    assert list(load(ROOT / "conf" / "regions.yaml").regions)


@pytest.fixture
def service(tmp_path: Path) -> Callable[[str], Path]:
    def make(lines: str) -> Path:
        (tmp_path / "value.py").write_text('service_name = "x"\nusername = "y"\n' + lines, encoding="utf-8")
        return tmp_path

    return make


def test_the_example_of_one_cluster_is_read_and_serves_a_new_service_without_a_mistake(service: Callable[[str], Path]) -> None:
    example = (ROOT / "conf/regions.example-one.yaml").read_text(encoding="utf-8")
    found = read(example.replace("  like: {}", "  y: {}"), "conf/regions.example-one.yaml")
    assert (list(found.regions), found.grey, found.ab) == (["one"], "one", "one")
    report = check(service("cpu = 2\nreplicas = 1"), found, ("prod",))
    assert report.mistakes == []
    assert [row.region for row in report.rows] == ["one"]


def test_a_fourth_region_is_added_by_editing_this_file_alone(service: Callable[[str], Path]) -> None:
    entry = (
        TEXT[TEXT.index("  na:\n") :]
        .replace("  na:\n", "  sg:\n")
        .replace("context: na", "context: sg")
        .replace("na.ex", "sg.ex")
    )
    four = read(TEXT.replace("  like: {}", "  y: {}") + "\n" + entry)
    report = check(service("sg_replicas = 3\n"), four, ("prod",))
    assert report.mistakes == []
    assert [(row.region, row.replicas) for row in report.rows] == [("hk", 1), ("eu", 1), ("na", 1), ("sg", 3)]
    assert report.rows[-1].answers == ("sg.example.com/api/y/x",)


def test_a_region_with_no_replicas_renders_nothing(service: Callable[[str], Path]) -> None:
    report = check(service("eu_replicas = 0\n"), read(TEXT), ("prod",))
    assert [each.plan.region for each in report.rendered] == ["hk", "na"]


def test_the_region_of_grey_and_ab_is_theirs_whatever_prod_runs_there() -> None:
    text = TEXT.replace("grey: na", "grey: eu")
    report = check(SERVICES["gpu"], read(text), ("grey", "ab"))
    assert [(each.plan.region, each.plan.track, each.plan.namespace) for each in report.rendered] == [
        ("eu", "grey", "grey"),
        ("hk", "ab", "ab-test"),
    ]


def test_the_manual_says_of_each_field_whether_it_may_be_left_out() -> None:
    table = (
        (ROOT / "docs/deploy.md")
        .read_text()
        .partition("| field | left out | meaning |\n|---|---|---|\n")[2]
        .partition("\n\n")[0]
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    told = {name: left_out != "required" for names, left_out, _ in rows for name in names.split(", ")}
    own = {"file", "lines", "name", "regions"}  # these are not written in regions.yaml, or are names
    found = {each.name: _may_be_left_out(each) for of in (Regions, Region) for each in fields(of) if each.name not in own}
    inside = {
        "alerting": Alerting,
        "gateway": Gateway,
        "nodes": NodeKind,
        "gpu": Gpu,
        "kafka": Kafka,
        "logs": Logs,
        "reserved": Reserved,
        "prometheus": Prometheus,
        "srv": HostPorts,
        "users": User,
    }
    found |= {
        f"{name}.{each.name.rstrip('_')}": True for name, of in inside.items() for each in fields(of) if _may_be_left_out(each)
    }
    assert told == found


def _may_be_left_out(each: Field[Any]) -> bool:
    return each.default is not MISSING or each.default_factory is not MISSING
