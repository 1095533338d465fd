"""The two halves agree where they must, without importing one another."""

import re

from tests.running import ROOT, Running, get


def test_every_port_and_path_that_a_pod_is_probed_on_answers(demo: Running) -> None:
    text = (ROOT / "tests/golden/demo/hk-prod-istio.yaml").read_text()
    paths = set(re.findall(r'path: "(/(?:livez|readyz|metrics|api/ping)[^"]*)"', text))
    assert {"/livez", "/api/ping"} <= paths
    asked = paths | {"/metrics"}  # a ServiceMonitor's default path
    assert {path: get(demo.admin + path)[0] for path in asked} == dict.fromkeys(asked, 200)
