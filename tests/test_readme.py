import json
import os
import re
import signal
import subprocess
import time

import pytest

from tests.running import ROOT, free_port, get

README = (ROOT / "README.md").read_text()


def test_the_first_screen_is_two_commands_and_a_curl_and_they_do_what_it_says() -> None:
    serve, test, curl, answer = re.findall(r"^    (\S.*)$", README, re.MULTILINE)[:4]
    assert (serve, test) == ("make serve", "make test")
    port, admin = free_port(), free_port()  # another process may have README's own
    curl = curl.replace("localhost:8080", f"localhost:{port}")
    command = [*serve.split(), f"PORT={port}", f"ADMIN_PORT={admin}"]
    service = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        wait_for(f"http://localhost:{admin}/readyz")
        result = subprocess.run(curl, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
        results = json.loads(result.stdout)["results"]
        said = re.search(r'"label":"(\w+)","score":([0-9.]+)', answer)
        assert said is not None
        assert (results[0]["label"], round(results[0]["score"], 2)) == (said[1], round(float(said[2]), 2))
    finally:
        os.killpg(service.pid, signal.SIGINT)
        log = service.communicate(timeout=30)[0]
    assert curl in log, "the line that the start prints is the README's"
    usual = subprocess.run([ROOT / ".venv/bin/monopod", "serve", "--help"], capture_output=True, text=True, check=True).stdout
    assert "data port (default: 8080)" in usual


def wait_for(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if get(url)[0] == 200:
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{url} did not answer")


@pytest.mark.parametrize("page", ["README.md", "docs/README.md", "docs/changelog.md"])
def test_every_path_that_a_page_links_to_is_there(page: str) -> None:
    named = re.findall(r"\]\(([^)#:]+)[^)]*\)", (ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / page).parent.joinpath(path).exists()] == []
    assert named
