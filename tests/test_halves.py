"""The two halves agree where they must, without importing one another."""

import re

from prometheus_client.parser import text_string_to_metric_families

from tests.running import ROOT, Running, get

SUFFIXES = ("_bucket", "_count", "_sum")


def test_every_metric_that_alerts_and_autoscalers_read_is_on_the_page(demo: Running) -> None:
    families = {family.name for family in text_string_to_metric_families(demo.metrics())}
    known = families | {name + "_total" for name in families}
    texts = [
        path.read_text()
        for folder in ("conf", "templates", "tests/golden")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".yaml")
    ]
    read = {name for text in texts for name in re.findall(r"\bmonopod_[a-z_]+", text)}
    assert {name for name in read if re.sub("|".join(s + "$" for s in SUFFIXES), "", name) not in known} == set()
    assert len(read) >= 5


def test_every_port_and_path_that_a_pod_is_probed_on_answers(demo: Running) -> None:
    text = (ROOT / "tests/golden/demo/hk-prod-istio.yaml").read_text()
    paths = set(re.findall(r'path: "(/(?:livez|readyz|metrics|api/ping)[^"]*)"', text))
    assert {"/livez", "/api/ping"} <= paths
    asked = paths | {"/metrics"}  # a ServiceMonitor's default path
    assert {path: get(demo.admin + path)[0] for path in asked} == dict.fromkeys(asked, 200)
