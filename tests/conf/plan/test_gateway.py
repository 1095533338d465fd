"""The object that a cluster's gateway needs once is printed, and a service with larger bodies gets a warning."""

import json
from pathlib import Path

import pytest

import monopod
from conf.base.yaml_nodes import documents
from conf.clusters.regions import read
from conf.rules.check import check
from tests.conf.golden import GOLDEN

FILE = GOLDEN / "regions.yaml"
TEXT = FILE.read_text(encoding="utf-8")
SAID = ", buffer_limit: 16Mi"
LIMIT = 16 * 2**20

Captured = pytest.CaptureFixture[str]


def printed(region: str, captured: Captured) -> str:
    assert monopod.main(["gateway", "--region", region, "--regions", str(FILE)]) == 0
    return captured.readouterr().out


def test_istios_proxies_get_a_filter_beside_them(capsys: Captured) -> None:
    (item,) = documents(printed("hk", capsys))
    assert (item["kind"], item["metadata"]["namespace"]) == ("EnvoyFilter", "istio-ingress")
    (patch,) = item["spec"]["configPatches"]
    assert patch["match"] == {"context": "GATEWAY"}
    assert patch["patch"]["value"] == {"request_body_buffer_limit": LIMIT}


def test_envoy_gateway_gets_a_policy_beside_the_gateway_for_both_versions_of_http(capsys: Captured) -> None:
    (item,) = documents(printed("eu", capsys))
    assert (item["kind"], item["metadata"]["namespace"]) == ("ClientTrafficPolicy", "gateway")
    target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gateway"}
    assert item["spec"] == {
        "targetRefs": [target],
        "connection": {"bufferLimit": LIMIT},
        "http2": {"initialStreamWindowSize": LIMIT},
    }


def test_a_program_gets_the_objects_as_json(capsys: Captured) -> None:
    text = printed("hk", capsys)
    assert monopod.main(["gateway", "--region", "hk", "--regions", str(FILE), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == documents(text)


@pytest.mark.parametrize(("region", "own"), [("hk", "1Mi"), ("eu", "32Ki")])
def test_a_gateway_without_a_limit_of_its_own_is_told_the_proxies_own(
    region: str, own: str, tmp_path: Path, capsys: Captured
) -> None:
    without = tmp_path / "regions.yaml"
    without.write_text(TEXT.replace(SAID, ""), encoding="utf-8")
    assert monopod.main(["gateway", "--region", region, "--regions", str(without)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "gateway has no buffer_limit" in told.err
    assert own in told.err


@pytest.mark.parametrize(
    ("text", "largest", "regions"),
    [
        (TEXT, "16Mi", []),
        (TEXT, "17Mi", ["hk", "eu", "na"]),
        (TEXT.replace(SAID, ""), "2Mi", ["hk", "eu", "na"]),
        (TEXT.replace(SAID, ""), "1Mi", ["eu"]),
        (TEXT.replace(SAID, ""), "32Ki", []),
        (TEXT.replace("16Mi", "1.5Mi"), "1536Ki", []),
    ],
)
def test_a_body_that_no_gateway_sends_again_is_a_note_and_no_mistake(
    text: str, largest: str, regions: list[str], tmp_path: Path
) -> None:
    service = f'service_name = "demo"\nusername = "like"\nmax_body = "{largest}"\n'
    (tmp_path / "value.py").write_text(service, encoding="utf-8")
    report = check(tmp_path, read(text), ("prod",))
    assert report.mistakes == []
    notes = [line for line in report.warnings if "sends no request above" in line]
    assert [line.rpartition("(in ")[2] for line in notes] == [f"{name})" for name in regions]
    assert all(line.startswith(f"value.py:3: max_body is {largest}, and the gateway of ") for line in notes)
    assert all("raise buffer_limit in conf/regions.yaml:" in line for line in notes)
