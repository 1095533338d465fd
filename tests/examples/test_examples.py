"""Every example passes `monopod check`, starts without a network, and answers as its README shows."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.examples.isolated import Isolated, isolated
from tests.examples.readme_answers import check_shown, curls
from tests.running import ROOT

EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/value.py"))
OWN_FILES = ("value.py", "alerts.yaml", "README.md", "src/server.py", "src/test_server.py", "page.png")
IMAGES = ROOT / "examples/images"

pytestmark = pytest.mark.long
example = pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)


def monopod(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "monopod", *words], cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda folder: folder.name)
def service(request: pytest.FixtureRequest) -> Iterator[Isolated]:
    with isolated(request.param, {}) as it:
        yield it


@example
def test_an_example_is_laid_out_like_the_root(folder: Path) -> None:
    assert [name for name in OWN_FILES if not (folder / name).is_file()] == []
    assert len((folder / "src/server.py").read_text().splitlines()) <= 125
    assert (folder / "page.png").read_bytes()[:4] == b"\x89PNG"
    assert "](page.png)" in (folder / "README.md").read_text()


@example
def test_an_example_passes_the_check_of_what_is_deployed(folder: Path) -> None:
    done = monopod("check", "--service", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr


@example
def test_promtool_reads_the_alert_rules(folder: Path, needs: Callable[[str, str], str]) -> None:
    promtool = needs("promtool", "prometheus")
    done = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", folder / "alerts.yaml"], capture_output=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@example
def test_every_model_is_there_and_whole_and_answers(folder: Path) -> None:
    done = monopod("verify", "--service", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_curl_lines_of_the_readme_are_answered_as_it_shows_with_the_network_cut_off(
    service: Isolated, tmp_path: Path
) -> None:
    assert service.run("ip -o link | cut -d: -f2; ip route; ip -6 route | grep -v ' dev lo '").stdout.split() == ["lo"]
    (tmp_path / "examples").symlink_to(ROOT / "examples")  # files that a line writes stay out of the repository
    lines = curls((service.folder / "README.md").read_text())
    assert any(shown for _, shown in lines)
    for line, shown in lines:
        done = service.run(f"{line} -sS --fail-with-body -o answer -w '%{{content_type}}'", tmp_path)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if done.stdout == "application/json":
            answer = (tmp_path / "answer").read_text()
            assert json.loads(answer)["msg"] == ""
            if shown:
                check_shown(line, shown, answer)


def test_the_openapi_document_of_an_example_is_valid(service: Isolated) -> None:
    document: Any = json.loads(service.run("curl -sf localhost:8080/openapi.json").stdout)
    OpenAPIV31SpecValidator(document).validate()


def test_every_loaded_model_speaks_the_open_inference_protocol(service: Isolated) -> None:
    line, _ = curls((service.folder / "README.md").read_text())[0]
    assert service.run(f"{line} -sf -o /dev/null").returncode == 0  # the request loads models that load on first use
    names = json.loads(service.run("curl -sf localhost:8080/status").stdout)["models"]
    assert names
    for name in names:
        told = json.loads(service.run(f"curl -sf localhost:8080/v2/models/{name}").stdout)
        assert told["name"] == name
        assert told["inputs"]
        assert told["outputs"]


def test_the_metrics_that_the_alerts_ask_for_are_there(service: Isolated) -> None:
    page = service.run("curl -sf localhost:8081/metrics").stdout
    own = set(re.findall(r"^# TYPE (\w+)", page, re.MULTILINE))
    asked = set(re.findall(r"\b([a-z]+(?:_[a-z]+)+)(?=\{|\[|\)| [<>=+*/-])", (service.folder / "alerts.yaml").read_text()))
    known = {name for name in asked if name in own or re.sub(r"_(total|bucket|sum|count)$", "", name) in own}
    words = {name for name in asked - known if not name.startswith(("histogram_", "absent_", "group_", "max_over", "avg_over"))}
    assert words == set(), f"{service.folder.name} has no such metrics; it has {sorted(own)}"
