"""Files of any kind, as clients send them to served models: each door takes them, and refuses what is not declared."""

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.sync_api import expect

import monopod
from tests.browser import browser, console_errors, drop
from tests.running import ROOT, Running, get, make_service, post_form, post_json, running
from tests.serving.offline.offline_process import backfill, finished
from tests.serving.sound_service import DOCUMENT, PDF, make_sound_service, recorded, wav, write_sound_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sounds, an empty one and a text."""
    made = tmp_path_factory.mktemp("sounds")
    for name, content in {
        "go.wav": wav(0.5),
        "no.wav": wav(0.25),
        "empty.wav": b"",
        "notes.txt": b"none",
        "a.pdf": PDF,
    }.items():
        (made / name).write_bytes(content)
    return made


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(make_sound_service(tmp_path_factory.mktemp("service") / "small")) as service:
        yield service


def curl(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run curl in a folder and return the answer's status and JSON."""
    command = ["curl", "-s", "-w", "\n%{http_code}", *arguments]
    out = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=True).stdout
    body, _, status = out.rpartition("\n")
    return int(status), json.loads(body)


def test_a_sound_is_taken_raw_in_a_form_and_in_json(sounds: Running, folder: Path) -> None:
    url, content = sounds.url + "/api/small", (folder / "go.wav").read_bytes()
    for kind in ("audio/wav", "audio/x-wav", "application/octet-stream"):
        status, body = get(url, content, {"Content-Type": kind})
        assert (status, json.loads(body)["results"]) == (200, {"loudness": 0.5, "name": "", "type": kind})
    status, answer = curl(folder, "-F", "audio=@no.wav;type=audio/wav", url)
    assert (status, answer["results"]) == (200, {"loudness": 0.25, "name": "no.wav", "type": "audio/wav"})
    status, answer = post_json(url, {"audio": base64.b64encode(content).decode(), "uid": 7})
    assert (status, answer["results"]["loudness"], answer["uid"]) == (200, 0.5, 7)


@pytest.mark.parametrize(
    ("parts", "status", "words"),
    [
        (["audio=@empty.wav"], 400, "audio is empty: the file has no bytes"),
        (["audio=@go.wav", "audio=@no.wav"], 400, "2 files named audio; it may hold 1"),
        (["image=@go.wav"], 400, "not known: image"),
        (["audio=@notes.txt"], 415, "audio is of type 'text/plain'"),
        (["k=1"], 400, "no file audio in the request"),
        (["audio=@notes.txt;type=audio/wav"], 400, "audio is no WAV"),
    ],
)
def test_what_is_no_declared_file_is_refused_in_words(
    sounds: Running, folder: Path, parts: list[str], status: int, words: str
) -> None:
    found, answer = curl(folder, *(f"-F{part}" for part in parts), sounds.url + "/api/small")
    assert (found, words in answer["error"]) == (status, True), answer


def test_a_raw_body_of_another_type_is_told_what_is_admitted(sounds: Running) -> None:
    status, body = get(sounds.url + "/api/small", b"x", {"Content-Type": "image/png"})
    assert status == 415
    assert "audio/* or application/octet-stream" in json.loads(body)["error"]


def test_a_route_takes_several_files_of_its_own_names(sounds: Running, folder: Path) -> None:
    url, parts = sounds.url + "/api/small/both", ["-Fvoice=@go.wav", "-Fpages=@a.pdf", "-Fpages=@a.pdf;filename=b.pdf"]
    assert curl(folder, *parts, url)[1]["results"] == ["go.wav", ["a.pdf", "b.pdf"]]
    assert "holds 4 files named pages" in curl(folder, *parts, *parts[1:], url)[1]["error"]
    assert curl(folder, "-Fimage=@a.pdf", url)[1]["error"].endswith("name them voice, pages or data")


def test_the_document_and_the_starts_line_say_how_a_file_is_sent(sounds: Running) -> None:
    told = json.loads(get(sounds.url + "/api/small/openapi.json")[1])
    assert list(OpenAPIV31SpecValidator(told).iter_errors()) == []
    assert "audio/*" in told["paths"]["/small"]["post"]["requestBody"]["content"]
    assert any("curl -F audio=@FILE localhost:" in line.get("message", "") for line in sounds.lines())


def test_the_page_offers_the_upload_plays_the_sound_and_sends_it(sounds: Running, folder: Path) -> None:
    with browser() as chromium:
        page = chromium.new_page()
        errors = console_errors(page)
        page.goto(sounds.url + "/api/small/")
        expect(page.locator("#kinds")).to_have_text("Choose a file for audio")
        expect(page.locator("#file")).to_have_attribute("accept", "audio/*")
        expect(page.locator("#curl")).to_have_text(f"curl -F audio=@FILE {sounds.url}/api/small")
        drop(page, folder / "go.wav", "audio/wav")
        expect(page.locator("#raw")).to_contain_text('"loudness": 0.5')
        expect(page.locator("#pictures audio")).to_be_visible()
        expect(page.locator("#curl")).to_have_text(f"curl -F audio=@go.wav {sounds.url}/api/small")
        page.locator("#routes").select_option(index=1)
        expect(page.locator("#name")).to_have_text("2 files are sent together.")
        drop(page, folder / "a.pdf", "application/pdf")
        expect(page.locator("#name")).to_have_text("a.pdf, and 1 more")
        drop(page, folder / "go.wav", "audio/x-wav")
        expect(page.locator("#raw")).to_contain_text('[ "a.pdf" ]')
        assert errors == []


def test_a_mistake_in_a_declaration_ends_the_start_with_its_line(tmp_path: Path) -> None:
    server = DOCUMENT.replace("application/pdf", "pdf")
    made = make_service(tmp_path / "small", "", server)
    with pytest.raises(AssertionError, match="files says 'pdf' .*server.py, line 7"):
        running(made).__enter__()


def test_a_document_is_answered_with_its_text(tmp_path: Path, folder: Path) -> None:
    with running(make_service(tmp_path / "small", "", DOCUMENT)) as service:
        url = service.url + "/api/small"
        assert curl(folder, "-Fdocument=@a.pdf", url)[1]["results"] == "Hello world"
        assert json.loads(get(url, PDF, {"Content-Type": "application/pdf"})[1])["results"] == "Hello world"
        assert curl(folder, "-Fdocument=@go.wav;type=audio/wav", url)[0] == 415


def test_a_folder_of_sounds_and_lines_are_answered_offline(tmp_path: Path, folder: Path) -> None:
    content = base64.b64encode((folder / "no.wav").read_bytes()).decode()
    (tmp_path / "lines.jsonl").write_text(json.dumps({"audio": content}) + "\n")
    made = make_sound_service(tmp_path / "small")
    code, out, _ = finished(backfill(made, [str(folder), str(tmp_path / "lines.jsonl")], ["file:loud.jsonl"], tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "loud.jsonl").read_text().splitlines()]
    assert {Path(line["topic"]).name: line["answer"]["results"]["loudness"] for line in lines} == {
        "go.wav": 0.5, "no.wav": 0.25, "lines.jsonl": 0.25,
    }  # fmt: skip
    assert (code, "4 records in" in out, "3 answered, 1 dead" in out, "not records: 2" in out) == (3, True, True, True), out


def test_bench_sends_a_sound_to_a_base_address(sounds: Running, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load = ["--seconds", "0.2", "--warm-up", "0", "--concurrency", "1", "--url", sounds.url, "--json"]
    assert monopod.main(["bench", *load, "--file", str(folder / "go.wav")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [kind["name"] for kind in found["kinds"]] == ["200"]


def test_verify_and_optimize_take_the_service_of_sounds(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = str(make_sound_service(tmp_path / "small"))
    assert monopod.main(["verify", "--service", made]) == 0
    assert monopod.main(["optimize", "--service", made, "--samples", str(folder), "--fp16", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.partition("1 of 1 right\n")[2])
    assert told["samples"]["rows"] == 2


def test_the_service_of_sounds_on_the_manuals_page_says_what_it_hears(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```python\n((?:(?!```).)*class Sounds.*?)```", (ROOT / "docs/service.md").read_text(), re.DOTALL)
    made = make_service(tmp_path / "small", 'model_path = "model/sounds.onnx"', shown)
    write_sound_classifier(made / "model/sounds.onnx")
    second = np.arange(16_000) / 16_000
    heard = {
        "silence": np.zeros(16_000),
        "tone": 0.3 * np.sin(2 * np.pi * 440 * second),
        "noise": np.random.default_rng(1).normal(0, 0.1, 16_000),
    }
    with running(made) as service:
        url = service.url + "/api/small"
        for label, samples in heard.items():
            status, answer = post_form(url, ("audio", recorded(samples)))
            assert (status, answer["results"]["label"]) == (200, label)
            assert get(url, recorded(samples), {"Content-Type": "audio/wav"})[0] == 200
        short, slow = recorded(heard["tone"][:4000]), recorded(heard["tone"], 8000)
        for refused in (b"none", b"RIFF", short, slow, recorded(heard["tone"])[:-2]):
            status, answer = post_form(url, ("audio", refused))
            assert (status, answer["reason"]) == (400, "bad_input"), answer
