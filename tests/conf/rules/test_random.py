"""Any input gives mistakes in sentences, or objects that hold exactly the values of the input."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from conf.base.image_names import image
from conf.base.yaml_nodes import compose, documents
from conf.clusters.regions import read
from conf.plan.alerts import AlertingRule
from conf.plan.plan import Own, default_image, plan
from conf.render.templates import quoted, render
from conf.rules.check import Report, check
from serving.settings import declared_settings
from serving.settings import read as read_value
from serving.settings.reader import ConfigError
from tests.conf import golden, strategies

SENTENCE = re.compile(r"(value\.py|alerts\.yaml|conf/regions\.yaml|--image)(:\d+)?: .{10,}", re.DOTALL)
FAST = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
TEXTUAL = [
    name for name, item in declared_settings().items() if item.default is None or isinstance(item.default, str | tuple | dict)
]
NO_SURROGATES = st.characters(exclude_categories=["Cs"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("random")
    (folder / "model").mkdir()
    (folder / "model" / "same.onnx").write_bytes((golden.SERVICES["gpu"] / "model" / "same.onnx").read_bytes())
    return folder


def check_files(folder: Path, value: str, regions: str) -> Report:
    """Check a random service in random regions. The report holds mistakes of both."""
    try:
        known = read(regions)
    except ConfigError as error:
        return Report(list(error.mistakes))
    (folder / "value.py").write_text(value, encoding="utf-8", errors="surrogatepass")
    return check(folder, known)


@pytest.mark.timeout(300)
@settings(max_examples=2000, **FAST)  # type: ignore[arg-type]
@given(value=strategies.values(), regions=strategies.regions())
def test_two_thousand_random_files_give_sentences_or_objects_and_never_a_traceback(
    folder: Path, value: str, regions: str
) -> None:
    report = check_files(folder, value, regions)
    event("passes" if not report.mistakes else "fails")
    assert [line for line in report.mistakes if not SENTENCE.match(line)] == []
    assert report.mistakes or report.rendered


@settings(max_examples=300, **FAST)  # type: ignore[arg-type]
@given(text=st.text(NO_SURROGATES))
def test_a_quoted_text_reads_back_as_itself(text: str) -> None:
    assert documents(f"a: {quoted(text)}\n{quoted('b')}: 1") == [{"a": text, "b": 1}]


@settings(max_examples=400, **FAST)  # type: ignore[arg-type]
@given(name=st.sampled_from(TEXTUAL), text=st.one_of(st.text(), st.text("ab1-._:=/\"'{}#\n", max_size=8)))
def test_any_text_in_any_setting_gives_a_mistake_or_stays_in_its_place(folder: Path, name: str, text: str) -> None:
    default = declared_settings()[name].default
    value: Any = [text] if isinstance(default, tuple) else {"pool": text} if isinstance(default, dict) else text
    base = {"service_name": "demo", "username": "like", name: value}
    (folder / "value.py").write_text(
        "".join(f"{key} = {said!r}\n" for key, said in base.items()), encoding="utf-8", errors="surrogatepass"
    )
    report = check(folder, golden.regions())
    assert report.mistakes or report.rendered
    for each in report.rendered:
        items = {item["kind"]: item for item in each.items}
        assert [kind.lower() for kind in items] == list(each.plan.objects)
        pod = items["Deployment"]["spec"]["template"]["spec"]
        assert pod.get("nodeSelector", {}) == (value if name == "node_labels" else {})
        assert [_taint(item) for item in pod.get("tolerations", [])] == (value if name == "tolerations" else [])
        assert items["Deployment"]["metadata"]["name"] == base["service_name"]


def _taint(item: dict[str, str]) -> str:
    equal = f"={item['value']}" if item["operator"] == "Equal" else ""
    return item["key"] + equal + (f":{item['effect']}" if item["effect"] else "")


@settings(max_examples=200, **FAST)  # type: ignore[arg-type]
@given(text=st.text(NO_SURROGATES))
def test_any_text_that_a_plan_holds_is_read_back_as_it_was(text: str) -> None:
    value = read_value('service_name = "demo"\nusername = "like"\n', "value.py", tuple(golden.regions().regions))
    rule = AlertingRule("Any", text, "1m", {"a": text}, {"b": text})
    for each in plan(value, golden.regions(), "prod", image("x:1"), Own((rule,))):
        items = {item["kind"]: item for item in documents(render(each))}
        assert [kind.lower() for kind in items] == list(each.objects)
        last = items["PrometheusRule"]["spec"]["groups"][-1]["rules"][-1]
        labels = {"namespace": "like", "service": "demo", "track": "prod", "a": text}
        own = {name: told for name, told in last.pop("annotations").items() if name not in ("command", "runbook_url")}
        assert own == {"b": text}
        assert last == {"alert": "Any", "expr": text, "for": "1m", "labels": labels}


# Where regions.yaml holds a text: the path to it, and a text that may stand there.
PLACES = {
    "registry": "placeholder.io",
    "regions.hk.host": "placeholder.io",
    "regions.hk.gateway.name": "placeholder",
    "regions.hk.gateway.pods": "placeholder",
    "regions.hk.mesh.istio-injection": "placeholder",
    "regions.hk.prometheus.url": "http://placeholder",
    "regions.hk.prometheus.labels.release": "placeholder",
    "regions.hk.gpu.resource": "placeholder.io/gpu",
    "regions.hk.pull_secrets.0": "placeholder",
    "regions.hk.context": "placeholder",
    "regions.hk.nodes.0.name": "placeholder",
}
SERVICE = 'service_name = "demo"\nusername = "like"\ngpu_memory = 2\nmax_replicas = 3\nautoscale_by = "queue"\n'


def rendered_with(path: str, text: str) -> list[Any] | None:
    """Return hk's objects with a text at a place of regions.yaml, or None where the text may not stand there."""
    root, _ = compose((golden.GOLDEN / "regions.yaml").read_text(encoding="utf-8"))
    assert root is not None
    data = place = root.plain()
    *parents, last = path.split(".")
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[int(last) if last.isdigit() else last] = text
    try:
        regions = read(json.dumps(data))
    except ConfigError:
        return None
    value = read_value(SERVICE, "value.py", tuple(regions.regions))
    (first, *_) = plan(value, regions, "prod", image(default_image(value.settings, regions)))
    return documents(render(first))


def exchanged(item: Any, old: str, new: str) -> Any:
    """Return a document with one text for another, wherever it stands."""
    if isinstance(item, dict):
        return {exchanged(key, old, new): exchanged(value, old, new) for key, value in item.items()}
    if isinstance(item, list):
        return [exchanged(value, old, new) for value in item]
    return item.replace(old, new) if isinstance(item, str) else item


@settings(max_examples=400, **FAST)  # type: ignore[arg-type]
@given(path=st.sampled_from(sorted(PLACES)), text=st.one_of(st.text(), st.text("ab1-._:/\"'{}#\n", max_size=12)))
def test_any_text_in_regions_yaml_gives_a_mistake_or_changes_its_places_alone(path: str, text: str) -> None:
    objects = rendered_with(path, text)
    if objects is not None:
        assert objects == exchanged(rendered_with(path, PLACES[path]), PLACES[path], text)


@pytest.mark.parametrize("path", PLACES)
def test_the_texts_that_stand_in_for_others_are_allowed(path: str) -> None:
    assert rendered_with(path, PLACES[path]) is not None


EVIL = (
    "__import__('os').remove({victim!r})",
    "open({victim!r}, 'w')",
    "[__import__('os').remove({victim!r}) for _ in range(1)][0]",
    "(lambda: __import__('os').remove({victim!r}))()",
    "f\"{{__import__('os').remove('x')}}\"",
    "type('T', (), {{'__repr__': lambda self: __import__('os').remove({victim!r})}})()",
)


@pytest.mark.parametrize("evil", EVIL)
def test_a_value_that_would_delete_a_file_is_refused_and_the_file_stays(tmp_path: Path, evil: str) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    text = f'service_name = "demo"\nusername = "like"\ncpu = {evil.format(victim=str(victim))}\n'
    (tmp_path / "value.py").write_text(text, encoding="utf-8")
    report = check(tmp_path, golden.regions())
    assert victim.exists()
    assert report.mistakes[0].startswith("value.py:3: cpu must be a literal")
